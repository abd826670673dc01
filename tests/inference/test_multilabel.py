"""Figures and thresholds of videos that may have several classes, against torchmetrics and by hand."""

import numpy as np
import pytest
import torch
from torchmetrics.functional import classification
from torchmetrics.functional.classification import multilabel_average_precision

from smallbignet.inference.multilabel import at_thresholds, average_precision, called, cross_entropy, fit_thresholds, together


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


def test_figures_at_thresholds_are_those_of_torchmetrics():
    rng = np.random.default_rng(0)
    scores, labels = rng.random((40, 3), np.float32), (rng.random((40, 3)) < 0.4).astype(np.uint8)
    thresholds = [0.2, 0.5, 0.9]
    rows = at_thresholds(scores, labels, thresholds)
    calls = torch.from_numpy((scores >= np.float32(thresholds)).astype(np.int64))
    for name, key in (("precision", "precision"), ("recall", "recall"), ("f1_score", "f1")):
        figure = getattr(classification, f"multilabel_{name}")
        expected = figure(calls, torch.from_numpy(labels).long(), 3, average="none")
        assert [row[key] for row in rows] == pytest.approx(expected.tolist())
    assert [row["threshold"] for row in rows] == thresholds
    assert [row["called"] for row in rows] == calls.sum(0).tolist()


def test_without_calls_there_is_no_precision_and_without_videos_no_recall():
    scores, labels = np.array([[0.9, 0.2], [0.1, 0.6]], np.float32), np.array([[0, 1], [0, 0]], np.uint8)
    rows = at_thresholds(scores, labels, [0.5, 0.7])
    assert rows[0] == {"threshold": 0.5, "called": 1, "right": 0, "precision": 0.0, "recall": None, "f1": None}
    assert rows[1] == {"threshold": 0.7, "called": 0, "right": 0, "precision": None, "recall": 0.0, "f1": 0.0}


def test_classes_together():
    """By hand: both classes once, the first alone twice. A score that equals its threshold is enough."""
    has = np.array([[1, 1], [1, 0], [1, 0], [0, 0]], bool)
    assert together(has, has).tolist() == [[3, 1], [1, 1]]
    calls = called(np.array([[0.5, 0.1], [0.5, 0.6], [0.4, 0.6], [0.9, 0.1]], np.float32), [0.5, 0.6])
    assert together(has, calls).tolist() == [[2, 2], [1, 0]]
