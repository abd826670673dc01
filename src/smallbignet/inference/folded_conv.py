"""A convolution with its normalisation folded in, on activations whose channels are last in memory: (N, T, H, W, C)."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallbignet.inference import onednn
from smallbignet.inference.fused_sum import sum_relu, sums_are_fused
from smallbignet.ops.choice import as_on_cpu


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
    shift: Tensor  # the bias, in float32

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
        self.register_buffer("shift", bias.float())
        self.onednn = onednn.is_usable(dtype)
        self.packed: tuple[torch.Size, Tensor] | None = None  # a shape of images, and the weights that oneDNN packed for it

    def forward(self, x: Tensor, add: Tensor | None = None, relu: bool = False) -> Tensor:
        """(N, T, H, W, C) -> (N, T', H', W', C').

        Args:
            add: (N, T', H', W', C'), added before the ReLU. The result may be written to its memory.
        """
        if sums_are_fused(x):
            return sum_relu(self.convolve(x), None, self.shift, add, relu)
        if self.joined_axes and self.onednn and as_on_cpu(x):
            return self._onednn(x, add, relu)
        y = self.convolve(x, self.bias)
        y = y if add is None else add.add_(y)
        return y.relu_() if relu else y

    def convolve(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the convolution alone, (N, T', H', W', C')."""
        conv = F.conv2d if self.joined_axes else F.conv3d
        y = conv(self._as_images(x).movedim(-1, 1), self.weight, bias, self.stride, self.padding)
        return self._as_clips(y.movedim(1, -1).contiguous(), x.shape)

    def _onednn(self, x: Tensor, add: Tensor | None, relu: bool) -> Tensor:
        images = self._as_images(x).movedim(-1, 1)
        if self.packed is None or self.packed[0] != images.shape:
            self.packed = images.shape, onednn.pack(self.weight, images.shape, self.stride, self.padding)
        add = None if add is None else self._as_images(add).movedim(-1, 1)
        y = onednn.conv(images, self.packed[1], self.bias, self.stride, self.padding, add, relu)
        return self._as_clips(y.movedim(1, -1), x.shape)

    def _as_images(self, x: Tensor) -> Tensor:
        return x.flatten(*self.joined_axes) if self.joined_axes else x

    def _as_clips(self, y: Tensor, shape: torch.Size) -> Tensor:
        """Undo `_as_images` after a convolution of an `x` of that shape."""
        if self.joined_axes is None:
            return y
        first, last = self.joined_axes
        return y.unflatten(first, shape[first : last + 1])


class FoldedFrameConv(nn.Module):
    """The same for a convolution of single frames from timm, which may have groups, or the padding of TensorFlow."""

    shift: Tensor  # what is left to add: nothing, because the bias is part of the convolution

    def __init__(self, conv: nn.Conv2d, bn: nn.Module | None, dtype: torch.dtype):
        super().__init__()
        weight, bias = fold(conv, bn)
        self.register_buffer("shift", torch.zeros_like(bias, dtype=torch.float32))
        self.conv = copy.deepcopy(conv)
        self.conv.weight = nn.Parameter(weight.to(dtype).contiguous(memory_format=torch.channels_last))
        self.conv.bias = nn.Parameter(bias.to(dtype))
        self.requires_grad_(False)

    def forward(self, x: Tensor, add: Tensor | None = None, relu: bool = False) -> Tensor:
        """(N, T, H, W, C) -> (N, T, H', W', C'); `add` as in `FoldedConv`."""
        y = self.convolve(x)
        y = y if add is None else add.add_(y)
        return y.relu_() if relu else y

    def convolve(self, x: Tensor) -> Tensor:
        """Return the convolution with its bias, (N, T, H', W', C')."""
        y = self.conv(x.flatten(0, 1).movedim(-1, 1))
        return y.movedim(1, -1).contiguous().unflatten(0, x.shape[:2])


def fold(conv: nn.Conv2d | nn.Conv3d, bn: nn.Module | None) -> tuple[Tensor, Tensor]:
    """Return the weights (C', C, ...) and bias (C',) of a convolution and the normalisation after it, in float64."""
    weight = conv.weight.detach().double()
    scale, shift = weight.new_ones(len(weight)), weight.new_zeros(len(weight))
    if isinstance(bn, nn.BatchNorm3d):
        scale, shift = scale_and_shift(bn)
    bias = shift if conv.bias is None else shift + conv.bias.detach() * scale
    return weight * scale.view(-1, *[1] * (weight.dim() - 1)), bias


def scale_and_shift(bn: nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """Return what a normalisation in eval mode multiplies each channel by and what it adds, (C,) in float64."""
    assert bn.running_mean is not None and bn.running_var is not None
    mean, var = bn.running_mean.double(), bn.running_var.double()
    scale = bn.weight.detach().double() / (var + bn.eps).sqrt()
    return scale, bn.bias.detach().double() - mean * scale
