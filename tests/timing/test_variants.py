"""The forms that a network is timed in."""

from types import SimpleNamespace

import pytest
import torch

from smallbignet.timing.cases import Case
from smallbignet.timing.variants import Inference, freeze_when_compiling


@pytest.mark.parametrize(("variant", "bound"), [("channels_last", 1e-5), ("fused", 1e-5), ("plain bf16", 0.1)])
def test_every_form_computes_the_same_logits(variant, bound):
    expected, logits = (
        Inference(Case("c2d_r23", name, (2, 32), 3, "cpu", torch.get_num_threads(), train=False)).logits()
        for name in ("plain", variant)
    )
    assert expected.shape == (8, 400)
    assert (logits - expected).norm() / expected.norm() < bound


def test_the_private_setting_of_the_compiler_may_be_missing(monkeypatch):
    settings = SimpleNamespace(freezing=False)
    monkeypatch.setattr(torch, "_inductor", SimpleNamespace(config=settings), raising=False)
    freeze_when_compiling()
    assert settings.freezing
    for without in (SimpleNamespace(config=SimpleNamespace()), SimpleNamespace(), None):
        monkeypatch.setattr(torch, "_inductor", without)
        freeze_when_compiling()
