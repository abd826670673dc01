"""A convolution with its normalisation folded in, on activations whose channels are last in memory: (N, T, H, W, C)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallbignet.inference import onednn


class FoldedConv(nn.Module):
    """`relu(conv(x) + bias + add)`, where the weights and the bias include the normalisation after the convolution.

    A kernel that covers one frame (1 x h x w) is applied to images, T of which are in a clip. A kernel that covers one position
    (t x 1 x 1) is applied to images that are T high and H*W wide. Only other kernels need a convolution of volumes.

    Args:
        conv: the convolution, with or without a bias.
        bn: the normalisation after it, in eval mode; anything else is ignored.
        dtype: of the weights and the activations.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv3d, bn: nn.Module | None, dtype: torch.dtype):
        super().__init__()
        weight, bias = fold(conv, bn)
        t, h, w = conv.kernel_size
        frame_step, row_step, _ = conv.stride
        self.stride, self.padding = list(conv.stride), [int(p) for p in conv.padding]
        self.joined_axes: tuple[int, int] | None = None  # of (N, T, H, W, C), for a convolution of images
        if t == frame_step == 1:
            self.joined_axes = (0, 1)
            self.stride, self.padding, weight = self.stride[1:], self.padding[1:], weight.squeeze(2)
        elif h == w == row_step == 1:
            self.joined_axes = (2, 3)
            self.stride, self.padding, weight = self.stride[:2], self.padding[:2], weight.squeeze(4)
        memory_format = torch.channels_last if self.joined_axes else torch.channels_last_3d
        self.register_buffer("weight", weight.to(dtype).contiguous(memory_format=memory_format))
        self.register_buffer("bias", bias.to(dtype))
        self.onednn = onednn.is_usable(dtype)
        self.packed: tuple[torch.Size, Tensor] | None = None  # a shape of images, and the weights that oneDNN packed for it

    def forward(self, x: Tensor, add: Tensor | None = None, relu: bool = False) -> Tensor:
        """(N, T, H, W, C) -> (N, T', H', W', C').

        Args:
            add: (N, T', H', W', C'), added before the ReLU. The result is written to its memory.
        """
        n, t, h, w, _ = x.shape
        if not self.joined_axes:
            return self._public(F.conv3d, x, add, relu)
        x = x.flatten(*self.joined_axes)
        add = None if add is None else add.flatten(*self.joined_axes)
        y = self._onednn(x, add, relu) if self.onednn and x.device.type == "cpu" else self._public(F.conv2d, x, add, relu)
        return y.unflatten(0, (n, t)) if self.joined_axes == (0, 1) else y.unflatten(2, (h, w))

    def _public(self, conv: Callable[..., Tensor], x: Tensor, add: Tensor | None, relu: bool) -> Tensor:
        y = conv(x.movedim(-1, 1), self.weight, self.bias, self.stride, self.padding).movedim(1, -1).contiguous()
        y = y if add is None else add.add_(y)
        return y.relu_() if relu else y

    def _onednn(self, x: Tensor, add: Tensor | None, relu: bool) -> Tensor:
        images = x.movedim(-1, 1)
        if self.packed is None or self.packed[0] != images.shape:
            self.packed = images.shape, onednn.pack(self.weight, images.shape, self.stride, self.padding)
        add = None if add is None else add.movedim(-1, 1)
        return onednn.conv(images, self.packed[1], self.bias, self.stride, self.padding, add, relu).movedim(1, -1)


def fold(conv: nn.Conv3d, bn: nn.Module | None) -> tuple[Tensor, Tensor]:
    """Return the weights (C', C, t, h, w) and bias (C',) of a convolution and the normalisation after it, in float64."""
    weight = conv.weight.detach().double()
    scale, shift = weight.new_ones(len(weight)), weight.new_zeros(len(weight))
    if isinstance(bn, nn.BatchNorm3d):
        scale, shift = scale_and_shift(bn)
    bias = shift if conv.bias is None else shift + conv.bias.detach() * scale
    return weight * scale.view(-1, 1, 1, 1, 1), bias


def scale_and_shift(bn: nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """Return what a normalisation in eval mode multiplies each channel by and what it adds, (C,) in float64."""
    assert bn.running_mean is not None and bn.running_var is not None
    mean, var = bn.running_mean.double(), bn.running_var.double()
    scale = bn.weight.detach().double() / (var + bn.eps).sqrt()
    return scale, bn.bias.detach().double() - mean * scale
