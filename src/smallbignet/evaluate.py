"""`smallbig evaluate`: the multi-view test of Section 6, "Inference": softmax scores averaged over a video's views."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from rich.table import Table
from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_stat_scores

from smallbignet import plots
from smallbignet.classifier import VideoClassifier
from smallbignet.data.annotations import Annotations, select_rows
from smallbignet.data.benchmarks import read_part
from smallbignet.data.datasets import DataSpec, TestViews, make_loader
from smallbignet.data.sampling import Views
from smallbignet.errors import SmallBigError, WorkError
from smallbignet.ops.memory import keep_memory
from smallbignet.progress import bar, console


@dataclass(frozen=True)
class Evaluation:
    """Scores of every video that could be read, and what follows from them.

    Attributes:
        videos: (N,) of str, paths as the data set gives them.
        labels: (N,) int64.
        scores: (N, num_classes) float32, mean softmax over the views.
        classes: class names in the order of the scores.
        unreadable: (path, reason) of the others.
        views: clips x crops.
    """

    videos: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    classes: list[str]
    unreadable: list[tuple[str, str]]
    views: str

    def accuracy(self, k: int = 1) -> float:
        """Share of the videos whose label is among the k best scores, 0 to 1."""
        k = min(k, len(self.classes))
        scores, labels = torch.from_numpy(self.scores), torch.from_numpy(self.labels)
        right, *_, all_of_them = multiclass_stat_scores(scores, labels, len(self.classes), average="micro", top_k=k).tolist()
        return right / all_of_them

    def confusion(self) -> np.ndarray:
        """(num_classes, num_classes) of int: row label, column answer."""
        scores, labels = torch.from_numpy(self.scores), torch.from_numpy(self.labels)
        return multiclass_confusion_matrix(scores, labels, len(self.classes)).numpy()

    def per_class(self) -> list[dict]:
        """Name, number of videos and accuracy (None without videos) of each class."""
        confusion = self.confusion()
        counts = confusion.sum(1)
        return [
            {"class": name, "videos": int(n), "accuracy": float(confusion[i, i] / n) if n else None}
            for i, (name, n) in enumerate(zip(self.classes, counts, strict=True))
        ]

    def loss(self) -> float:
        """Mean negative log of the label's score."""
        own = self.scores[np.arange(len(self.labels)), self.labels]
        return float(-np.log(np.maximum(own, 1e-12)).mean())

    def report(self) -> dict:
        """All figures, as plain data."""
        per_class = self.per_class()
        accuracies = [row["accuracy"] for row in per_class if row["accuracy"] is not None]
        return {
            "videos": len(self.videos),
            "unreadable": [{"path": path, "reason": reason} for path, reason in self.unreadable],
            "views": self.views,
            "top1": self.accuracy(1),
            "top5": self.accuracy(5),
            "mean_class_accuracy": float(np.mean(accuracies)),
            "loss": self.loss(),
            "classes": per_class,
            "confusion": self.confusion().tolist(),
        }


def evaluate(
    model: str,
    data: str,
    *,
    views: str = "",
    select: str = "",
    root: str = "",
    path_column: str = "path",
    label_column: str = "label",
    filename_tmpl: str = "",
    backend: str = "auto",
    scores: str = "",
    report: str = "",
    workers: int = -1,
    device: str = "",
    precision: str = "fp32",
) -> Evaluation:
    """Tests a model on labelled videos: top-1, top-5, mean class accuracy, confusion matrix.

    Args:
        model: a model or run directory, a published network's name, or a hub id.
        data: a folder with a folder per class (of which a `val` folder is taken), a benchmark as its owners hand it out (of
            which the validation part is taken), a .csv file with a header, or a list.
        views: clips x crops, such as 10x3; the model's own if not given.
        select: rows of a .csv to test on, such as "fold=3".
        root: folder that listed paths are relative to, or that holds a benchmark's videos; the source's own if not given.
        path_column: of a .csv.
        label_column: of a .csv.
        filename_tmpl: names of the frames in a frame folder, such as img_{:05d}.jpg; found out if not given.
        backend: auto (PyAV), pyav or torchcodec.
        scores: file (.npz) to keep the softmax scores in, by video.
        report: folder for the confusion matrix (.png, .csv), the classes (.csv) and all figures (.json).
        workers: processes that decode; -1 takes all cores but one.
        device: cpu, cuda, ...; a GPU where there is one if not given.
        precision: fp32; bf16, faster where the device has it; int8, fastest on a processor, its ranges measured first on up to
            32 of the videos (`pip install 'smallbignet[int8]'`). A run's own tests are in its `run.precision`.

    Raises:
        SmallBigError: no such model or data, classes that the model doesn't know.
        WorkError: no video could be read.
    """
    if scores and not scores.endswith(".npz"):
        raise SmallBigError("a scores file ends in .npz", scores)
    keep_memory()
    state = PartialState(cpu=device == "cpu")
    classifier = VideoClassifier(model, device=device or state.device, precision=precision)
    annotations = read_part(data, "val", root or None, path_column, label_column, classifier.config.classes)
    annotations = select_rows(annotations, select, data)
    spec = DataSpec(filename_tmpl=filename_tmpl, backend=backend)
    views = views or classifier.config.views
    classifier.calibrate(annotations.paths, views, backend, filename_tmpl)
    with bar("evaluate", len(annotations), "videos", visible=state.is_main_process) as progress:
        result = score_videos(classifier, annotations, views, spec, workers, progress.advance)
    if state.is_main_process:
        if scores:
            save_scores(result, scores)
        if report:
            write_report(result, Path(report))
    return result


