"""The multi-view test of Section 6, "Inference": softmax scores averaged over a video's views, and the figures from them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from smallbignet.data.annotations import Annotations
from smallbignet.data.frames import Unreadable
from smallbignet.data.loader import make_loader
from smallbignet.data.options import VideoOptions
from smallbignet.errors import WorkError
from smallbignet.inference import multilabel
from smallbignet.inference.calibration import calibration_error, reliability
from smallbignet.inference.classifier import VIEWS_AT_ONCE, VideoClassifier, VideoScores
from smallbignet.utils import plots
from smallbignet.utils.statistics import wilson_interval
from smallbignet.weights.directory import ScoreSpec


@dataclass(frozen=True)
class Comparison:
    """How another model does on the same videos.

    Attributes:
        name: the other model, or the file with its scores.
        top1: its accuracy, 0 to 1.
        p_value: the probability of a difference at least this large between two equally good models (McNemar's test).
    """

    name: str
    top1: float
    p_value: float


@dataclass(frozen=True)
class Evaluation:
    """The scores of every video that could be read, and what follows from them.

    Attributes:
        videos: (N,) of str, paths as the data set gives them.
        labels: (N,) int64; or (N, num_classes) uint8 where videos may have several classes.
        scores: (N, num_classes) float32, mean softmax over the views, at the model's temperature.
        classes: class names in the order of the scores.
        unreadable: the videos that could not be read.
        views: clips x crops, such as "10x3".
        spec: how the scores were made, and the thresholds below which an answer is "unknown".
        comparison: with another model, where that was asked for.
    """

    videos: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    classes: list[str]
    unreadable: list[Unreadable]
    views: str
    spec: ScoreSpec = field(default_factory=ScoreSpec)
    comparison: Comparison | None = None

    @property
    def is_multilabel(self) -> bool:
        """Whether a video may have several classes, or none."""
        return self.labels.ndim == 2

    @property
    def right(self) -> np.ndarray:
        """(N,) of bool, whether each video's best class is its label, or one of its labels."""
        best = self.scores.argmax(1)
        return self.labels[np.arange(len(best)), best] == 1 if self.is_multilabel else best == self.labels

    def accuracy(self, k: int = 1) -> float:
        """Share of the videos whose label is among the k best scores, 0 to 1."""
        if self.is_multilabel:
            ranked = np.argsort(-self.scores, axis=1, kind="stable")[:, :k]
            return float(np.take_along_axis(self.labels, ranked, 1).any(1).mean())
        scores = torch.from_numpy(self.scores)
        # of equal scores, argmax takes the first, as the confusion matrix does; topk takes any
        best = scores.topk(min(k, len(self.classes))).indices if k > 1 else scores.argmax(1, keepdim=True)
        right = (best == torch.from_numpy(self.labels)[:, None]).sum().item()
        return right / len(self.labels)

    def confusion(self) -> np.ndarray:
        """How often videos of each class got each answer: (num_classes, num_classes) int64, one row per label."""
        n = len(self.classes)
        return np.bincount(self.labels * n + self.scores.argmax(1), minlength=n * n).reshape(n, n)

    def per_class(self) -> list[dict]:
        """Name, number of videos and accuracy (None without videos) of each class."""
        confusion = self.confusion()
        counts = confusion.sum(1)
        return [
            {"class": name, "videos": int(n), "accuracy": float(confusion[i, i] / n) if n else None}
            for i, (name, n) in enumerate(zip(self.classes, counts, strict=True))
        ]

    def mean_class_accuracy(self) -> float:
        """Mean of the classes' accuracies, 0 to 1, without those that have no videos."""
        return float(np.mean([row["accuracy"] for row in self.per_class() if row["videos"]]))

    def macro_f1(self) -> float:
        """Mean over the classes of 2 TP / (2 TP + FP + FN), 0 to 1, without those that no video has or gets."""
        confusion = self.confusion()
        total = confusion.sum(0) + confusion.sum(1)
        seen = total > 0
        return float((2 * confusion.diagonal()[seen] / total[seen]).mean())

    def answered(self) -> dict | None:
        """The share of the videos whose best score reaches its class's threshold, and how many of these are right."""
        if not self.spec.thresholds:
            return None
        thresholds = np.array([self.spec.threshold(label) for label in self.scores.argmax(1)])
        known = self.scores.max(1) >= thresholds
        return {"share": float(known.mean()), "precision": float(self.right[known].mean()) if known.any() else None}

    @property
    def thresholds(self) -> list[float]:
        """For each class the score from which on a video is called it; 0.5 for models that have none."""
        return [self.spec.threshold(label) if self.spec.thresholds else 0.5 for label in range(len(self.classes))]

    def loss(self) -> float:
        """Mean negative logarithm of the label's score, or of what is true of each class."""
        if self.is_multilabel:
            return multilabel.cross_entropy(self.scores, self.labels)
        own = self.scores[np.arange(len(self.labels)), self.labels]
        return float(-np.log(np.maximum(own, 1e-12)).mean())

    def average_precision(self) -> float:
        """The mean over the classes of their average precision (mAP), 0 to 1, where videos may have several classes."""
        return float(np.nanmean(multilabel.average_precision(self.scores, self.labels)))

    def _multilabel_report(self) -> dict:
        """All figures of videos that may have several classes."""
        counts = self.labels.sum(0, dtype=np.int64).tolist()
        precisions = multilabel.average_precision(self.scores, self.labels)
        calls = multilabel.at_thresholds(self.scores, self.labels, self.thresholds)
        return {
            "videos": len(self.videos),
            "unreadable": [asdict(video) for video in self.unreadable],
            "views": self.views,
            "mean_average_precision": self.average_precision(),
            "top1": self.accuracy(1),
            "top1_interval": wilson_interval(self.accuracy(1), len(self.videos)),
            "macro_f1": float(np.mean([row["f1"] for row in calls if row["f1"] is not None])),
            "loss": self.loss(),
            "classes": [
                {"class": name, "videos": n, "average_precision": float(precision) if n else None} | row
                for name, n, precision, row in zip(self.classes, counts, precisions, calls, strict=True)
            ],
        }

    def report(self) -> dict:
        """All figures, as plain data."""
        if self.is_multilabel:
            return self._multilabel_report()
        return {
            "videos": len(self.videos),
            "unreadable": [asdict(video) for video in self.unreadable],
            "views": self.views,
            "top1": self.accuracy(1),
            "top5": self.accuracy(5),
            "top1_interval": wilson_interval(self.accuracy(1), len(self.videos)),
            "mean_class_accuracy": self.mean_class_accuracy(),
            "macro_f1": self.macro_f1(),
            "loss": self.loss(),
            "calibration_error": calibration_error(self.scores, self.labels),
            "answered": self.answered(),
            "classes": self.per_class(),
            "confusion": self.confusion().tolist(),
            "comparison": asdict(self.comparison) if self.comparison else None,
        }


def score_videos(
    classifier: VideoClassifier,
    annotations: Annotations,
    views: str,
    options: VideoOptions,
    workers: int,
    advance: Callable[[int], object] = lambda count: None,
) -> Evaluation:
    """Scores labelled videos on all processes, each video once: the numbers don't depend on the number of processes.

    Args:
        views: clips x crops, such as "10x3".
        workers: processes that read videos; see `make_loader`.
        advance: called with the number of videos done since the last call, by this process times the number of processes.

    Raises:
        WorkError: no video could be read.
    """
    state = PartialState()
    reader = classifier.reader(views, options)
    at_once = max(1, VIEWS_AT_ONCE // (reader.views.num_clips * reader.views.num_crops))
    rows = range(len(annotations))
    batches = [rows[start : start + at_once] for start in rows[::at_once]][state.process_index :: state.num_processes]
    loader = make_loader(reader.read_batch, [annotations.paths[batch].tolist() for batch in batches], workers)
    results: list[tuple[int, VideoScores | Unreadable]] = []
    for row, result in zip(chain.from_iterable(batches), classifier.score_videos(loader), strict=True):
        results.append((row, result))
        advance(state.num_processes)
    results = sorted(gather_object(results), key=lambda pair: pair[0])
    scored = {row: result.scores.numpy() for row, result in results if isinstance(result, VideoScores)}
    unreadable = [result for _, result in results if isinstance(result, Unreadable)]
    if not scored:
        raise WorkError(
            f"none of the {len(annotations)} videos could be read; the first: {unreadable[0].reason}", unreadable[0].path
        )
    kept = annotations.subset(np.array(list(scored)))
    scores = np.stack(list(scored.values()))
    config = classifier.config
    return Evaluation(kept.paths, kept.labels, scores, config.classes, unreadable, str(reader.views), config.scores)


def write_report(result: Evaluation, folder: Path) -> None:
    """Writes report.json and classes.csv; for videos with one class each also confusion.csv, confusion.png, reliability.png."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = result.report()
    (folder / "report.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with open(folder / "classes.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(figures["classes"][0]))
        writer.writeheader()
        writer.writerows(figures["classes"])
    if result.is_multilabel:
        return
    with open(folder / "confusion.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["label", *result.classes])
        rows.writerows([name, *row] for name, row in zip(result.classes, figures["confusion"], strict=True))
    plots.confusion(result.confusion(), result.classes, folder / "confusion.png")
    plots.reliability({"scores": reliability(result.scores, result.labels)}, folder / "reliability.png")
