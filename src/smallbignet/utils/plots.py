"""Plots of results, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from smallbignet.utils.files import writing

MOST_BANDS = 12  # classes in a plot of scores over time


def confusion(matrix: np.ndarray, classes: Sequence[str], file: Path) -> None:
    """Plots a confusion matrix (K, K), one row for each label and one column for each prediction.

    Names and counts are written if there is room for them, which is up to 30 classes.
    """
    side = float(np.clip(0.42 * len(classes) + 2.5, 4.5, 14))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="prediction", ylabel="label")
    if len(classes) <= 30:
        axes.set_xticks(range(len(classes)), classes, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(classes)), classes)
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=colour)
    _save(figure, file)


def curves(metrics: Sequence[dict], file: Path) -> None:
    """Plots loss and accuracy over the epochs of a run, from the lines of its `metrics.jsonl`."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for split, colour in (("train", "tab:grey"), ("val", "tab:blue")):
        rows = [row for row in metrics if row["split"] == split]
        epochs = [row["epoch"] for row in rows]
        left.plot(epochs, [row["loss"] for row in rows], color=colour, label=split)
        right.plot(epochs, [100 * row["top1"] for row in rows], color=colour, label=split)
    left.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    right.set(xlabel="epoch", ylabel="top-1 (%)", ylim=(0, 101))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, file)


def reliability(curves: Mapping[str, Sequence[Any]], file: Path) -> None:
    """Plots accuracy over confidence, with a dot as large as the number of videos; on the diagonal, scores are what they say.

    Args:
        curves: for each name what `inference.calibration.reliability` returned.
    """
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="tab:grey", linestyle=":")
    for name, bins in curves.items():
        confidences = [part.confidence for part in bins]
        accuracies = [part.accuracy for part in bins]
        most = max(part.videos for part in bins)
        [line] = axes.plot(confidences, accuracies, alpha=0.6, label=name)
        axes.scatter(confidences, accuracies, s=[10 + 90 * part.videos / most for part in bins], color=line.get_color())
    axes.set(xlabel="best score", ylabel="share of right answers", xlim=(0, 1.02), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, file)


def ablation(rows: Mapping[str, tuple[float, Sequence[float]]], title: str, spread_over: str, file: Path) -> None:
    """Plots top-1 in percent for each row of a table: the paper's at the left; ours, their mean and deviation at the right."""
    figure = Figure(figsize=(9, 0.45 * len(rows) + 1.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = range(len(rows))
    left.plot([paper for paper, _ in rows.values()], places, "o", color="tab:grey")
    for place, (_, ours) in zip(places, rows.values(), strict=True):
        right.plot(ours, [place] * len(ours), "o", color="tab:blue", alpha=0.35, markeredgewidth=0)
        if ours:
            error = np.std(ours, ddof=1) if len(ours) > 1 else None
            right.errorbar(np.mean(ours), place, xerr=error, fmt="D", color="tab:blue", capsize=4)
    left.set_yticks(places, list(rows))
    left.set(xlabel="top-1 (%), the paper's", ylim=(len(rows) - 0.5, -0.5))
    right.set(xlabel=f"top-1 (%), ours: mean and deviation over {spread_over}")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    _save(figure, file)


def bands(
    pictures: np.ndarray,
    edges: np.ndarray,
    scores: np.ndarray,
    classes: Sequence[str],
    segments: Sequence[tuple[str, float, float]],
    file: Path,
) -> None:
    """Plots scores over time, the classes with the highest ones, below a strip of pictures and a bar of segments.

    Args:
        pictures: uint8 (N, S, S, 3), evenly spaced over the time.
        edges: seconds at which the scores change, (M + 1,).
        scores: in between, (M, K), 0 to 1.
        classes: the names of the K classes.
        segments: label, start and end in seconds of each; labels that are no class are drawn in grey.
    """
    shown = np.sort(np.argsort(-scores.max(0), kind="stable")[:MOST_BANDS])
    width = 10.0  # inches
    heights = {"strip": width / len(pictures), "segments": 0.3, "bands": 0.3 * len(shown)}
    total = sum(heights.values()) + 0.2
    figure = Figure(figsize=(width, total))
    axes = {}
    top = total
    for name, height in heights.items():
        axes[name] = figure.add_axes((0, (top - height) / total, 1, height / total))
        axes[name].set(xlim=(edges[0], edges[-1]))
        top -= height + 0.1
    axes["strip"].imshow(np.concatenate(pictures, axis=1), extent=(edges[0], edges[-1], 0, 1), aspect="auto")
    colours = {classes[k]: f"C{i % 10}" for i, k in enumerate(shown)}
    for label, start, end in segments:
        axes["segments"].barh(0, end - start, left=start, height=1, color=colours.get(label, "lightgrey"), edgecolor="white")
        if end - start > 0.012 * len(label) * edges[-1]:  # there is room for it
            axes["segments"].text((start + end) / 2, 0, label, ha="center", va="center", fontsize=9)
    axes["segments"].set(ylim=(-0.5, 0.5))
    rows = np.arange(len(shown) + 1)
    mesh = axes["bands"].pcolormesh(edges, rows, scores[:, shown].T, cmap="Blues", vmin=0, vmax=1)
    axes["bands"].set_yticks(rows[:-1] + 0.5, [classes[k][:40] for k in shown])
    axes["bands"].invert_yaxis()
    axes["bands"].set(xlabel="seconds")
    for name in ("strip", "segments"):
        axes[name].set_xticks([])
        axes[name].set_yticks([])
    figure.colorbar(mesh, cax=figure.add_axes((1.02, 0, 0.012, heights["bands"] / total)), label="score")
    _save(figure, file, bbox_inches="tight")


def _save(figure: Figure, file: Path, **options: Any) -> None:
    with writing(file):
        figure.savefig(file, dpi=120, **options)
