"""What all networks share: timm's methods for clips (N, 3, T, H, W), the head, and gradient checkpointing of blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class VideoNetwork(nn.Module):
    """Blocks, and a classifier `fc` of the mean of their features over T, H and W. A subclass makes blocks and calls `finish`.

    Args:
        drop_rate: dropout before the classifier, in training.
        head_window: side of a pooling window on the last feature map; the features are then the mean over all positions of that
            window, in which a map's borders count less. PyTorchVideo's networks have 7, which changes nothing up to 224x224
            pixels. None: the mean of the map.
    """

    num_features: int
    num_classes: int
    fc: nn.Module

    def __init__(self, drop_rate: float = 0.0, head_window: int | None = None):
        super().__init__()
        self.drop_rate, self.head_window, self.grad_checkpointing = drop_rate, head_window, False

    def finish(self, num_features: int, num_classes: int) -> None:
        """Give the convolutions random weights and make the classifier."""
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
        """(N, num_features, T, H, W) -> logits (N, num_classes), or with `pre_logits` the pooled features (N, num_features)."""
        if self.head_window:
            t, h, w = x.shape[2:]
            x = F.avg_pool3d(x, (t, min(h, self.head_window), min(w, self.head_window)), stride=1)
        x = F.dropout(x.mean(dim=(2, 3, 4)), self.drop_rate, self.training)
        return x if pre_logits else self.fc(x)

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, num_classes: int) -> None:
        """Make a new classifier with random weights. With 0 classes the network returns its pooled features."""
        device = next(self.parameters()).device
        self.num_classes = num_classes
        self.fc = nn.Identity()
        if num_classes:
            self.fc = nn.Linear(self.num_features, num_classes, device=device)
            nn.init.normal_(self.fc.weight, std=0.01)
            nn.init.zeros_(self.fc.bias)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep only the input of each block for the backward pass, which computes the block again: less memory, more time."""
        self.grad_checkpointing = enable

    def run_stage(self, stage: nn.Sequential, x: Tensor) -> Tensor:
        """Apply the blocks of a stage, with gradient checkpointing where it is enabled."""
        for block in stage:
            if self.grad_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False, context_fn=partial(recompute_contexts, block))
            else:
                x = block(x)
        return x


def recompute_contexts(block: nn.Module):
    """Return the contexts of a checkpointed block's two passes. The second must not update the running statistics again."""
    return nullcontext(), _frozen_statistics(block)


@contextmanager
def _frozen_statistics(block: nn.Module) -> Iterator[None]:
    norms = [module for module in block.modules() if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d))]
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
