"""The learning rate over a run, and frozen batch normalisation."""

from __future__ import annotations

import math

from torch import nn

from smallbignet.training.settings import OptimSpec

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def learning_rate(optim: OptimSpec, epoch: float, step: float = 0.0) -> float:
    """The learning rate of the optimizer step that begins after `epoch` epochs: a linear warm-up, then the schedule.

    The warm-up counts the step itself, so that the first one has a rate above 0.

    Args:
        epoch: may be a fraction.
        step: length of an optimizer step in epochs.

    The cosine schedule is that of I. Loshchilov and F. Hutter, "SGDR", 2017, without restarts.
    """
    highest = highest_rate(optim)
    if epoch < optim.warmup_epochs:
        return highest * min((epoch + step) / optim.warmup_epochs, 1.0)
    if optim.schedule == "step":
        return highest * optim.gamma ** sum(epoch >= milestone for milestone in optim.milestones)
    share = (epoch - optim.warmup_epochs) / max(optim.epochs - optim.warmup_epochs, 1e-9)
    return highest * 0.5 * (1 + math.cos(math.pi * share))


def highest_rate(optim: OptimSpec) -> float:
    """The highest learning rate: `lr`, in proportion to `batch_size / lr_base_size` if that is given.

    The rule is that of P. Goyal et al., "Accurate, Large Minibatch SGD", 2017.
    """
    return optim.lr * (optim.batch_size / optim.lr_base_size if optim.lr_base_size else 1.0)


def freeze_statistics(model: nn.Module) -> None:
    """Puts the batch normalisations of a network into eval mode. Their scales and shifts are still trained."""
    for module in model.modules():
        if isinstance(module, BATCH_NORMS):
            module.eval()
