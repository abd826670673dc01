"""What stands beside the timings: plain operations, floors, processes that can't go on."""

from contextlib import ExitStack

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from smallbignet import create_model
from smallbignet.timing.turns import Floor, Worker, measure
from smallbignet.timing.variants import FLOORS, Case, convolution_elements, plain_operations


def step(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    logits = model(x)
    return logits, list(torch.autograd.grad(F.cross_entropy(logits, torch.tensor([0, 1])), list(model.parameters())))


def test_plain_operations_are_pytorchs_and_take_the_same_step(monkeypatch):
    torch.manual_seed(0)
    model = create_model("smallbig_r23", 3, width=8, stages=["full"] * 4).double()
    x = torch.randn(2, 3, 4, 32, 32, dtype=torch.float64)
    for bn in (module for module in model.modules() if isinstance(module, nn.BatchNorm3d)):
        nn.init.ones_(bn.weight)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    ours = step(model.to(memory_format=torch.channels_last_3d), x.to(memory_format=torch.channels_last_3d))
    model.load_state_dict(state)
    used = []
    monkeypatch.setattr("smallbignet.models.smallbig.max_views", lambda *_: used.append("ours"))
    with plain_operations():
        plain = step(model.to(memory_format=torch.contiguous_format), x)
    assert not used
    torch.testing.assert_close(ours[0], plain[0])
    for one, other in zip(ours[1], plain[1], strict=True):
        torch.testing.assert_close(one, other)


def test_the_floor_is_the_slower_of_arithmetic_and_memory():
    case = Case("c2d_r23", "plain", (8, 224), 1, "cpu", 1, train=False)
    floor, trained = Floor.of(case), Floor.of(Case("c2d_r23", "plain", (8, 224), 1, "cpu", 1, train=True))
    assert floor.macs / 1e9 == pytest.approx(16.98, abs=0.005) and trained.macs == 3 * floor.macs
    assert floor.elements == convolution_elements("c2d_r23", (8, 224)) and trained.elements == 3 * floor.elements
    rates = {"best convolution": 1e-11, "best convolution bf16": 1e-12, "copy": 0.0}
    assert floor.seconds(rates, half=False) == pytest.approx(floor.macs * 1e-11)
    assert floor.seconds(rates, half=True) == pytest.approx(floor.macs * 1e-12)
    assert floor.seconds(rates | {"copy": 1.0}, half=True) == 2 * floor.elements


def test_elements_of_a_convolution_are_those_it_reads_and_writes():
    small, large = (convolution_elements("c2d_r23", (8, size)) for size in (64, 128))
    assert large == 4 * small
    stem = 8 * (3 * 64 * 64 + 64 * 32 * 32)
    assert stem < small < 20 * stem


def test_what_cannot_run_says_why_and_costs_only_itself():
    cases = [Case("s3d", variant, (4, 32), 1, "cpu", 1, train=False) for variant in ("plain", "channels_last")]
    rows, rates = measure(cases, {}, 1, profile=False, advance=lambda: None)
    assert [row.variant for row in rows] == ["plain", "channels_last"] and rates == [{}]
    assert all(row.refused and row.times_plain is None for row in rows)
    with ExitStack() as stack:
        worker = Worker(Case("", FLOORS[2], (0, 0), 0, "cpu", 1, train=False), stack)
        assert 0 < worker.ask("seconds")[0] < 1e-6
        worker.process.kill()
        assert worker.ask("seconds") is None and "died" in worker.refused
