"""Temperature, calibration error and thresholds, against their definitions, hand counts, and labels drawn from known scores."""

import numpy as np
import pytest
import torch

from smallbignet.inference.calibration import (
    NEVER,
    calibration_error,
    fit_scores,
    fit_temperature,
    fit_threshold,
    reliability,
    temper,
)


def draw(temperature: float, count: int, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Softmax scores of random logits, and labels drawn from softmax(logits / temperature)."""
    random = np.random.default_rng(seed)
    logits = 3 * random.standard_normal((count, classes))
    probabilities = torch.from_numpy(logits / temperature).softmax(1).numpy()
    labels = (random.random((count, 1)) > probabilities.cumsum(1)).sum(1).clip(max=classes - 1)
    return torch.from_numpy(logits).softmax(1).float().numpy(), labels


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_one_views_scores_are_the_softmax_of_logits_by_the_temperature(temperature):
    logits = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    result = temper(logits.softmax(1).numpy(), temperature)
    torch.testing.assert_close(torch.from_numpy(result), (logits / temperature).softmax(1))
    assert result.dtype == np.float32
    several = temper(logits.sigmoid().numpy(), temperature, "sigmoid")
    torch.testing.assert_close(torch.from_numpy(several), (logits / temperature).sigmoid())


def test_the_order_of_the_classes_stays_and_scores_of_0_stay_0():
    scores = np.array([[0.5, 0.3, 0.2, 0.0], [1.0, 0.0, 0.0, 0.0]], np.float32)
    for temperature in (0.05, 0.5, 20.0):
        result = temper(scores, temperature)
        assert result.argmax(1).tolist() == [0, 0] and result[0, 3] == 0
        assert (np.diff(result[0]) < 1e-12).all() and result.sum(1) == pytest.approx([1, 1])


def test_the_calibration_error_by_hand():
    """Three videos at 0.85, two of them right; one at 0.55, right: 3/4 of |2/3 - 0.85| and 1/4 of |1 - 0.55|."""
    scores = np.array([[0.85, 0.15]] * 3 + [[0.45, 0.55]], np.float32)
    labels = np.array([0, 0, 1, 1])
    assert calibration_error(scores, labels) == pytest.approx(3 / 4 * (0.85 - 2 / 3) + 1 / 4 * 0.45, abs=1e-6)
    low, high = reliability(scores, labels)
    assert (low.videos, high.videos) == (1, 3) and high.accuracy == pytest.approx(2 / 3)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature):
    scores, labels = draw(temperature, 20_000)
    assert fit_temperature(scores, labels) == pytest.approx(temperature, rel=0.05)
    assert calibration_error(temper(scores, fit_temperature(scores, labels)), labels) < 0.02


def test_a_few_videos_that_are_all_right_make_no_score_certain():
    scores, _ = draw(1.0, 8)
    spec = fit_scores(scores, scores.argmax(1), 0.9)
    assert 0.2 < spec.temperature < 1
    assert temper(scores, spec.temperature).max(1).min() < 0.99
    assert spec.thresholds == [NEVER]  # 8 right answers don't show that 9 of 10 are right


@pytest.mark.parametrize(
    ("right", "precision", "answered"),
    [
        ([True] * 9, 0.9, 9),  # (0 + 1) / (9 + 1) mistakes
        ([True] * 8, 0.9, 0),
        ([True] * 19 + [False] + [True] * 5, 0.9, 25),  # 2 / 26
        ([True] * 12 + [False] * 8, 0.9, 12),
        ([True, False, True, True], 0.5, 4),
    ],
)
def test_thresholds_by_hand(right, precision, answered):
    """The videos have falling best scores; the threshold is that of the last one that is answered."""
    best = np.linspace(0.95, 0.6, len(right)).astype(np.float32)
    scores = np.stack([best, 1 - best], 1)
    threshold = fit_threshold(scores, np.where(right, 0, 1), precision)
    assert (best >= threshold).sum() == answered
    assert threshold == (best[answered - 1] if answered else NEVER)


def test_videos_of_the_same_score_are_all_answered_or_none():
    scores = np.tile(np.array([[0.8, 0.2]], np.float32), (20, 1))
    labels = np.array([0] * 10 + [1] * 10)
    assert fit_threshold(scores, labels, 0.9) == NEVER
    assert fit_threshold(scores, np.zeros(20, int), 0.9) == pytest.approx(0.8)


def test_the_precision_holds_on_other_videos():
    """Over 200 draws of 60 validation videos: on others, the mean precision is what was wanted."""
    held_scores, held_labels = draw(1.0, 5_000, seed=1_000)
    right = held_scores.argmax(1) == held_labels
    precisions = []
    for seed in range(200):
        scores, labels = draw(1.0, 60, seed=seed)
        known = held_scores.max(1) >= fit_threshold(scores, labels, 0.9)
        if known.any():
            precisions.append(right[known].mean())
    assert len(precisions) > 150 and 0.9 < np.mean(precisions) < 0.96
