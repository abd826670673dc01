"""The inference form of timm's networks has their outputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from smallbignet.inference.fuse import fuse
from smallbignet.models.zoo import build_model

pytest.importorskip("timm")

NAMES = ["resnet10t", "regnety_002", "mobilenetv2_035", "mobilenetv3_small_050", "mobilenetv4_conv_small_035"]
NAMES += ["tf_efficientnet_lite0", "repvgg_a0"]
MIXTURE = ["tsm", "nonlocal", "full+unshared", "full+singlebn"]


def network(name: str, stages: list[str]) -> nn.Module:
    """A network in eval mode, normalised by the statistics of clips that it has seen, whose added parts are switched on."""
    torch.manual_seed(0)
    model = build_model(f"timm/{name}", 7, stages=stages)
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for bn in norms:
        bn.momentum = None  # the mean of all batches
        if not bn.weight.any():
            nn.init.uniform_(bn.weight, 0.1, 0.3)
    with torch.no_grad():
        model(torch.randn(4, 3, 4, 64, 64))
    return model.eval()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_logits_at_any_clip_length_and_size(name, change):
    model = network(name, ["2d", "full", "full", "full"])
    fused = fuse(model)
    for shape in ((2, 3, 4, 64, 64), (1, 3, 7, 40, 56)):
        assert change(model, fused, torch.randn(shape)) < 1e-5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "stages", [MIXTURE, ["full+avg", "typical+se+after", "full+centred", "tsm+vector"]], ids=["mixed", "others"]
)
def test_every_kind_of_block_in_float64(name, stages, change):
    """The folded form is the same function, however much a network of random weights enlarges what float32 rounds."""
    model, clip = network(name, stages).double(), torch.randn(1, 3, 4, 64, 64, dtype=torch.float64)
    assert change(model.forward_features, fuse(model, torch.float64).forward_features, clip) < 1e-5


def test_bfloat16_is_near_and_the_network_is_unchanged(change):
    model, clip = network("resnet10t", ["2d", "full", "full", "full"]), torch.randn(1, 3, 4, 64, 64)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fused = fuse(model, torch.bfloat16)
    assert fused(clip).dtype == torch.float32 and 1e-4 < change(model, fused, clip) < 0.1
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(parameter.requires_grad for name, parameter in fused.named_parameters() if not name.startswith("fc."))
