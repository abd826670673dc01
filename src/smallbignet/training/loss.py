"""The loss of a batch, and what rare classes count in it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def classification_loss(logits: Tensor, targets: Tensor, smoothing: float, class_weights: Tensor | None) -> Tensor:
    """The mean cross-entropy over the clips of a batch.

    Args:
        logits: (N, num_classes).
        targets: (N,) class indices, or (N, num_classes) shares of each class.
        smoothing: share of the target that is spread evenly over all classes.
        class_weights: (num_classes,), by which the terms of the loss are multiplied; see `balanced_weights`.
    """
    if class_weights is None:
        return F.cross_entropy(logits, targets, label_smoothing=smoothing)
    # PyTorch's mean divides by the weights that are in the batch, so a batch of rare clips would count no more than another
    return F.cross_entropy(logits, targets, class_weights, reduction="sum", label_smoothing=smoothing) / len(logits)


def multilabel_loss(logits: Tensor, targets: Tensor, smoothing: float, positive_weights: Tensor | None) -> Tensor:
    """The mean binary cross-entropy over the clips and classes of a batch.

    Args:
        logits: (N, num_classes).
        targets: (N, num_classes) float, 1 for the classes that a clip has.
        smoothing: share of each target that is replaced by one half.
        positive_weights: (num_classes,), by which the terms of the classes that a clip has are multiplied.
    """
    smooth = targets * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=positive_weights)


def positive_weights(counts: np.ndarray, videos: int) -> Tensor:
    """The weights with which the videos that have a class count as much as those that lack it: (num_classes,) float32.

    Args:
        counts: (num_classes,) number of videos that have each class, of so many in all.
    """
    return torch.from_numpy((videos - counts) / np.maximum(counts, 1)).float().clamp(1.0, 100.0)


def balanced_weights(labels: np.ndarray, num_classes: int) -> Tensor:
    """The weights with which all classes count the same, and a clip counts 1 on average: (num_classes,) float32.

    The weight of a class of n clips is N / (K n), for N clips in K classes that have any.
    """
    counts = np.bincount(labels, minlength=num_classes)
    share = len(labels) / np.count_nonzero(counts)
    return torch.from_numpy(share / np.maximum(counts, 1)).float()
