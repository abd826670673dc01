"""The authors' checkpoints: seven networks, answers equal to theirs, every key accounted for."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from smallbignet import SmallBigError
from smallbignet.weights.adapter import read_checkpoint
from smallbignet.weights.official import OFFICIAL, from_official

FIGURES = Path(__file__).parents[1] / "data" / "reference"
KEYS = json.loads((FIGURES / "official_keys.json").read_text())
LOGITS = np.load(FIGURES / "official_logits.npz")


def weights(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """The reference's rule: every tensor is drawn from its key's name."""
    state = {}
    for key, shape in shapes.items():
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        if key.endswith("num_batches_tracked"):
            value = np.zeros(shape, np.int64)
        elif key.endswith("running_var"):
            value = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        elif key.endswith(("running_mean", "bias")):
            value = (0.1 * rng.standard_normal(shape)).astype(np.float32)
        elif len(shape) == 1:
            value = rng.uniform(0.2, 0.6, shape).astype(np.float32)
        else:
            value = (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
        state[key] = torch.from_numpy(np.asarray(value))
    return state


@pytest.mark.parametrize("case", LOGITS.files)
def test_reference_logits(case):
    network, frames, size = case.split("|")
    seed = zlib.crc32(f"{network}-{frames}-{size}".encode())
    clip = np.random.default_rng(seed).standard_normal((2, 3, int(frames), int(size), int(size))).astype(np.float32)
    model, _ = from_official(weights(KEYS[network]), network)
    with torch.inference_mode():
        answer = model(torch.from_numpy(clip)).numpy()
    assert np.linalg.norm(answer - LOGITS[case]) / np.linalg.norm(LOGITS[case]) < 1e-4


@pytest.mark.parametrize("network", OFFICIAL)
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


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"epoch": 3, "state_dict": s}], ids=["bare", "wrapped"])
def test_reading_unwraps(wrap, tmp_path):
    torch.save(wrap({"module.fc.bias": torch.zeros(2)}), tmp_path / "a.pth")
    assert list(read_checkpoint(tmp_path / "a.pth")) == ["fc.bias"]


def test_a_checkpoint_with_code_in_it_is_refused_and_does_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(SmallBigError, match=r"evil\.pth") as caught:
        read_checkpoint(tmp_path / "evil.pth")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
