"""The normalisations at the end of a unit together with the sum and the ReLU after them, in one pass over memory on a GPU.

A SmallBig unit ends in `relu(BN(small) + BN_big(big))`, the last one of a block in `relu(BN(small) + BN_big(big) + shortcut)`.
This is little arithmetic, but most of the memory traffic of a training step on a GPU.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from smallbignet.ops.choice import is_plain, uses_kernels
from smallbignet.ops.recompute import can_recompute


def norm_relu(
    x: Tensor,
    bn: nn.BatchNorm3d,
    big: Tensor | None = None,
    bn_big: nn.BatchNorm3d | None = None,
    shortcut: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """Return `relu(bn(x) + bn_big(big) + shortcut)`, without the terms that are not given.

    Args:
        x: (N, C, T, H, W).
        bn: in training mode it uses the batch's statistics and updates its running ones, as any other module call does.
        big: (N, C, T, H, W), or (N, C, 1, H, W), which is added to every frame.
        bn_big: the normalisation of `big`.
        shortcut: (N, C, T, H, W).
    """
    if is_plain():
        y = bn(x)
        if big is not None and bn_big is not None:
            y = y + bn_big(big)
        if shortcut is not None:
            y = y + shortcut
        return F.relu(y) if relu else y
    if _kernels_apply(x, bn) and (big is None or (bn_big is not None and _kernels_apply(big, bn_big))):
        with torch.cuda.device_of(x):
            return _NormRelu.apply(x, bn.weight, bn.bias, bn, big, *_parameters(bn_big), bn_big, shortcut, relu)
    y = bn(x)
    if big is not None and bn_big is not None:
        big = bn_big(big)
        y = y.add_(big if big.shape[2] == y.shape[2] else _Repeat.apply(big, y.shape[2]))
    if shortcut is not None:
        y = y.add_(shortcut)
    return F.relu(y, inplace=True) if relu else y


def _parameters(bn: nn.BatchNorm3d | None) -> tuple[Tensor | None, Tensor | None]:
    return (None, None) if bn is None else (bn.weight, bn.bias)


def _kernels_apply(x: Tensor, bn: nn.BatchNorm3d) -> bool:
    """Whether the Triton kernels compute what `bn` would compute from `x`. `torch.compile` fuses normalisations itself."""
    usual = type(bn) is nn.BatchNorm3d and bn.training and bn.track_running_stats and bn.momentum is not None
    in_float32 = usual and bn.weight.dtype == bn.running_mean.dtype == torch.float32  # type: ignore[union-attr]
    several_values = x.numel() > x.shape[1]  # per channel; PyTorch refuses a single one
    in_format = uses_kernels(x) and x.is_contiguous(memory_format=torch.channels_last_3d)
    return in_format and in_float32 and several_values and torch.is_grad_enabled() and not torch.compiler.is_compiling()


class _Repeat(torch.autograd.Function):
    """`expand` of one frame to many. Its gradient is summed along contiguous memory, ten times faster than `expand`'s own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, frames: int) -> Tensor:
        return x.expand(-1, -1, frames, -1, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        n, c, _, h, w = grad.shape
        if not grad.is_contiguous(memory_format=torch.channels_last_3d):
            return grad.sum(2, keepdim=True), None
        total = grad.permute(0, 2, 3, 4, 1).flatten(2).sum(1)  # (N, H*W*C)
        return total.view(n, 1, h, w, c).permute(0, 4, 1, 2, 3), None


class _NormRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x, weight, bias, bn, big, weight_big, bias_big, bn_big, shortcut, relu) -> Tensor:
        from smallbignet.ops import norm_relu_triton as kernels

        mean, scale, factor, shift = kernels.statistics(x, bn)
        mean_big = scale_big = factor_big = None
        if big is not None:
            mean_big, scale_big, factor_big, shift = kernels.statistics(big, bn_big, shift)
        coefficients = factor, factor_big, shift
        y = kernels.apply(x, big, coefficients, shortcut, relu)
        ctx.relu, ctx.has_shortcut = relu, shortcut is not None
        end_of_block = relu and ctx.has_shortcut
        ctx.save_for_backward(x, big, y if end_of_block else None, mean, scale, mean_big, scale_big, *coefficients)
        return y if end_of_block else can_recompute(y, kernels.apply, x, big, coefficients, shortcut, relu)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor):
        from smallbignet.ops import norm_relu_triton as kernels

        x, big, y, mean, scale, mean_big, scale_big, *coefficients = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last_3d)
        statistics_big = None if big is None else (mean_big, scale_big)
        terms = kernels.sums(grad, y, x, coefficients, big, (mean, scale), statistics_big, ctx.relu)
        grad_bias, grad_weight, *_ = terms
        grad_weight_big, grad_bias_big = (None, None) if big is None else (terms[4], grad_bias)
        grads = kernels.gradients(grad, y, x, coefficients, big, terms, ctx.relu, ctx.has_shortcut)
        return grads[0], grad_weight, grad_bias, None, grads[1], grad_weight_big, grad_bias_big, None, grads[2], None
