"""The authors' checkpoints: seven networks, logits equal to theirs, every key accounted for."""

from pathlib import Path

import numpy as np
import pytest
import torch

from reference import figures, make_clip, weights
from smallbignet import SmallBigError
from smallbignet.weights.checkpoint import read_checkpoint
from smallbignet.weights.official import ANCHOR
from smallbignet.weights.sources import adapt_checkpoint, find_checkpoint

KEYS, LOGITS = figures("official")


def from_official(state, network, file=""):
    return adapt_checkpoint(state, find_checkpoint("official", network), file)


@pytest.mark.parametrize("case", LOGITS.files)
def test_reference_logits(case):
    network, clip = case.split("|")[0], make_clip(case)
    model, _ = from_official(weights(KEYS[network]), network)
    with torch.inference_mode():
        logits = model(clip).numpy()
    assert np.linalg.norm(logits - LOGITS[case]) / np.linalg.norm(LOGITS[case]) < 1e-4


@pytest.mark.parametrize("network", KEYS)
def test_every_key_of_all_seven_networks_has_a_place(network):
    state = {key: torch.zeros(shape) for key, shape in KEYS[network].items()}
    model, _ = from_official(state, network)
    assert len(model.state_dict()) == len(state)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("layer2.0.big1.1.weight"), "1 missing: res3.0.unit1.bn_big.weight"),
        (lambda state: state.update(layer9=torch.zeros(1)), "1 unexpected: layer9"),
        (lambda state: state.update({"bn1.weight": torch.zeros(3)}), r"of another shape: stem.bn.weight \(3,\) for \(64,\)"),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_a_checkpoint_that_does_not_fit_is_named(change, words):
    state = {key: torch.zeros(shape) for key, shape in KEYS["smallbig23_no_extra"].items()}
    change(state)
    with pytest.raises(SmallBigError, match=words):
        from_official(state, "smallbig23_no_extra", "sb23.pth")


def test_a_checkpoint_with_code_in_it_is_refused_and_does_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(SmallBigError, match=r"evil\.pth") as caught:
        read_checkpoint(tmp_path / "evil.pth", ANCHOR)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
