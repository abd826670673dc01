"""Minimal filtering is a convolution, and is used within a network."""

import pytest
import torch
import torch.nn.functional as F

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
