"""Checkpoints of TSM's repository: the logits that it computes with such weights, here computed without its code."""

import re

import pytest
import torch

from smallbignet import SmallBigError
from smallbignet.weights.checkpoint import read_checkpoint
from smallbignet.weights.sources import adapt_checkpoint, find_checkpoint
from smallbignet.weights.tsm import ANCHOR


def from_tsm(state, network, file=""):
    return adapt_checkpoint(state, find_checkpoint("tsm", network), file)


def theirs(state):
    """torchvision's keys under the names of TSM's repository, without DataParallel's prefix."""

    def name(key):
        key = re.sub(r"(layer.*\.conv1)\.", r"\1.net.", key)
        return f"new_{key}" if key.startswith("fc.") else f"base_model.{key}"

    return {name(key): value for key, value in state.items()}


def test_a_checkpoint_as_published(frame_net, tsm, tmp_path):
    """`module.` prefixes, and epoch, arch and best_prec1 beside the state dict, as its main.py saves them."""
    state = {f"module.{key}": value for key, value in theirs(frame_net.state_dict()).items()}
    assert {
        "module.base_model.conv1.weight",
        "module.base_model.layer1.0.conv1.net.weight",
        "module.new_fc.bias",
    } <= state.keys()
    saved = {"epoch": 50, "arch": "resnet50", "state_dict": state, "best_prec1": torch.tensor(74.1)}
    torch.save(saved, tmp_path / "ckpt.pth.tar")
    model, how = from_tsm(read_checkpoint(tmp_path / "ckpt.pth.tar", ANCHOR), "tsm_r50")
    assert how == {"name": "tsm_r50", "num_classes": 5, "stages": None, "head_window": None} and not model.training
    clip = torch.randn(2, 3, 4, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(clip), tsm(clip), rtol=1e-4, atol=1e-4)


def unshift(state):
    for key in [key for key in state if ".net." in key]:
        state[key.replace(".net.", ".")] = state.pop(key)


@pytest.mark.parametrize(
    ("network", "change", "words"),
    [
        ("tsm_r50", lambda s: s.pop("new_fc.weight"), r"1 missing: fc\.weight"),
        ("tsm_r50", lambda s: s.update({"base_model.fc.weight": torch.zeros(5, 2048)}), r"unexpected: base_model\.fc\.weight"),
        ("tsm_r50", unshift, r"16 unexpected: base_model\.layer1\.0\.conv1\.weight"),
        ("tsm_r101", lambda s: None, "tsm has tsm_r50"),
    ],
    ids=["missing", "unexpected", "TSN", "network"],
)
def test_what_does_not_fit_is_named(frame_net, network, change, words):
    state = theirs(frame_net.state_dict())
    change(state)
    with pytest.raises(SmallBigError, match=words) as caught:
        from_tsm(state, network, "theirs.pth")
    assert "\n" not in str(caught.value)
