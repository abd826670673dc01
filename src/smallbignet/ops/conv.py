"""Convolutions of one frame each, without what libraries make slow of them.

On a GPU they are convolutions of images: those of volumes were wrong in bfloat16 in some versions of cuDNN, 1 x 3 x 3, too, and
PyTorch's way around those takes several times the memory (pytorch/pytorch#163539, #166643). On a processor the gradient of the
weights is fast in bfloat16 with a spatial stride, too.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from smallbignet.ops.max_pool import as_on_gpu
from smallbignet.ops.recompute import can_recompute


class Conv3d(nn.Conv3d):
    """`nn.Conv3d`; oneDNN takes two to three times as long as it should for the strided weight gradients of bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, C', T', H', W')."""
        of_frames = self.kernel_size[0] == self.stride[0] == self.dilation[1] == self.dilation[2] == self.groups == 1
        if not of_frames or self.padding[0] != 0 or self.padding_mode != "zeros":
            return super().forward(x)
        if as_on_gpu(x) and x.is_contiguous(memory_format=torch.channels_last_3d):
            return conv_of_images(x, self.weight, self.bias, self.stride[1:], self.padding[1:])  # type: ignore[arg-type]
        slow = x.device.type == "cpu" and self.stride[1] > 1 and self.bias is None and x.shape[1] > 3
        if slow and torch.is_grad_enabled() and _dtype(x) == torch.bfloat16:
            with torch.autocast("cpu", enabled=False):
                x, weight = x.to(torch.bfloat16), self.weight.to(torch.bfloat16)
                return _StridedConv.apply(x, weight, self.stride, self.padding)
        return super().forward(x)


def conv_of_images(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: tuple[int, ...]) -> Tensor:
    """`F.conv3d` of each frame alone, nothing of channels_last_3d copied.

    Args:
        x: (N, C, T, H, W).
        weight: (C', C, 1, h, w).
        stride: of height and width, as the padding.
    """
    images = can_recompute(_as_images(x), _as_images, x)  # or what `x` can be made from would be kept as a view of `x`
    y = F.conv2d(images, weight.squeeze(2), bias, stride, padding)
    return y.movedim(1, -1).unflatten(0, (x.shape[0], x.shape[2])).movedim(-1, 1)


def _as_images(x: Tensor) -> Tensor:
    # Split and joined in the order of memory: else a single frame gets strides that PyTorch's normalisation takes wrongly.
    return x.movedim(1, -1).flatten(0, 1).movedim(-1, 1)  # (N*T, C, H, W)


def _dtype(x: Tensor) -> torch.dtype:
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
        (x, weight), stride, padding = ctx.saved_tensors, ctx.stride, ctx.padding
        ones, zeros, only_x = (1, 1, 1), (0, 0, 0), (ctx.needs_input_grad[0], False, False)
        backward = torch.ops.aten.convolution_backward
        grad_x = backward(grad, x, weight, None, stride, padding, ones, False, zeros, 1, only_x)[0]
        wanted = ctx.needs_input_grad[1]
        return grad_x, _weight_gradient(grad, x, weight.shape[3:], stride[1:], padding[1:]) if wanted else None, None, None


def _weight_gradient(grad: Tensor, x: Tensor, kernel: tuple, stride: tuple, padding: tuple) -> Tensor:
    """One matrix product, of the output's gradient and the patches of `x` that the kernel saw: (C', C, 1, h, w)."""
    (height, width), (down, right) = kernel, padding
    frames = F.pad(x.permute(0, 2, 3, 4, 1).flatten(0, 1), (0, 0, right, right, down, down))  # (N*T, H, W, C)
    patches = frames.unfold(1, height, stride[0]).unfold(2, width, stride[1])  # (N*T, H', W', C, h, w)
    patches = patches.permute(0, 1, 2, 4, 5, 3).reshape(-1, height * width * x.shape[1])
    product = grad.permute(0, 2, 3, 4, 1).flatten(0, 3).T @ patches  # (C', h*w*C)
    return product.view(grad.shape[1], 1, height, width, -1).permute(0, 4, 1, 2, 3)
