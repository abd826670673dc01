"""Networks whose normalisations are far from where they start."""

import pytest
import torch
from torch import nn

from smallbignet import create_model


@pytest.fixture(params=["cpu", *[pytest.param("cuda", marks=pytest.mark.gpu)] * torch.cuda.is_available()])
def device(request, monkeypatch) -> str:
    """Where networks run, without TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    return request.param


@pytest.fixture(scope="session")
def random_network():
    """Makes a network in eval mode with random statistics and scales, some of them negative."""

    def make(name: str, **options) -> nn.Module:
        torch.manual_seed(0)
        model = create_model(name, 7, **options)
        for bn in (module for module in model.modules() if isinstance(module, nn.BatchNorm3d)):
            nn.init.uniform_(bn.weight, -0.5, 1.5)
            nn.init.uniform_(bn.bias, -0.5, 0.5)
            nn.init.uniform_(bn.running_mean, -0.5, 0.5)
            nn.init.uniform_(bn.running_var, 0.5, 2.0)
        return model.eval()

    return make


@pytest.fixture(scope="session")
def change():
    """How far the outputs of another form are from those of a network, relative to the latter."""

    def measure(model: nn.Module, form: nn.Module, x: torch.Tensor) -> float:
        with torch.no_grad():
            expected = model(x)
        return ((form(x) - expected).norm() / expected.norm()).item()

    return measure
