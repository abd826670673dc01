"""Convolutions of one frame each: `nn.Conv3d`'s values, and its gradients."""

import pytest
import torch
from torch import nn

from smallbignet.ops.conv import Conv3d, conv_of_images


@pytest.mark.parametrize(("kernel", "size"), [(1, 8), (3, 8), (3, 7)], ids=str)
@pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last_3d], ids=["contiguous", "channels_last"]
)
def test_gradients_of_a_strided_convolution(kernel, size, memory_format):
    torch.manual_seed(0)
    conv = Conv3d(16, 8, (1, kernel, kernel), (1, 2, 2), (0, kernel // 2, kernel // 2), bias=False)
    exact = nn.Conv3d(16, 8, (1, kernel, kernel), (1, 2, 2), (0, kernel // 2, kernel // 2), bias=False)
    conv.weight.data = conv.weight.data.bfloat16().float().to(memory_format=memory_format)
    exact.load_state_dict(conv.state_dict())
    x = torch.randn(2, 16, 3, size, size).bfloat16().float().to(memory_format=memory_format).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    reference = exact(x)
    assert type(y.grad_fn).__name__ == "_StridedConvBackward" and y.dtype == torch.bfloat16
    grad = torch.randn_like(y)
    for one, other in zip(
        torch.autograd.grad(y, [x, conv.weight], grad),
        torch.autograd.grad(reference, [x, exact.weight], grad.float()),
        strict=True,
    ):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 5e-3 * other.norm()  # a bfloat16 has 8 bits


def test_other_convolutions_are_pytorchs():
    conv, x = Conv3d(16, 8, 1, (1, 2, 2), bias=False), torch.randn(1, 16, 2, 4, 4)
    assert torch.equal(conv(x), nn.Conv3d.forward(conv, x))
    assert type(conv(x).grad_fn).__name__ == "ConvolutionBackward0"


@pytest.mark.parametrize("bias", [False, True], ids=["without bias", "with bias"])
@pytest.mark.parametrize(("kernel", "stride", "frames"), [(3, 1, 4), (3, 2, 4), (1, 2, 1), (7, 2, 2)], ids=str)
def test_a_convolution_of_images_is_the_one_of_frames(kernel, stride, frames, bias):
    conv = nn.Conv3d(8, 4, (1, kernel, kernel), (1, stride, stride), (0, kernel // 2, kernel // 2), bias=bias).double()
    x = torch.randn(2, 8, frames, 9, 9).double().to(memory_format=torch.channels_last_3d).requires_grad_()
    parameters = list(conv.parameters())
    y, reference = conv_of_images(x, conv.weight, conv.bias, conv.stride[1:], conv.padding[1:]), conv(x)
    assert torch.allclose(y, reference)
    grad = torch.randn_like(y)
    for one, other in zip(*(torch.autograd.grad(z, [x, *parameters], grad) for z in (y, reference)), strict=True):
        assert torch.allclose(one, other)
