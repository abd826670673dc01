"""Convolutions that add, and apply the ReLU, in the same pass: oneDNN's, the library that PyTorch uses on CPUs.

PyTorch made these operations for its compiler. They are private, so `is_usable` tries them before anything relies on them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

OPERATIONS: Any = torch.ops.mkldnn
TOLERANCE = 0.01  # relative; a bfloat16 result is off by half of that


@cache
def is_usable(dtype: torch.dtype) -> bool:
    """Whether `conv` works here and computes the same as PyTorch's public convolution, tried once on a tiny image."""
    try:
        if dtype == torch.bfloat16 and not OPERATIONS._is_mkldnn_bf16_supported():
            return False
        return all(_agrees(dtype, with_add, relu) for with_add in (False, True) for relu in (False, True))
    except Exception:  # a private operation may be missing or fail in any way
        return False


def pack(weight: Tensor, shape: torch.Size, stride: list[int], padding: list[int]) -> Tensor:
    """Return weights (C', C, h, w) in the memory format that suits images of this shape (N, C, H, W)."""
    return OPERATIONS._reorder_convolution_weight(weight, padding, stride, [1, 1], 1, shape)


def conv(
    x: Tensor, packed: Tensor, bias: Tensor, stride: list[int], padding: list[int], add: Tensor | None, relu: bool
) -> Tensor:
    """Return `relu(conv2d(x) + bias + add)`, (N, C', H', W'), in the memory of `add` where that is given.

    Args:
        x: (N, C, H, W), channels_last.
        packed: what `pack` returned for the shape of `x`.
        add: (N, C', H', W'), channels_last, or None.
    """
    arguments = (packed, bias, padding, stride, [1, 1], 1)
    if add is None:
        return OPERATIONS._convolution_pointwise(x, *arguments, "relu" if relu else "none", [], "")
    return OPERATIONS._convolution_pointwise_(add, x, *arguments, "add", 1.0, "relu" if relu else None, [], "")


@torch.no_grad()
def _agrees(dtype: torch.dtype, with_add: bool, relu: bool) -> bool:
    x, weight, bias, add = (_values(*shape).to(dtype) for shape in ((2, 4, 5, 6), (3, 4, 3, 3), (3,), (2, 3, 3, 3)))
    x, weight, add = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, weight, add))
    expected = F.conv2d(x.float(), weight.float(), bias.float(), stride=2, padding=1)
    if with_add:
        expected += add.float()
    if relu:
        expected.relu_()
    result = conv(x, pack(weight, x.shape, [2, 2], [1, 1]), bias, [2, 2], [1, 1], add if with_add else None, relu)
    written_to_add = result.data_ptr() == add.data_ptr()
    return written_to_add == with_add and bool((result - expected).norm() < TOLERANCE * expected.norm())


def _values(*shape: int) -> Tensor:
    """Values of both signs, without the random generator."""
    return torch.arange(torch.Size(shape).numel()).sin().view(shape)
