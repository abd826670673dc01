"""What is computed again in the backward pass is not kept, and gives the same bits."""

import weakref
from contextlib import nullcontext

import torch
from torch import nn

from smallbignet.ops.norm import norm_relu
from smallbignet.ops.pool import max_pool
from smallbignet.ops.recompute import recompute


class Unit(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(8, 8, 1, bias=False)
        self.bn, self.bn_big = nn.BatchNorm3d(8), nn.BatchNorm3d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last = torch.channels_last_3d  # which a convolution on one thread drops
        small, big = (self.conv(view).contiguous(memory_format=last) for view in (x, max_pool(x, (1, 3, 3))))
        return norm_relu(small, self.bn, big, self.bn_big, relu=True)


def test_same_gradients_and_less_memory(device):
    torch.manual_seed(0)
    units = nn.Sequential(Unit(), Unit(), Unit()).to(device)
    x = torch.randn(1, 8, 2, 4, 4, device=device).to(memory_format=torch.channels_last_3d)
    results = []  # of the first two units
    for unit in units[:2]:
        unit.register_forward_hook(lambda _module, _inputs, y: results.append(weakref.ref(y)))
    gradients, alive = [], []
    for context in (nullcontext(), recompute()):
        results.clear()
        with context:
            y = units(x)
        alive.append([result() is not None for result in results])
        gradients.append(torch.autograd.grad(y.square().sum(), list(units.parameters())))
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    assert alive == [[True, True], [False, False]]
