"""Scores that mean what they say: a temperature, so that 8 of 10 answers with a score of 0.8 are right, and a threshold for
"unknown"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from smallbignet.weights.directory import ScoreSpec

BINS = 15  # of the calibration error, as Guo et al. have them
LEAST, MOST = 0.05, 20.0  # temperatures
NEVER = 1.0  # a threshold that no answer passes


def temper(scores: np.ndarray, temperature: float, kind: str = "softmax") -> np.ndarray:
    """Return scores at another temperature: those of one view become softmax(logits / temperature), or the sigmoid of these.

    It is applied to a video's mean score over its views, so the order of the classes never changes.

    Args:
        scores: (N, num_classes) float.
        kind: "softmax" or "sigmoid".

    Returns:
        (N, num_classes) float32.
    """
    if temperature == 1:
        return scores
    if kind == "sigmoid":  # each class is one of two: it or not it
        pairs = np.stack([scores, 1 - scores], -1).reshape(-1, 2)
        return temper(pairs, temperature)[:, 0].reshape(scores.shape)
    with np.errstate(divide="ignore"):  # the logarithm of 0 is -inf, and its score stays 0
        logarithms = np.log(scores.astype(np.float64)) / temperature
    powers = np.exp(logarithms - logarithms.max(1, keepdims=True))
    return (powers / powers.sum(1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class Bin:
    """The videos whose best score lies in one of several equal ranges.

    Attributes:
        confidence: their mean best score, 0 to 1.
        accuracy: the share of them whose best class is their label.
        videos: how many they are.
    """

    confidence: float
    accuracy: float
    videos: int


def reliability(scores: np.ndarray, labels: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Return the ranges of the best score that have videos, the lowest first."""
    confidences = scores.max(1).astype(np.float64)
    right = scores.argmax(1) == labels
    places = np.minimum((confidences * bins).astype(int), bins - 1)
    masks = [places == place for place in np.unique(places)]
    return [Bin(float(confidences[mask].mean()), float(right[mask].mean()), int(mask.sum())) for mask in masks]


def calibration_error(scores: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error, 0 to 1: the mean distance of confidence and accuracy, weighted by videos.

    C. Guo et al., "On Calibration of Modern Neural Networks", 2017, equation 3.
    """
    return sum(part.videos * abs(part.accuracy - part.confidence) for part in reliability(scores, labels, bins)) / len(labels)


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature that makes the labels of videos most likely (Guo et al., Section 4.2).

    A normal distribution of the temperature's logarithm around 0 with a deviation of 1 counts as well: without it, a few videos
    that are all right would make every score 1.
    """
    logarithms = torch.from_numpy(np.log(np.maximum(scores.astype(np.float64), 1e-12)))
    targets = torch.from_numpy(labels)
    exponent = torch.zeros((), dtype=torch.float64, requires_grad=True)  # the temperature's logarithm
    optimizer = torch.optim.LBFGS([exponent], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(logarithms / exponent.exp(), targets, reduction="sum") + exponent**2 / 2
        value.backward()
        return value

    optimizer.step(loss)
    return float(np.clip(exponent.detach().exp().item(), LEAST, MOST))


def fit_threshold(scores: np.ndarray, labels: np.ndarray, precision: float) -> float:
    """Return the lowest best score at which enough answers are right.

    One more mistake counts than was seen, because the threshold will be used on other videos: 9 answers have to be right for a
    precision of 0.9 (the finite-sample term of A. Angelopoulos et al., "Conformal Risk Control", 2022).

    Args:
        precision: the share of answers at or above the threshold that are to be right.

    Returns:
        the threshold; 1 where none gives this precision, so that every answer is unknown.
    """
    confidences = scores.max(1)
    order = np.argsort(-confidences, kind="stable")
    mistakes = (scores.argmax(1) != labels)[order].cumsum()
    counts = np.arange(1, len(labels) + 1)
    ordered = confidences[order]
    is_whole = np.append(ordered[1:] != ordered[:-1], True)  # a threshold takes all videos of the same score
    good = np.flatnonzero(((mistakes + 1) / (counts + 1) <= 1 - precision + 1e-9) & is_whole)
    return float(ordered[good[-1]]) if len(good) else NEVER


def fit_scores(scores: np.ndarray, labels: np.ndarray, precision: float) -> ScoreSpec:
    """Return how scores are best made: temperature, and the threshold for this precision of the tempered scores.

    Args:
        scores: (N, num_classes) float, softmax scores of labelled videos that were not trained on.
        labels: (N,) int64.
        precision: see `fit_threshold`.
    """
    temperature = fit_temperature(scores, labels)
    return ScoreSpec("softmax", temperature, [fit_threshold(temper(scores, temperature), labels, precision)])