def score_videos(
    classifier: VideoClassifier,
    annotations: Annotations,
    views: str,
    data: DataSpec,
    workers: int,
    advance: Callable[[int], object] = lambda count: None,
) -> Evaluation:
    """Scores of all videos, on all processes, each video once: the same numbers with any number of processes.

    Args:
        advance: called with the number of videos done since the last call, by this process times the number of processes.

    Raises:
        WorkError: no video could be read.
    """
    state = PartialState()
    shown, config = Views.parse(views), classifier.config
    dataset = TestViews(annotations, config.clip, config.input, shown, data)
    at_once = max(1, 8 // (shown.num_clips * shown.num_crops))
    rows = range(len(annotations))
    batches = [list(rows[start : start + at_once]) for start in range(0, len(rows), at_once)]
    found: list[tuple[int, np.ndarray]] = []
    faults: list[tuple[int, str]] = []
    for batch in make_loader(dataset, batches[state.process_index :: state.num_processes], workers):
        faults += batch.unreadable
        if batch.clips is not None:
            scores = classifier.scores(batch.clips).unflatten(0, (len(batch.rows), -1)).mean(1).numpy()
            found += zip(batch.rows.tolist(), scores, strict=True)
        advance((len(batch.rows) + len(batch.unreadable)) * state.num_processes)
    found, faults = gather_object(found), gather_object(faults)
    if not found:
        raise WorkError(f"none of the {len(annotations)} videos could be read; the first: {faults[0][1]}", annotations.paths[0])
    found.sort(key=lambda pair: pair[0])
    kept = np.array([row for row, _ in found])
    unreadable = [(str(annotations.paths[row]), reason) for row, reason in sorted(faults)]
    scores = np.stack([scores for _, scores in found])
    return Evaluation(annotations.paths[kept], annotations.labels[kept], scores, config.classes, unreadable, str(shown))


def save_scores(result: Evaluation, file: str) -> None:
    """Keeps the scores as an .npz file: arrays videos, labels, scores and classes."""
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        file, videos=result.videos, labels=result.labels, scores=result.scores, classes=np.array(result.classes)
    )


def write_report(result: Evaluation, folder: Path) -> None:
    """Writes report.json, classes.csv, confusion.csv and confusion.png."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = result.report()
    (folder / "report.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with open(folder / "classes.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["class", "videos", "accuracy"])
        writer.writeheader()
        writer.writerows(figures["classes"])
    with open(folder / "confusion.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["label", *result.classes])
        rows.writerows([name, *row] for name, row in zip(result.classes, figures["confusion"], strict=True))
    plots.confusion(result.confusion(), result.classes, folder / "confusion.png")


def show(result: Evaluation) -> Table:
    """The figures as a table, worst classes first, and the unreadable files on standard error."""
    figures = result.report()
    for fault in figures["unreadable"]:
        console.print(f"unreadable: {fault['path']}: {fault['reason']}")
    caption = f"{figures['videos']} videos, {len(figures['unreadable'])} unreadable, views {result.views}"
    table = Table("class", "videos", "accuracy %", caption=caption)
    for row in sorted((r for r in figures["classes"] if r["videos"]), key=lambda r: r["accuracy"])[:20]:
        table.add_row(row["class"], str(row["videos"]), f"{100 * row['accuracy']:.1f}")
    table.add_section()
    for name, key in (("top-1", "top1"), ("top-5", "top5"), ("mean class accuracy", "mean_class_accuracy")):
        if key != "top5" or len(result.classes) > 5:
            table.add_row(name, "", f"{100 * figures[key]:.2f}")
    return table
