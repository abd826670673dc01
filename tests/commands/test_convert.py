"""`smallbig convert`: a checkpoint becomes a model directory that predicts."""

import json

import pytest
import torch
import torchvision

from smallbignet.cli import main


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of the authors' ResNet-50 with three classes, as their training saves it."""
    file = tmp_path_factory.mktemp("authors") / "res50.pth"
    state = torchvision.models.resnet50(num_classes=3).state_dict()
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, file)
    return file


def test_convert_makes_a_model_directory_that_predicts(checkpoint, tmp_path, clips, capsys):
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    words = ["convert", str(checkpoint), str(tmp_path / "model"), "--source", "official", "--network", "res50"]
    assert main([*words, "--classes", str(tmp_path / "names.txt"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tensors"] == 53 + 5 * 53 + 2  # convolutions, their normalisations, classifier
    video = min(clips.glob("val/*/*.mp4"))
    assert main(["predict", str(tmp_path / "model"), str(video), "--views", "1x1", "--top", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["predictions"][0]["label"] in "abc"


def test_without_class_names_they_are_numbers(checkpoint, tmp_path):
    assert main(["convert", str(checkpoint), str(tmp_path / "model"), "--network", "c2d_r50"]) == 0  # our name for res50
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["classes"] == ["0", "1", "2"]
    assert config["weights"] == {"source": "official", "network": "c2d_r50", "file": "res50.pth"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--source", "offical", "--network", "res50"], "did you mean official?"),
        (["--source", "official", "--network", "res5"], "did you mean res50?"),
        (["--source", "tsm", "--network", "tsm_r50"], "unexpected: conv1.weight"),
        (["--source", "official", "--network", "res50", "--classes", "ssv2"], "174 class names for 3 classes (ssv2)"),
    ],
    ids=["source", "network", "layout", "classes"],
)
def test_a_mistake_is_named_and_nothing_is_written(checkpoint, tmp_path, words, expected, capsys):
    assert main(["convert", str(checkpoint), str(tmp_path / "model"), *words]) == 2
    assert expected in capsys.readouterr().err and not (tmp_path / "model").exists()


def test_a_model_is_not_converted_again(run, tmp_path, capsys):
    for given in (run, run / "best", run / "best" / "model.safetensors"):
        assert main(["convert", str(given), str(tmp_path / "out"), "--network", "res50"]) == 2
        assert "this is a model directory already" in capsys.readouterr().err
