"""Minimal filtering is a convolution, and is used within a network."""

import pytest
import torch
import torch.nn.functional as F

from smallbignet import create_model
from smallbignet.inference.fuse import fuse
from smallbignet.inference.winograd import Winograd


@pytest.mark.parametrize("shape", [(2, 7, 9, 8), (3, 4, 4, 16), (1, 1, 2, 3)])
def test_minimal_filtering_is_a_convolution(shape):
    torch.manual_seed(0)
    weight, bias, views = torch.randn(5, 2 * shape[-1], 3, 3), torch.randn(5), [torch.randn(shape) for _ in range(2)]
    expected = F.conv2d(torch.cat(views, -1).movedim(-1, 1).double(), weight.double(), bias.double(), padding=1).relu()
    result = Winograd(weight, bias)(views).movedim(-1, 1)
    assert (result - expected).norm() / expected.norm() < 2e-6


def test_minimal_filtering_within_a_network(random_network, change, monkeypatch):
    model, x = random_network("smallbig_r23", stages=["2d", "full", "full+avg", "2d"], width=64), torch.randn(1, 3, 8, 120, 104)
    used = []
    monkeypatch.setattr(
        Winograd, "forward", lambda self, views, plain=Winograd.forward: used.append(self) or plain(self, views)
    )
    assert change(model, fuse(model), x) < 1e-5
    assert used


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("fused_on", ["meta", "cpu"])
def test_a_network_on_another_device_than_a_cpu_has_no_minimal_filtering(fused_on, dtype):
    """The meta device refuses tensors of a CPU beside its own, as a GPU does."""
    fused = fuse(create_model("smallbig_r23", 7).to(fused_on), dtype)
    filtered = any(isinstance(module, Winograd) for module in fused.modules())
    assert filtered == (fused_on == "cpu" and dtype == torch.float32)
    assert fused.to("meta")(torch.empty(1, 3, 8, 64, 64, device="meta")).shape == (1, 7)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_a_full_width_network_is_fused_on_a_gpu_or_moved_to_and_from_it(random_network, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    model, clips = random_network("smallbig_r23"), torch.randn(2, 3, 8, 112, 112)
    with torch.no_grad():
        expected = model(clips)
    moved, fused_there = fuse(model), fuse(model.cuda())
    for form, device in ((moved, "cuda"), (moved, "cpu"), (fused_there, "cuda"), (fused_there, "cpu")):
        logits = form.to(device)(clips.to(device)).cpu()
        assert (logits - expected).norm() < 1e-4 * expected.norm()
