"""Max pooling as the big views need it: stride 1, over windows such as 3x3x3 or all frames x 3 x 3, and over a whole clip.

PyTorch's own keeps an int64 index per element for the backward pass, four times what the bfloat16 element itself takes, and on
a GPU adds up the gradients atomically: in another order each time. On a GPU, these keep one byte and gather instead.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from smallbignet.ops.recompute import can_recompute

Window = tuple[int | None, int, int]
HAS_TRITON = find_spec("triton") is not None  # it comes with PyTorch's CUDA wheels for Linux


def max_views(x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """`x` itself, and its max pooling of stride 1, padded so that it keeps the size.

    The values are `F.max_pool3d`'s, the gradients go to the same elements. Both views come from one operation, because then
    one pass adds up the gradients of the two.

    Args:
        x: (N, C, T, H, W), contiguous or channels_last_3d.
        window: odd extents (t, h, w); t is 1, 3 or None. None takes all frames: the pooling is (N, C, 1, H, W).
    """
    t, h, w = window
    if uses_kernels(x) and t in (None, 1, 3):
        with torch.cuda.device_of(x):
            if not (torch.is_grad_enabled() and x.requires_grad):
                return x, _pooled(x, window)
            small, big = _MaxViews.apply(x, window)
            return can_recompute(small, _itself, x), can_recompute(big, _pooled, x, window)
    kernel, padding = (t or x.shape[2], h, w), (t // 2 if t else 0, h // 2, w // 2)
    with torch.autocast("cpu", enabled=False):  # which would pool a copy in float32: the same values, for more
        return x, F.max_pool3d(x, kernel, stride=1, padding=padding)


def global_views(x: Tensor) -> tuple[Tensor, Tensor]:
    """`x` itself, (N, C, T, H, W), and its maximum over T, H and W, (N, C, 1, 1, 1), likewise.

    Elements that tie share the gradient, as in `amax`; on a GPU the first of them gets it, as in pooling.
    """
    if uses_kernels(x):
        small, big = _GlobalViews.apply(x)
        return can_recompute(small, _itself, x), big
    return x, _GlobalMax.apply(x)


def as_on_gpu(x: Tensor) -> bool:
    """Whether `x` takes a GPU's way: it is on one, or the environment asks for Triton's interpreter."""
    return x.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"


def uses_kernels(x: Tensor) -> bool:
    """Whether Triton's kernels take `x`."""
    return as_on_gpu(x) and HAS_TRITON and x.dtype in (torch.float32, torch.bfloat16, torch.float16)


def _itself(x: Tensor) -> Tensor:
    return x


def _pooled(x: Tensor, window: Window) -> Tensor:
    from smallbignet.ops.max_pool_triton import pool_forward

    return pool_forward(x, window, taps=False)[0]


class _MaxViews(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        from smallbignet.ops.max_pool_triton import pool_forward

        y, taps = pool_forward(x, window)
        ctx.save_for_backward(taps)
        ctx.window = window
        return x, y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_big: Tensor) -> tuple[Tensor, None]:
        from smallbignet.ops.max_pool_triton import pool_backward

        (taps,) = ctx.saved_tensors
        return pool_backward(grad, grad_big, taps, ctx.window), None


class _GlobalViews(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        peak, index = x.permute(0, 2, 3, 4, 1).flatten(1, 3).max(1, keepdim=True)  # (N, 1, C)
        ctx.save_for_backward(index)
        return x, peak.transpose(1, 2)[..., None, None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_big: Tensor) -> Tensor:
        (index,), (n, c, t, h, w) = ctx.saved_tensors, grad.shape
        rows = grad.permute(0, 2, 3, 4, 1).flatten(1, 3)  # (N, T*H*W, C)
        rows = rows.scatter(1, index, rows.gather(1, index) + grad_big.view(n, 1, c))
        return rows.view(n, t, h, w, c).permute(0, 4, 1, 2, 3)


class _GlobalMax(torch.autograd.Function):
    """`amax` with a backward pass in a quarter of the time: a difference vectorises where a broadcast comparison does not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        peak = x.amax(dim=(2, 3, 4), keepdim=True)
        ctx.save_for_backward(x, peak)
        return peak

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, peak = ctx.saved_tensors
        ties = (x - peak).sign_().add_(1)  # 1 where x is the maximum, else 0
        count = ties.sum(dim=(2, 3, 4), keepdim=True, dtype=torch.float32)
        return ties.mul_((grad / count).to(ties.dtype))
