"""The loss with class weights, by hand."""

import math

import numpy as np
import pytest
import torch

from smallbignet.training.loss import balanced_weights, classification_loss, multilabel_loss, positive_weights


def test_balanced_weights_make_classes_count_the_same():
    """Of 8 clips in 2 classes that have any, 6 count 8 / (2 * 6) each and 2 count 8 / (2 * 2), together 4 and 4."""
    weights = balanced_weights(np.array([0] * 6 + [2] * 2), 3)
    assert weights[[0, 2]].tolist() == pytest.approx([2 / 3, 2.0])


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_weighted_loss_is_the_mean_of_weighted_terms(smoothing, mixed):
    """Over plain loops. All clips are of a rare class, whose weight must not cancel out."""
    logits = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
    weights = [0.5, 1.0, 4.0]
    shares = [[0.0, 0.0, 1.0], [0.0, 0.25, 0.75]] if mixed else [[0.0, 0.0, 1.0]] * 2
    expected = 0.0
    for row, share in zip(logits.tolist(), shares, strict=True):
        total = sum(map(math.exp, row))
        for logit, target, weight in zip(row, share, weights, strict=True):
            expected -= weight * ((1 - smoothing) * target + smoothing / 3) * math.log(math.exp(logit) / total) / 2
    targets = torch.tensor(shares) if mixed else torch.tensor([2, 2])
    assert classification_loss(logits, targets, smoothing, torch.tensor(weights)).item() == pytest.approx(expected, rel=1e-5)


def test_a_loss_of_several_classes_is_the_mean_over_clips_and_classes():
    """Over plain loops, with the weights of 2 and 6 of 8 videos, which are 6 / 2 and at least 1."""
    weights = positive_weights(np.array([2, 6]), 8)
    assert weights.tolist() == [3.0, 1.0]
    logits, targets = torch.tensor([[1.0, -2.0], [0.5, 0.3]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    expected = 0.0
    for row, wanted in zip(logits.tolist(), targets.tolist(), strict=True):
        for logit, target, weight in zip(row, wanted, weights.tolist(), strict=True):
            share = 0.9 * target + 0.05
            score = 1 / (1 + math.exp(-logit))
            expected -= (weight * share * math.log(score) + (1 - share) * math.log(1 - score)) / 4
    assert multilabel_loss(logits, targets, 0.1, weights).item() == pytest.approx(expected, rel=1e-5)
