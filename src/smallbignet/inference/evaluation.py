"""The multi-view test of Section 6, "Inference": softmax scores averaged over a video's views, and the figures from them."""

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
from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_stat_scores

from smallbignet.data.annotations import Annotations
from smallbignet.data.datasets import DataSpec, TestViews, make_loader
from smallbignet.data.sampling import Views
from smallbignet.errors import WorkError
from smallbignet.inference.classifier import VideoClassifier
from smallbignet.utils import plots


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
