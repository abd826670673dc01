"""The fused normalisations against the same sum of modules in double precision."""

import copy

import pytest
import torch
from torch import nn

from smallbignet.ops.norm_relu import norm_relu

SHAPE = (2, 5, 3, 4, 3)


def case(device: str, big_frames: int, shortcut: bool) -> tuple[dict, dict]:
    """Arguments of `norm_relu`, far from zero mean, and the same in double precision."""
    torch.manual_seed(0)

    def tensor(frames: int) -> torch.Tensor:
        x = torch.randn(*SHAPE[:2], frames, *SHAPE[3:], device=device) * 2 + 5
        return x.to(memory_format=torch.channels_last_3d).requires_grad_()

    def norm() -> nn.BatchNorm3d:
        bn = nn.BatchNorm3d(SHAPE[1], device=device)
        nn.init.uniform_(bn.weight, 0.5, 2)
        nn.init.normal_(bn.bias)
        return bn

    ours = {"x": tensor(3), "bn": norm()}
    if big_frames:
        ours |= {"big": tensor(big_frames), "bn_big": norm()}
    if shortcut:
        ours["shortcut"] = tensor(3)
    exact = {
        key: copy.deepcopy(v).double() if isinstance(v, nn.Module) else v.detach().double().contiguous().requires_grad_()
        for key, v in ours.items()
    }
    return ours, exact


def plain(x, bn, big=None, bn_big=None, shortcut=None, relu=False):
    y = bn(x)
    y = y if big is None else y + bn_big(big)
    y = y if shortcut is None else y + shortcut
    return y.relu() if relu else y


def leaves(arguments: dict) -> list[torch.Tensor]:
    return [leaf for v in arguments.values() for leaf in (v.parameters() if isinstance(v, nn.Module) else [v])]


CASES = pytest.mark.parametrize(
    ("big_frames", "shortcut", "relu"),
    [(0, False, True), (0, True, False), (3, False, True), (1, False, True), (1, True, True), (3, True, False)],
)


@CASES
def test_the_sum_and_its_gradients(big_frames, shortcut, relu, device):
    compare(device, big_frames, shortcut, relu)


@CASES
def test_the_same_without_kernels(big_frames, shortcut, relu):
    compare("cpu", big_frames, shortcut, relu)


def compare(device: str, big_frames: int, shortcut: bool, relu: bool) -> None:
    ours, exact = case(device, big_frames, shortcut)
    y, z = norm_relu(**ours, relu=relu), plain(**exact, relu=relu)
    torch.testing.assert_close(y.double(), z, rtol=1e-5, atol=1e-5)
    grad = torch.randn_like(y)
    for one, other in zip(
        torch.autograd.grad(y, leaves(ours), grad), torch.autograd.grad(z, leaves(exact), grad.double()), strict=True
    ):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5)
    for name, value in ours["bn"].state_dict().items():
        torch.testing.assert_close(value, exact["bn"].state_dict()[name].to(value.dtype), rtol=1e-6, atol=1e-6)


def test_frozen_statistics_are_used_and_left_alone(device):
    ours, _ = case(device, big_frames=1, shortcut=False)
    for bn in (ours["bn"].eval(), ours["bn_big"].eval()):
        nn.init.uniform_(bn.running_mean)
    before = copy.deepcopy(ours["bn"].state_dict())
    torch.testing.assert_close(norm_relu(**ours), plain(**ours))
    assert all(torch.equal(value, before[name]) for name, value in ours["bn"].state_dict().items())
