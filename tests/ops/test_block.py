"""A network's training step as it runs on a GPU, in Triton's interpreter: all of the fast operations together."""

import copy
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from smallbignet import create_model, ops
from smallbignet.ops.recompute import recompute

LAST = torch.channels_last_3d
SCALE = 1024  # of the loss, for float16's sake


@pytest.fixture
def two_threads():
    """On one, PyTorch's convolutions drop the memory format."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def step(network: nn.Module, clips: torch.Tensor, precision: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Return the gradients of a step and the running statistics after it."""
    with torch.autocast(clips.device.type, precision, enabled=precision != torch.float32):
        logits = network(clips)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    (F.cross_entropy(logits, torch.tensor([0, 1], device=clips.device)) * SCALE).backward()
    found = {name: p.grad / SCALE for name, p in network.named_parameters()} | dict(network.named_buffers())
    return {name: x for name, x in found.items() if x.is_floating_point()}


@pytest.mark.parametrize(("block", "frames"), [("full", 2), ("typical+se", 1)], ids=str)
def test_gradients_are_plain_pytorchs_and_the_same_when_features_are_computed_again(
    block, frames, precision, device, monkeypatch, two_threads
):
    torch.manual_seed(0)
    if device == "cpu":
        import triton.language as tl

        from smallbignet.ops import max_pool_triton, norm_relu_triton

        monkeypatch.setattr(norm_relu_triton, "_add", tl.standard._sum_combine)  # which the interpreter adds up quickly
        monkeypatch.setattr(norm_relu_triton, "ROWS", 1024)
        monkeypatch.setattr(norm_relu_triton, "CHANNELS", 64)
        monkeypatch.setattr(max_pool_triton, "BLOCK", 2**16)
    network = create_model("smallbig_r23", 3, width=8, stages=[block] * 4).to(device)
    for stage in (network.res2, network.res3, network.res4, network.res5):
        del stage[1:]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.3, 1)
    clips = torch.randn(2, 3, frames, 64, 64, device=device)
    with ops.plain():
        exact = step(copy.deepcopy(network).double(), clips.double())
        plain = step(copy.deepcopy(network), clips, precision)
    network = network.to(memory_format=LAST)
    results = []
    for context in (nullcontext(), recompute()):
        with context:
            results.append(step(copy.deepcopy(network), clips.to(memory_format=LAST), precision))
    if device == "cpu":  # PyTorch's own operations add up in any order on a GPU
        assert all(torch.equal(one, other) for one, other in zip(*(r.values() for r in results), strict=True))
    largest = max(x.norm() for x in exact.values())
    times = 5 if precision == torch.float32 else 2
    for name, found in results[1].items():  # few values make a normalisation here, which magnifies roundings
        assert (found - exact[name]).norm() < times * (plain[name] - exact[name]).norm() + 1e-5 * largest, name
