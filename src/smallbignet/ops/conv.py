"""Convolutions of single frames (1 x h x w), without what makes them slow or wrong in the libraries.

On a GPU they are computed as convolutions of images. In some versions of cuDNN those of volumes were wrong in bfloat16, even
for 1 x 3 x 3, and the way in which PyTorch avoids that takes several times the memory (pytorch/pytorch#163539, #166643). On a
CPU, the weight gradient of a convolution with a stride is computed as a matrix product in bfloat16.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv3d_input

from smallbignet.ops.choice import as_on_gpu, is_plain
from smallbignet.ops.recompute import can_recompute


class Conv3d(nn.Conv3d):
    """`nn.Conv3d`, faster where its kernel covers one frame: oneDNN's weight gradient in bfloat16 with a stride is slow."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, C', T', H', W')."""
        of_frames = self.kernel_size[0] == self.stride[0] == self.dilation[1] == self.dilation[2] == self.groups == 1
        if is_plain() or not of_frames or self.padding[0] != 0 or self.padding_mode != "zeros":
            return super().forward(x)
        if as_on_gpu(x) and x.is_contiguous(memory_format=torch.channels_last_3d):
            return conv_of_images(x, self.weight, self.bias, self.stride[1:], self.padding[1:])  # type: ignore[arg-type]
        slow = x.device.type == "cpu" and self.stride[1] > 1 and self.bias is None and x.shape[1] > 3
        if slow and torch.is_grad_enabled() and _compute_dtype(x) == torch.bfloat16:
            with torch.autocast("cpu", enabled=False):
                x, weight = x.to(torch.bfloat16), self.weight.to(torch.bfloat16)
                return _StridedConv.apply(x, weight, self.stride, self.padding)
        return super().forward(x)


def conv_of_images(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: tuple[int, ...]) -> Tensor:
    """Return `F.conv3d` of a kernel that covers one frame. Tensors in channels_last_3d are not copied.

    Args:
        x: (N, C, T, H, W).
        weight: (C', C, 1, h, w).
        bias: (C',).
        stride: over height and width.
        padding: of height and width.
    """
    images = can_recompute(_as_images(x), _as_images, x)  # without this, autograd would keep `x` for its view
    y = F.conv2d(images, weight.squeeze(2), bias, stride, padding)
    return y.movedim(1, -1).unflatten(0, (x.shape[0], x.shape[2])).movedim(-1, 1)


def _as_images(x: Tensor) -> Tensor:
    """(N, C, T, H, W) -> (N*T, C, H, W)."""
    # Axes are joined in the order of memory: a single frame would otherwise get strides that PyTorch's batch norm misreads.
    return x.movedim(1, -1).flatten(0, 1).movedim(-1, 1)


def _compute_dtype(x: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


class _StridedConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, ...], padding: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv3d(x, weight, None, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding = ctx.stride, ctx.padding
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = conv3d_input(x.shape, weight, grad, stride, padding)
        if ctx.needs_input_grad[1]:
            grad_weight = _weight_gradient(grad, x, weight.shape[3:], stride[1:], padding[1:])
        return grad_x, grad_weight, None, None


def _weight_gradient(grad: Tensor, x: Tensor, kernel: tuple, stride: tuple, padding: tuple) -> Tensor:
    """Return (C', C, 1, h, w): one matrix product of the output's gradient and the patches of `x` under the kernel."""
    (height, width), (down, right) = kernel, padding
    frames = F.pad(x.permute(0, 2, 3, 4, 1).flatten(0, 1), (0, 0, right, right, down, down))  # (N*T, H, W, C)
    patches = frames.unfold(1, height, stride[0]).unfold(2, width, stride[1])  # (N*T, H', W', C, h, w)
    patches = patches.permute(0, 1, 2, 4, 5, 3).reshape(-1, height * width * x.shape[1])
    product = grad.permute(0, 2, 3, 4, 1).flatten(0, 3).T @ patches  # (C', h*w*C)
    return product.view(grad.shape[1], 1, height, width, -1).permute(0, 4, 1, 2, 3)
