"""The kernels in every precision, at odd sizes, against PyTorch in double precision; and that they give the same bits twice."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallbignet.ops.conv import conv_of_images
from smallbignet.ops.max_pool import global_views, max_views
from smallbignet.ops.norm_relu import norm_relu

LAST = torch.channels_last_3d
BOUNDS = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}  # relative to the result's length: a rounding or two
ODD = (2, 24, 5, 13, 11)  # N, C, T, H, W
CASES = [(ODD, torch.float32), (ODD, torch.bfloat16), (ODD, torch.float16)]
CASES += [((2, 5, 3, 4, 3), torch.float16), ((1, 33, 1, 1, 7), torch.float32), ((3, 130, 2, 7, 9), torch.bfloat16)]
CASES += [((2, 64, 8, 56, 56), torch.bfloat16), ((1, 256, 8, 28, 28), torch.float16), ((4, 2048, 8, 7, 7), torch.bfloat16)]
WINDOWS = [(3, 1, 1), (3, 3, 3), (None, 3, 3), (3, 5, 5), (3, 7, 7)]
POOLINGS = [(window, *case) for window in WINDOWS for case in (CASES if window in WINDOWS[1:3] else CASES[:3])]
if not torch.cuda.is_available():  # the interpreter would take minutes
    CASES = CASES[3:4]
    POOLINGS = [(window, *CASES[0]) for window in WINDOWS[:3]]
cases = pytest.mark.parametrize(("size", "dtype"), CASES, ids=str)


def clips(size: tuple[int, ...], dtype: torch.dtype, device: str, seed: int = 0) -> Tensor:
    x = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    return x.to(device, dtype).contiguous(memory_format=LAST).requires_grad_()


def doubled(x: Tensor) -> Tensor:
    return x.detach().double().contiguous().requires_grad_()


def results(function, inputs: list[Tensor]) -> list[Tensor]:
    """What a function returns, and the gradients of its inputs for gradients that are the same every time."""
    outputs = function()
    grads = [torch.linspace(-1, 1, y.numel(), dtype=torch.float64).sin().view(y.shape).to(y.device, y.dtype) for y in outputs]
    return [*outputs, *torch.autograd.grad(outputs, inputs, grads)]


def compare(ours, theirs, inputs: list[Tensor], exact_inputs: list[Tensor], bound: float) -> None:
    once, again, exact = results(ours, inputs), results(ours, inputs), results(theirs, exact_inputs)
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))
    for one, other in zip(once, exact, strict=True):
        assert (one.double() - other).norm() <= bound * other.norm()


@pytest.mark.parametrize(("window", "size", "dtype"), POOLINGS, ids=str)
def test_pooling(window, size, dtype, device):
    (t, h, w), x = window, clips(size, dtype, device)
    exact = doubled(x)
    kernel, padding = (t or size[2], h, w), (t // 2 if t else 0, h // 2, w // 2)
    pooled = max_views(x, window)[1].double()
    assert torch.equal(pooled, F.max_pool3d(exact, kernel, 1, padding))

    def theirs():
        return exact * 1, F.max_pool3d(exact, kernel, 1, padding)

    compare(lambda: max_views(x, window), theirs, [x], [exact], BOUNDS[dtype])


@cases
def test_global_pooling(size, dtype, device):
    x = clips(size, dtype, device)
    exact = doubled(x)
    compare(lambda: global_views(x), lambda: (exact * 1, F.max_pool3d(exact, size[2:])), [x], [exact], BOUNDS[dtype])


@cases
@pytest.mark.parametrize(("big", "shortcut", "relu"), [(None, False, True), ("all", False, True), ("one", True, True)], ids=str)
def test_normalisations(big, shortcut, relu, size, dtype, device):
    torch.manual_seed(0)
    norms = [nn.BatchNorm3d(size[1], device=device) for _ in range(2)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias)
    n, c, t, h, w = size
    tensors = [clips(size, dtype, device), *([clips((n, c, t if big == "all" else 1, h, w), dtype, device, 1)] if big else [])]
    tensors += [clips(size, dtype, device, 2)] if shortcut else []
    exact_tensors, exact_norms = [doubled(x) for x in tensors], [nn.BatchNorm3d(c, device=device).double() for _ in norms]
    for norm, exact in zip(norms, exact_norms, strict=True):
        exact.load_state_dict(norm.state_dict())
    used = len(norms) if big else 1
    parameters, exact_parameters = ([p for norm in some[:used] for p in norm.parameters()] for some in (norms, exact_norms))

    def ours():
        x, *rest = tensors
        return [norm_relu(x, norms[0], rest[0] if big else None, norms[1], rest[-1] if shortcut else None, relu)]

    def theirs():
        x, *rest = exact_tensors
        y = exact_norms[0](x)
        y = y + exact_norms[1](rest[0]) if big else y
        y = y + rest[-1] if shortcut else y
        return [y.relu() if relu else y]

    bound = max(2 * BOUNDS[dtype], 5e-3)  # near zero, a rounding decides what the ReLU passes
    compare(ours, theirs, [*tensors, *parameters], [*exact_tensors, *exact_parameters], bound)


@cases
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (1, 2)], ids=str)
def test_convolutions(size, kernel, stride, dtype, device):
    torch.manual_seed(0)
    conv = nn.Conv3d(size[1], 16, (1, kernel, kernel), (1, stride, stride), (0, kernel // 2, kernel // 2), bias=False)
    x, weight = clips(size, dtype, device), conv.weight.detach().to(device, dtype).requires_grad_()
    exact, exact_weight = doubled(x), doubled(weight)

    def ours():
        return [conv_of_images(x, weight, None, conv.stride[1:], conv.padding[1:])]

    def theirs():
        return [F.conv3d(exact, exact_weight, None, conv.stride, conv.padding)]

    compare(ours, theirs, [x, weight], [exact, exact_weight], max(3 * BOUNDS[dtype], 2e-5))
