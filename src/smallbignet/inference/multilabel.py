"""Figures and thresholds of videos that may have several classes, or none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def average_precision(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The average precision of each class: (num_classes,) float64, 0 to 1; NaN for a class that no video has.

    It is the mean, over the videos that have the class, of the precision among all videos whose score is at least as high.

    Args:
        scores: (N, num_classes) float.
        labels: (N, num_classes), 1 for the classes that a video has.
    """
    return np.array([_one_class(scores[:, i], labels[:, i].astype(bool)) for i in range(scores.shape[1])])


def _one_class(scores: np.ndarray, has: np.ndarray) -> float:
    if not has.any():
        return float("nan")
    at_least = scores[None] >= scores[has][:, None]  # (videos that have the class, N)
    return float(((at_least & has).sum(1) / at_least.sum(1)).mean())


def fit_thresholds(scores: np.ndarray, labels: np.ndarray) -> list[float]:
    """For each class the score from which on it is best called present: with the highest F1 on labelled videos.

    A class that no video has gets 0.5. Arguments as for `average_precision`.
    """
    return [_best_threshold(scores[:, i], labels[:, i].astype(bool)) for i in range(scores.shape[1])]


def _best_threshold(scores: np.ndarray, has: np.ndarray) -> float:
    if not has.any():
        return 0.5
    thresholds = np.unique(scores)
    called = scores[None] >= thresholds[:, None]  # (thresholds, N)
    f1 = 2 * (called & has).sum(1) / (called.sum(1) + has.sum())
    return float(thresholds[f1.argmax()])


def called(scores: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Which classes the scores call present: (N, num_classes) bool, where a score reaches its class's threshold."""
    return scores >= np.asarray(thresholds, scores.dtype)


def at_thresholds(scores: np.ndarray, labels: np.ndarray, thresholds: Sequence[float]) -> list[dict]:
    """For each class its threshold, how many videos are called it, how many of these rightly, and the shares that follow.

    The precision is None where no video is called the class, and the recall and F1 are None where no video has it.

    Args:
        scores, labels: as for `average_precision`.
        thresholds: one for each class.
    """
    calls = called(scores, thresholds)
    rows = []
    for threshold, call, has in zip(thresholds, calls.T, labels.T == 1, strict=True):
        right, count, videos = int((call & has).sum()), int(call.sum()), int(has.sum())
        rows.append(
            {
                "threshold": threshold,
                "called": count,
                "right": right,
                "precision": right / count if count else None,
                "recall": right / videos if videos else None,
                "f1": 2 * right / (count + videos) if videos else None,
            }
        )
    return rows


def together(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """How many videos have each class in `rows` and each in `columns`: two arrays (N, num_classes) -> (num_classes,) * 2."""
    return rows.astype(np.int64).T @ columns.astype(np.int64)


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean binary cross-entropy over videos and classes; arguments as for `average_precision`."""
    own = np.where(labels == 1, scores, 1 - scores)
    return float(-np.log(np.maximum(own, 1e-12)).mean())
