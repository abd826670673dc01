"""What follows the convolutions of a unit on a GPU, in one pass over memory: the sum of its views, bias, shortcut and ReLU.

PyTorch's own operations would read and write the result for each of them. The kernel is that of training's normalisations.
"""

from __future__ import annotations

import torch
from torch import Tensor

from smallbignet.ops.choice import device_of, uses_kernels


def sums_are_fused(x: Tensor) -> bool:
    """Whether `sum_relu` applies to what is computed from `x`. `torch.compile` fuses PyTorch's own operations itself."""
    return uses_kernels(x) and not torch.compiler.is_compiling()


def sum_relu(y: Tensor, big: Tensor | None, bias: Tensor, add: Tensor | None, relu: bool) -> Tensor:
    """Return `relu(y + big + bias + add)`, without the terms that are None, rounded once.

    Args:
        y: (N, T, H, W, C).
        big: (N, T, H, W, C), or (N, 1, H, W, C), which is added to every frame.
        bias: (C,), float32.
        add: (N, T, H, W, C).
    """
    from smallbignet.ops.norm_relu_triton import apply

    big, add = (None if x is None else x.permute(0, 4, 1, 2, 3) for x in (big, add))
    with device_of(y):
        return apply(y.permute(0, 4, 1, 2, 3), big, (None, None, bias), add, relu).permute(0, 2, 3, 4, 1)
