"""Pooling of activations whose channels are last in memory, (N, T, H, W, C), for inference.

On a CPU, the maximum over a window is computed as maxima of neighbours along one axis after another, each a pass over
contiguous memory. Elsewhere, and within `torch.compile`, it is the pooling that training uses.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from smallbignet.models.pooling import Pool, pool_clip, pool_views
from smallbignet.ops.choice import as_on_cpu
from smallbignet.ops.max_pool import Window


def window_view(x: Tensor, window: Window, pool: Pool) -> Tensor:
    """Return the big view that `pool_views` makes, (N, T or 1, H, W, C); means are computed in float32."""
    if pool == "max" and as_on_cpu(x):
        return _max_along_axes(x, window)
    volumes = (x.float() if pool == "avg" else x).permute(0, 4, 1, 2, 3)
    return pool_views(volumes, window, pool)[1].permute(0, 2, 3, 4, 1).to(x.dtype).contiguous()


def clip_view(x: Tensor, pool: Pool) -> Tensor:
    """Return the pooling over the whole clip that `pool_clip` makes, (N, C)."""
    if pool == "max":
        return x.amax(1).amax((1, 2))
    return pool_clip(x.permute(0, 4, 1, 2, 3), pool)[1].flatten(1)


def stem_max(x: Tensor) -> Tensor:
    """Return the maxima over 1 x 3 x 3 windows with a stride of 2, (N, T, H/2, W/2, C)."""
    if as_on_cpu(x):
        return _strided_max(_strided_max(x, 2), 3)
    images = x.flatten(0, 1).movedim(-1, 1)
    return F.max_pool2d(images, 3, stride=2, padding=1).movedim(1, -1).contiguous().unflatten(0, x.shape[:2])


def _strided_max(x: Tensor, axis: int) -> Tensor:
    """Return the maxima over 3 neighbours along an axis, with a stride of 2 and a padding of 1."""
    even, odd = (x.transpose(0, axis)[i::2].transpose(0, axis) for i in (0, 1))
    y = even.contiguous()
    for start, count in ((0, odd.shape[axis]), (1, even.shape[axis] - 1)):  # the neighbour after, the neighbour before
        part = y.narrow(axis, start, count)
        torch.maximum(part, odd.narrow(axis, 0, count), out=part)
    return y


def _max_along_axes(x: Tensor, window: Window) -> Tensor:
    """Take maxima over T, then H, then W. A window of 5 is one of 3 applied twice."""
    t, h, w = window
    y = x.amax(1, keepdim=True) if t is None else x
    times = {1: t // 2 if t else 0, 2: h // 2, 3: w // 2}  # by axis
    scratch = torch.empty_like(y)
    for axis in (axis for axis, count in times.items() for _ in range(count) if y.shape[axis] > 1):
        y = _neighbour_max(y, axis, torch.empty_like(y) if y is x else y, scratch)
    return y


def _neighbour_max(x: Tensor, axis: int, out: Tensor, scratch: Tensor) -> Tensor:
    """Write to `out`, which may be `x`, the maximum of each position and its two neighbours; the axis is longer than 1."""
    size = x.shape[axis]
    shape = (*x.shape[:axis], size - 1, *x.shape[axis + 1 :])
    pairs = scratch.view(-1)[: math.prod(shape)].view(shape)
    torch.maximum(x.narrow(axis, 0, size - 1), x.narrow(axis, 1, size - 1), out=pairs)
    out.narrow(axis, 0, 1).copy_(pairs.narrow(axis, 0, 1))
    out.narrow(axis, size - 1, 1).copy_(pairs.narrow(axis, size - 2, 1))
    torch.maximum(pairs.narrow(axis, 0, size - 2), pairs.narrow(axis, 1, size - 2), out=out.narrow(axis, 1, size - 2))
    return out
