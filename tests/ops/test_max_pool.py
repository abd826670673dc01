"""Pooling has the values and the gradients of PyTorch's own, also where elements tie."""

import pytest
import torch
import torch.nn.functional as F

from smallbignet.ops.max_pool import global_views, max_views

WINDOWS = [(3, 1, 1), (1, 3, 3), (3, 3, 3), (3, 5, 5), (3, 7, 7), (None, 3, 3)]
FORMATS = [torch.contiguous_format, torch.channels_last_3d]


def theirs(x: torch.Tensor, window: tuple) -> tuple[torch.Tensor, torch.Tensor]:
    t, h, w = window
    return x, F.max_pool3d(x, (t or x.shape[2], h, w), 1, (t // 2 if t else 0, h // 2, w // 2))


def clips(*shape: int, dtype=torch.float32, memory_format=torch.contiguous_format, device="cpu") -> torch.Tensor:
    """Small whole numbers: maxima tie, and gradients that are summed in any order come out the same."""
    x = torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(0))
    return x.to(device, dtype).to(memory_format=memory_format).requires_grad_()


def compare(ours: tuple, reference: tuple, x: torch.Tensor, x_reference: torch.Tensor) -> None:
    for one, other in zip(ours, reference, strict=True):
        torch.testing.assert_close(one, other.to(one.dtype), rtol=0, atol=0, equal_nan=True)
    whole = [torch.arange(view.numel(), device=x.device).remainder(7).view(view.shape) for view in ours]
    for views in (ours, reference):
        torch.autograd.backward(views, [grad.to(view.dtype) for grad, view in zip(whole, views, strict=True)])
    torch.testing.assert_close(x.grad, x_reference.grad.to(x.dtype), rtol=0, atol=0)


@pytest.mark.parametrize("memory_format", FORMATS, ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_kernels_give_pytorchs_values_and_gradients(window, memory_format, device):
    x = clips(2, 3, 3, 4, 5, memory_format=memory_format, device=device)
    reference = x.detach().clone().requires_grad_()
    views = max_views(x, window)
    assert all(view.is_contiguous(memory_format=memory_format) for view in views)
    compare(views, theirs(reference, window), x, reference)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_kernels_in_half_precision(dtype, device):
    x = clips(1, 8, 2, 4, 4, dtype=dtype, memory_format=torch.channels_last_3d, device=device)
    reference = x.detach().float().requires_grad_()
    compare(max_views(x, (3, 3, 3)), theirs(reference, (3, 3, 3)), x, reference)


@pytest.mark.parametrize("window", [(3, 3, 3), (None, 3, 3)], ids=str)
def test_nan_is_the_maximum_and_gets_the_gradient(window, device):
    x = clips(1, 2, 3, 4, 4, device=device)
    with torch.no_grad():
        x[0, 0, 1, 1, 2] = x[0, 0, 2, 2, 2] = float("nan")
    reference = x.detach().clone().requires_grad_()
    compare(max_views(x, window), theirs(reference, window), x, reference)


@pytest.mark.parametrize(
    ("frames", "window", "kept"), [(2, (3, 3, 3), 1), (28, (None, 3, 3), 1), (29, (None, 3, 3), 2)], ids=str
)
def test_bytes_kept_of_an_element(frames, window, kept, device):
    x, saved = clips(1, 1, frames, 2, 2, device=device), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        _, y = max_views(x, window)
    assert [t.nbytes / y.numel() for t in saved] == [kept]
    assert torch.equal(y, theirs(x, window)[1])


def test_autocast_on_a_cpu_pools_in_bfloat16():
    x = clips(1, 2, 3, 4, 4, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert max_views(x, (3, 3, 3))[1].dtype == torch.bfloat16
        assert F.max_pool3d(x, 3).dtype == torch.float32  # the reason for max_views to step in


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_elements_that_tie_for_the_global_maximum_share_the_gradient_on_a_cpu(dtype):
    x = clips(2, 3, 2, 4, 4, dtype=dtype, memory_format=torch.channels_last_3d)
    reference = x.detach().clone().requires_grad_()
    (_, ours), theirs = global_views(x), reference.amax(dim=(2, 3, 4), keepdim=True)
    assert torch.equal(ours, theirs)
    grad = torch.randn_like(ours)
    ours.backward(grad)
    theirs.backward(grad)
    torch.testing.assert_close(x.grad, reference.grad)


@pytest.mark.parametrize("memory_format", FORMATS, ids=["contiguous", "channels_last"])
def test_the_first_element_gets_the_gradient_of_the_global_maximum_on_a_gpu(memory_format, device):
    x = clips(2, 3, 2, 4, 4, memory_format=memory_format, device=device)
    reference = x.detach().clone().requires_grad_()
    compare(global_views(x), (reference, F.max_pool3d(reference, reference.shape[2:])), x, reference)
