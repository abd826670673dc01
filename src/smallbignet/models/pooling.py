"""The pooling of a big view: over a window around each position, or over the whole clip. Everything is (N, C, T, H, W)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from smallbignet.ops.max_pool import Window, global_views, max_views

Pool = Literal["max", "avg", "vector"]


def pool_views(x: Tensor, window: Window, pool: Pool = "max") -> tuple[Tensor, Tensor]:
    """Return `x` and the context around each of its positions: a pooling of stride 1 over a window (Section 3).

    Args:
        x: (N, C, T, H, W).
        window: odd extents (t, h, w). A t of None takes all frames, and the pooling is then (N, C, 1, H, W).
        pool: "max", the maximum of each channel; "avg", the mean of each channel, without the padding; or "vector", the whole
            feature vector of the position with the largest norm, the first of several.
    """
    if pool == "max":
        return max_views(x, window)
    t, h, w = window
    kernel = (t or x.shape[2], h, w)
    padding = (t // 2 if t else 0, h // 2, w // 2)
    if pool == "vector":
        _, place = F.max_pool3d(_norms(x), kernel, stride=1, padding=padding, return_indices=True)
        return x, _vectors_at(x, place)
    around = [edge for p in reversed(padding) for edge in (p, p)]
    inside = F.pad(torch.ones_like(x[:1, :1]), around)
    padded = F.pad(x, around)  # avg_pool3d's own padding refuses maps that are smaller than its kernel
    return x, F.avg_pool3d(padded, kernel, stride=1) / F.avg_pool3d(inside, kernel, stride=1)


def pool_clip(x: Tensor, pool: Pool = "max") -> tuple[Tensor, Tensor]:
    """Return `x`, (N, C, T, H, W), and its pooling over T, H and W, (N, C, 1, 1, 1); `pool` is that of `pool_views`."""
    if pool == "max":
        return global_views(x)
    if pool == "avg":
        return x, x.mean(dim=(2, 3, 4), keepdim=True)
    place = _norms(x).flatten(2).argmax(2)  # (N, 1)
    return x, _vectors_at(x, place[..., None, None, None])


def _norms(x: Tensor) -> Tensor:
    """The squared norm of each feature vector, (N, 1, T, H, W)."""
    return x.detach().float().square().sum(1, keepdim=True)


def _vectors_at(x: Tensor, place: Tensor) -> Tensor:
    """The feature vectors at places (N, 1, T', H', W'), which count the positions of a clip: (N, C, T', H', W')."""
    index = place.flatten(2).expand(-1, x.shape[1], -1)
    return x.flatten(2).gather(2, index).unflatten(2, place.shape[2:])
