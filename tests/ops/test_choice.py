"""Within `ops.plain()` no fast operation runs, and the results agree with those of the fast ones."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallbignet import create_model, ops
from smallbignet.ops import choice, conv, max_pool, norm_relu

LAST = torch.channels_last_3d
FAST = [
    kind
    for module in (conv, max_pool, norm_relu)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, torch.autograd.Function)
]


@pytest.fixture
def fast_operations_fail(monkeypatch):
    def fail(*_: object) -> None:
        raise AssertionError("a fast operation ran")

    for kind in FAST:
        monkeypatch.setattr(kind, "apply", fail)
    monkeypatch.setattr(conv, "conv_of_images", fail)


def make_network(stages: list[str] | None = None) -> nn.Module:
    """A network that is not where it starts: no branch is switched off."""
    torch.manual_seed(0)
    network = create_model("smallbig_r23", 3, width=8, stages=stages or ["full"] * 4)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.3, 1)
    return network


def step(network: nn.Module, clips: Tensor) -> list[Tensor]:
    """The logits and the gradients of all parameters."""
    logits = network(clips)
    gradients = torch.autograd.grad(F.cross_entropy(logits, torch.tensor([0, 1])), list(network.parameters()))
    return [logits, *gradients]


def test_the_fast_operations_are_known():
    assert len(FAST) == 6  # a strided convolution, three poolings, norm_relu and its repeated frame


@pytest.mark.parametrize("interpreter", ["0", "1"], ids=["CPU", "as on a GPU"])
def test_no_fast_operation_runs_within_plain(interpreter, fast_operations_fail, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", interpreter)
    network, clips = make_network().to(memory_format=LAST), torch.randn(2, 3, 2, 32, 32).to(memory_format=LAST)
    with torch.autocast("cpu", torch.bfloat16):
        with ops.plain():
            step(network, clips)
        with pytest.raises(AssertionError, match="a fast operation ran"):
            step(network, clips)


def test_a_plain_step_is_the_fast_step():
    network, clips = make_network().double(), torch.randn(2, 3, 4, 32, 32).double()
    with ops.plain():
        plain = step(copy.deepcopy(network), clips)
    fast = step(network.to(memory_format=LAST), clips.to(memory_format=LAST))
    for one, other in zip(fast, plain, strict=True):
        torch.testing.assert_close(one, other)


def test_a_plain_network_can_be_compiled_and_is_compiled_again_outside():
    traced = []  # the operations of each graph

    def backend(graph: torch.fx.GraphModule, _inputs: list) -> torch.fx.GraphModule:
        traced.append({node.target for node in graph.graph.nodes})
        return graph

    network, clips = make_network(["2d", "2d", "2d", "full"]).eval(), torch.randn(1, 3, 2, 32, 32)
    compiled = torch.compile(network, backend=backend, fullgraph=True)
    with torch.no_grad():
        with ops.plain():
            assert torch.equal(compiled(clips), network(clips))
        compiled(clips)
    plain, fast = traced
    assert "add_" in fast and "add_" not in plain  # PyTorch's own sums make new tensors


def test_contexts_nest_and_end_with_an_error():
    with pytest.raises(ValueError), ops.plain():
        with ops.plain():
            pass
        assert choice.is_plain()
        raise ValueError
    assert not choice.is_plain()
