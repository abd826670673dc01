"""Tiny networks whose every part has an effect, and clips for them."""

from __future__ import annotations

import torch

from smallbignet import create_model
from smallbignet.models.zoo import SLOWFAST


def make(name: str, seed: int = 0, **arguments) -> torch.nn.Module:
    """A network of 5 classes in which scales that start at zero are random."""
    torch.manual_seed(seed)
    network = create_model(name, 5, **({} if name.startswith("timm/") else {"width": 8}), **arguments).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d) and not module.weight.any():
            torch.nn.init.uniform_(module.weight, 0.1, 0.3)
    torch.nn.init.normal_(network.fc.weight, std=0.3)
    torch.nn.init.normal_(network.fc.bias)
    return network


def make_clip(frames: int = 8, side: int = 64, seed: int = 1) -> torch.Tensor:
    return torch.randn(1, 3, frames, side, side, generator=torch.Generator().manual_seed(seed))


def clip_for(name: str, side: int = 64) -> torch.Tensor:
    return make_clip(16 if name in SLOWFAST else 4, side)
