"""Max pooling as the big views need it: stride 1, over windows such as 3x3x3 or all frames x 3 x 3, and over a whole clip.

PyTorch's own pooling keeps an int64 index per element for the backward pass, four times the size of a bfloat16 element. On a
GPU its backward pass also adds up gradients atomically, so their order differs from run to run. The kernels used here on a GPU
keep one byte per element (two for windows of more than 256), and each element gathers its gradients in a fixed order.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from smallbignet.ops.choice import device_of, is_plain, uses_kernels
from smallbignet.ops.recompute import can_recompute

Window = tuple[int | None, int, int]  # extents over T, H and W, all odd; None: all frames


def max_views(x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Return `x` itself and its max pooling of stride 1, padded so that the size stays the same.

    Values and gradients are those of `F.max_pool3d`. Both views come from one operation, so that a single pass over memory adds
    up the gradients of the two.

    Args:
        x: (N, C, T, H, W), contiguous or channels_last_3d.
        window: odd extents (t, h, w). A t of None takes all frames, and the pooling is then (N, C, 1, H, W).
    """
    t, h, w = window
    kernel = (t or x.shape[2], h, w)
    padding = (t // 2 if t else 0, h // 2, w // 2)
    if is_plain():
        return x, F.max_pool3d(x, kernel, stride=1, padding=padding)
    if uses_kernels(x) and t in (None, 1, 3):
        with device_of(x):
            if not (torch.is_grad_enabled() and x.requires_grad):
                return x, _pooled(x, window)
            small, big = _MaxViews.apply(x, window)
            return can_recompute(small, _itself, x), can_recompute(big, _pooled, x, window)
    with torch.autocast("cpu", enabled=False):  # autocast would pool a copy in float32: the same values for more work
        return x, F.max_pool3d(x, kernel, stride=1, padding=padding)


def global_views(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return `x` itself, (N, C, T, H, W), and its maximum over T, H and W, (N, C, 1, 1, 1).

    On a CPU, elements that tie for the maximum share its gradient, as in `Tensor.amax`. On a GPU the first of them gets all of
    it, as in pooling.
    """
    if is_plain():
        return x, x.amax(dim=(2, 3, 4), keepdim=True)
    if uses_kernels(x):
        small, big = _GlobalViews.apply(x)
        return can_recompute(small, _itself, x), big
    return x, _GlobalMax.apply(x)


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
        (index,) = ctx.saved_tensors
        n, c, t, h, w = grad.shape
        rows = grad.permute(0, 2, 3, 4, 1).flatten(1, 3)  # (N, T*H*W, C)
        rows = rows.scatter(1, index, rows.gather(1, index) + grad_big.view(n, 1, c))
        return rows.view(n, t, h, w, c).permute(0, 4, 1, 2, 3)


class _GlobalMax(torch.autograd.Function):
    """`Tensor.amax` whose backward pass takes a quarter of the time: it subtracts where PyTorch's compares, which is slower."""

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
