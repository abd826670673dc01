"""What all networks share: timm's surface around (N, 3, T, H, W) clips, the head, and gradient checkpointing of blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class VideoNetwork(nn.Module):
    """A network of blocks and a classifier `fc` of their mean over T, H and W. A subclass builds its blocks and calls `finish`.

    Args:
        drop_rate: dropout in front of the classifier, in training.
        head_window: side of the head's pooling window on the last map; the logits are the mean over all its positions, which
            counts a map's borders less (PyTorchVideo's head, of 7). None: the plain mean. The same up to 224x224 pixels.
    """

    num_features: int
    num_classes: int
    fc: nn.Module

    def __init__(self, drop_rate: float = 0.0, head_window: int | None = None):
        super().__init__()
        self.drop_rate, self.head_window, self.grad_checkpointing = drop_rate, head_window, False

    def finish(self, num_features: int, num_classes: int) -> None:
        """Random weights in the convolutions, and the classifier."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.num_features = num_features
        self.reset_classifier(num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W), normalised frames -> logits (N, num_classes)."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, num_features, T', H/32, W/32)."""
        raise NotImplementedError

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, num_features, T, H, W) -> logits (N, num_classes), or the pooled (N, num_features) where `pre_logits`."""
        if self.head_window:
            t, h, w = x.shape[2:]
            x = F.avg_pool3d(x, (t, min(h, self.head_window), min(w, self.head_window)), stride=1)
        x = F.dropout(x.mean(dim=(2, 3, 4)), self.drop_rate, self.training)
        return x if pre_logits else self.fc(x)

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, num_classes: int) -> None:
        """A new classifier with random weights; with 0 classes the network answers its pooled features."""
        device = next(self.parameters()).device
        self.num_classes = num_classes
        self.fc = nn.Identity()
        if num_classes:
            self.fc = nn.Linear(self.num_features, num_classes, device=device)
            nn.init.normal_(self.fc.weight, std=0.01)
            nn.init.zeros_(self.fc.bias)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep only each block's input for the backward pass and compute the block again there: less memory, more time."""
        self.grad_checkpointing = enable

    def run_stage(self, stage: nn.Sequential, x: Tensor) -> Tensor:
        """A stage's blocks, each of them checkpointed where that is set."""
        for block in stage:
            if self.grad_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False, context_fn=partial(recompute_contexts, block))
            else:
                x = block(x)
        return x


def recompute_contexts(block: nn.Module):
    """The contexts of a checkpointed block's two passes: the second must not count the batch in the BNs once more."""
    return nullcontext(), _frozen_statistics(block)


@contextmanager
def _frozen_statistics(block: nn.Module) -> Iterator[None]:
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm3d)]
    before = [(bn.momentum, {key: value.clone() for key, value in bn.named_buffers()}) for bn in norms]
    for bn in norms:
        bn.momentum = 0.0
    try:
        yield
    finally:
        for bn, (momentum, buffers) in zip(norms, before, strict=True):
            bn.momentum = momentum
            for key, value in bn.named_buffers():
                value.copy_(buffers[key])
