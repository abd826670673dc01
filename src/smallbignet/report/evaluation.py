"""The page of a test: figures, what is confused with what, and the videos that were answered wrongly or hardly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from smallbignet.data.options import VideoOptions
from smallbignet.data.sampling import ClipSpec, Views
from smallbignet.inference.calibration import reliability
from smallbignet.inference.evaluation import Evaluation
from smallbignet.inference.multilabel import called, together
from smallbignet.report.excerpts import excerpt
from smallbignet.report.page import write_page
from smallbignet.weights.directory import ModelConfig

SHOWN = 12  # videos of each kind


@dataclass(frozen=True)
class Shown:
    """A video on the page.

    Attributes:
        path: as the data set gives it.
        labels: its classes.
        best: the classes with the highest scores, and the scores.
        video: a short excerpt as a data: address; empty if there is none.
        note: why it is shown, where that is one class of several.
    """

    path: str
    labels: list[str]
    best: list[tuple[str, float]]
    video: str
    note: str = ""


def write_evaluation_page(
    file: Path,
    result: Evaluation,
    config: ModelConfig,
    name: str,
    options: VideoOptions = VideoOptions(),
    metrics: Sequence[dict] = (),
    settings: str = "",
) -> None:
    """Writes the page of a test, with excerpts of videos.

    Args:
        file: the page, such as `index.html`.
        result: what was tested.
        config: the model's.
        name: of the model.
        options: how the videos are opened.
        metrics: of the training run, the lines of its `metrics.jsonl`; for the curves.
        settings: of the training run, as its `config.yaml` has them.
    """
    results = several_classes(result, options) if result.is_multilabel else one_class(result, options)
    write_page(
        file,
        "multilabel.html" if result.is_multilabel else "evaluation.html",
        name=name,
        figures=result.report(),
        config=config,
        sampling=in_words(config.clip, result.views or config.views),
        curves={split: [row for row in metrics if row["split"] == split] for split in ("train", "val")},
        settings=settings,
        **results,
    )


def one_class(result: Evaluation, options: VideoOptions) -> dict[str, Any]:
    """What the page shows where each video has one class."""
    confidence = result.scores.max(1)
    wrong = np.flatnonzero(~result.right)
    mistakes = wrong[np.argsort(-confidence[wrong], kind="stable")][:SHOWN].tolist()
    uncertain = np.argsort(confidence, kind="stable")[:SHOWN].tolist()
    shown = {row: _shown(result, row, options) for row in {*mistakes, *uncertain}}
    confusion = result.confusion()
    return {
        "confusion": confusion.tolist(),
        "shares": _shares(confusion, confusion.sum(1)),
        "reliability": reliability(result.scores, result.labels),
        "mistakes": [shown[row] for row in mistakes],
        "uncertain": [shown[row] for row in uncertain],
    }


def several_classes(result: Evaluation, options: VideoOptions) -> dict[str, Any]:
    """What the page shows where a video may have several classes."""
    has = result.labels == 1
    calls = called(result.scores, result.thresholds)
    wrong = _most(calls & ~has, -result.scores)
    missed = _most(has & ~calls, result.scores)
    shown = {row: _shown(result, row, options) for row, _ in (*wrong, *missed)}

    def with_note(row: int, label: int, words: str) -> Shown:
        note = f"{words} {result.classes[label]}: {result.scores[row, label]:.2f}, threshold {result.thresholds[label]:.2f}"
        return replace(shown[row], note=note)

    return {
        "both": together(has, has).tolist(),
        "both_shares": _shares(together(has, has), has.sum(0)),
        "taken": together(has, calls).tolist(),
        "taken_shares": _shares(together(has, calls), has.sum(0)),
        "wrong": [with_note(row, label, "called") for row, label in wrong],
        "missed": [with_note(row, label, "not called") for row, label in missed],
    }


def _most(chosen: np.ndarray, order: np.ndarray) -> list[tuple[int, int]]:
    """The videos and classes (N, num_classes) that are chosen, those with the lowest `order` first; no more than `SHOWN`."""
    places = np.argwhere(chosen)
    first = np.argsort(order[chosen], kind="stable")[:SHOWN]
    return [(int(row), int(label)) for row, label in places[first]]


def _shares(counts: np.ndarray, whole: np.ndarray) -> list[list[float]]:
    """The counts in each row as shares of a number of its own; 0 where that is 0."""
    return (counts / np.maximum(whole[:, None], 1)).tolist()


def in_words(clip: ClipSpec, views: str) -> str:
    """Return how a test takes frames from a video, in a sentence."""
    wanted = Views.parse(views)
    clips = f"{wanted.num_clips} clips" if wanted.num_clips > 1 else "one clip"
    crops = f"{wanted.num_crops} crops" if wanted.num_crops > 1 else "one crop"
    if clip.sampling == "uniform":
        frames = f"{clip.clip_len} frames, one from each of {clip.clip_len} equal parts of the video"
    elif clip.fps:
        frames = f"{clip.clip_len} frames at {clip.fps:g} frames per second"
    else:
        frames = (
            f"{clip.clip_len} frames, every {clip.frame_interval}th" if clip.frame_interval > 1 else f"{clip.clip_len} frames"
        )
    return f"Of each video, {clips} of {frames}; of each clip, {crops}. A video's scores are the mean over these views."


def _shown(result: Evaluation, row: int, options: VideoOptions) -> Shown:
    scores = result.scores[row]
    best = [(result.classes[i], float(scores[i])) for i in np.argsort(-scores, kind="stable")[:3]]
    own = np.flatnonzero(result.labels[row]) if result.is_multilabel else [result.labels[row]]
    path = str(result.videos[row])
    return Shown(path, [result.classes[label] for label in own], best, excerpt(path, options))
