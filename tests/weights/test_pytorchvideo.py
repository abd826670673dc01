"""PyTorchVideo's checkpoints: logits equal to theirs, every key accounted for, SmallBig networks that start from them."""

import numpy as np
import pytest
import torch

from reference import figures, make_clip, weights
from smallbignet import SmallBigError, load_config, load_model
from smallbignet.cli import main
from smallbignet.training.settings import NetworkSpec
from smallbignet.training.trainer import build_network
from smallbignet.weights.sources import adapt_checkpoint, find_checkpoint

KEYS, LOGITS = figures("pytorchvideo")


def from_pytorchvideo(state, network, file=""):
    return adapt_checkpoint(state, find_checkpoint("pytorchvideo", network), file)


@pytest.fixture(scope="module")
def slow_state():
    return weights(KEYS["slow_r50"])


@pytest.fixture(scope="module")
def slow_file(slow_state, tmp_path_factory):
    """A checkpoint as PyTorchVideo publishes it."""
    file = tmp_path_factory.mktemp("zoo") / "SLOW_8x8_R50.pyth"
    torch.save({"model_state": slow_state, "epoch": 196}, file)
    return file


@pytest.mark.parametrize("case", LOGITS.files)
def test_reference_logits(case):
    network = case.split("|")[0]
    model, _ = from_pytorchvideo(weights(KEYS[network]), network)
    with torch.inference_mode():
        logits = model(make_clip(case)[:1]).numpy()  # one of the two clips, for time
    expected = LOGITS[case][:1]
    assert np.linalg.norm(logits - expected) / np.linalg.norm(expected) < 1e-4


@pytest.mark.parametrize("network", ["slow_r50", "slowfast_r50"])
def test_every_key_has_a_place(network):
    state = {key: torch.zeros(shape) for key, shape in KEYS[network].items()}
    model, _ = from_pytorchvideo(state, network)
    assert len(model.state_dict()) == len(state)


@pytest.mark.parametrize("network", ["smallbig_slowonly_r50", "smallbig_r50"])
def test_a_smallbig_network_with_the_published_one_as_its_small_view_returns_the_same(slow_state, network):
    slow, _ = from_pytorchvideo(slow_state, "slow_r50")
    model, how = from_pytorchvideo(slow_state, network)
    assert how["name"] == network and len(model.state_dict()) > len(slow.state_dict())
    clip = torch.randn(1, 3, 4, 256, 96)  # a map of 8x3: windows of 7x3 in the head
    with torch.inference_mode():
        assert torch.equal(model(clip), slow(clip))


def test_training_starts_from_a_published_network(slow_file, slow_state, tmp_path):
    assert main(["convert", str(slow_file), str(tmp_path / "slow"), "--source", "pytorchvideo", "--network", "slow_r50"]) == 0
    start, clip = str(tmp_path / "slow"), torch.randn(1, 3, 2, 64, 64)
    stages = list(find_checkpoint("pytorchvideo", "smallbig_r50").stages)
    for spec, classes in (
        (NetworkSpec("smallbig_slowonly_r50", drop_rate=0.0), load_config(start).classes),
        (NetworkSpec("smallbig_r50", stages, drop_rate=0.0), ["a", "b"]),
    ):
        model, _ = build_network(spec, classes, start)
        with torch.inference_mode():
            pooled, published = (m.eval().forward_head(m.forward_features(clip), True) for m in (model, load_model(start)))
            torch.testing.assert_close(pooled, published)
        kept = model.fc.weight.shape == (400, 2048) and torch.equal(model.fc.weight, slow_state["blocks.5.proj.weight"])
        assert kept == (len(classes) == 400)


def test_the_model_directory_names_classes_and_takes_clips_as_published(slow_file, tmp_path, capsys):
    words = ["--source", "pytorchvideo", "--network", "slow_4x16_r50"]
    assert main(["convert", str(slow_file), str(tmp_path / "slow"), *words]) == 0
    assert "all 320 tensors" in capsys.readouterr().out
    config = load_config(tmp_path / "slow")
    assert (config.clip.clip_len, config.clip.frame_interval, config.input.size) == (4, 16, 256)
    assert config.input.mean == (0.45, 0.45, 0.45) and config.input.std == (0.225, 0.225, 0.225)
    assert config.classes[0] == "abseiling" and len(config.classes) == 400
    assert load_model(tmp_path / "slow").head_window == 7


@pytest.mark.parametrize("classes", ["ssv2", "nowhere.txt"])
def test_class_names_that_do_not_fit_are_named(slow_file, classes, tmp_path, capsys):
    words = ["--source", "pytorchvideo", "--network", "slow_r50", "--classes", classes]
    assert main(["convert", str(slow_file), str(tmp_path / "slow"), *words]) == 2
    assert classes in capsys.readouterr().err and not (tmp_path / "slow").exists()


def test_another_network_is_refused():
    state = {key: torch.zeros(shape) for key, shape in KEYS["slow_r50"].items()}
    with pytest.raises(SmallBigError, match=r"missing: slow\.stem\.conv\.weight"):
        from_pytorchvideo(state, "slowfast_r50")
    with pytest.raises(SmallBigError, match="slow_r50, slow_4x16_r50"):
        from_pytorchvideo(state, "x3d_m")
