"""Figures and thresholds of videos that may have several classes, against torchmetrics and by hand."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multilabel_average_precision

from smallbignet.inference.multilabel import average_precision, cross_entropy, fit_thresholds


@pytest.mark.parametrize("decimals", [1, 8])
def test_average_precision_is_that_of_torchmetrics(decimals):
    """With one decimal many scores are equal."""
    rng = np.random.default_rng(0)
    scores, labels = rng.random((40, 5)).round(decimals), (rng.random((40, 5)) < 0.3).astype(np.uint8)
    expected = multilabel_average_precision(torch.from_numpy(scores), torch.from_numpy(labels).long(), 5, average="none")
    assert average_precision(scores, labels) == pytest.approx(expected.numpy(), abs=1e-5)


def test_a_class_that_no_video_has_is_not_counted():
    scores, labels = np.array([[0.9, 0.2], [0.1, 0.6]]), np.array([[1, 0], [0, 0]], np.uint8)
    assert average_precision(scores, labels)[0] == 1.0 and np.isnan(average_precision(scores, labels)[1])
    assert fit_thresholds(scores, labels) == [0.9, 0.5]


def test_thresholds_have_the_highest_f1():
    """By hand: from 0.4 on 3 of 4 are right and none is missed, F1 6/7; from 0.7 on 2 of 2 are right, F1 4/5."""
    scores, labels = np.array([[0.8], [0.7], [0.5], [0.4], [0.1]]), np.array([[1], [1], [0], [1], [0]], np.uint8)
    assert fit_thresholds(scores, labels) == [0.4]
    assert cross_entropy(scores, labels) == pytest.approx(-np.log([0.8, 0.7, 0.5, 0.4, 0.9]).mean())
