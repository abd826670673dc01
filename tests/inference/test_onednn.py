"""oneDNN's private convolutions are used only where they work and are right; a fused network is right without them."""

from types import SimpleNamespace

import pytest
import torch

from smallbignet.inference import onednn
from smallbignet.inference.folded_conv import FoldedConv
from smallbignet.inference.fuse import fuse


def refuse(*_: object) -> torch.Tensor:
    raise RuntimeError("unknown overload")


def too_small(x: torch.Tensor, *arguments: object) -> torch.Tensor:
    return onednn_now._convolution_pointwise(x, *arguments) * 0.9


def without_relu(x: torch.Tensor, *arguments: object) -> torch.Tensor:
    return onednn_now._convolution_pointwise(x, *arguments[:-3], "none", [], "")


def without_sum(add: torch.Tensor, x: torch.Tensor, *arguments: object) -> torch.Tensor:
    return add.copy_(onednn_now._convolution_pointwise(x, *arguments[:-5], "none", [], ""))


def in_new_memory(add: torch.Tensor, *arguments: object) -> torch.Tensor:
    return onednn_now._convolution_pointwise_(add.clone(), *arguments)


onednn_now = torch.ops.mkldnn
BROKEN = {
    "all missing": None,
    "one missing": {"_reorder_convolution_weight": None},
    "refuses": {"_convolution_pointwise": refuse},
    "wrong values": {"_convolution_pointwise": too_small},
    "no ReLU": {"_convolution_pointwise": without_relu},
    "no sum": {"_convolution_pointwise_": without_sum},
    "not in place": {"_convolution_pointwise_": in_new_memory},
}
NAMES = ("_convolution_pointwise", "_convolution_pointwise_", "_reorder_convolution_weight", "_is_mkldnn_bf16_supported")


@pytest.fixture
def tried_again():
    onednn.is_usable.cache_clear()
    yield
    onednn.is_usable.cache_clear()


def uses_onednn(network: torch.nn.Module) -> set[bool]:
    return {module.onednn for module in network.modules() if isinstance(module, FoldedConv)}


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch was built without oneDNN")
def test_it_is_used_with_this_pytorch(random_network, tried_again):
    state = torch.get_rng_state()
    assert onednn.is_usable(torch.float32) and not onednn.is_usable(torch.float64)
    assert torch.equal(torch.get_rng_state(), state)  # trying it does not change anybody's random numbers
    assert uses_onednn(fuse(random_network("smallbig_r23", width=8))) == {True}


@pytest.mark.parametrize("changed", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_fused_network_is_right_where_private_operations_are_missing_or_wrong(
    changed, dtype, random_network, change, tried_again, monkeypatch
):
    operations = {} if changed is None else {name: getattr(onednn_now, name) for name in NAMES} | changed
    monkeypatch.setattr(onednn, "OPERATIONS", SimpleNamespace(**{n: f for n, f in operations.items() if f is not None}))
    model = random_network("smallbig_r23", width=8)
    fused = fuse(model, dtype)
    assert uses_onednn(fused) == {False}
    assert change(model, fused, torch.randn(1, 3, 8, 48, 64)) < (1e-5 if dtype == torch.float32 else 0.1)


@pytest.mark.parametrize("name", ["smallbig_slowonly_r50", "tsm_r50", "nonlocal_r23", "slowfast_r50"])
def test_other_networks_are_right_without_them(name, random_network, change, tried_again, monkeypatch):
    monkeypatch.setattr(onednn, "OPERATIONS", SimpleNamespace())
    model = random_network(name, width=8)
    assert change(model, fuse(model), torch.randn(1, 3, 8, 48, 64)) < 1e-5
