"""The command line's contracts."""

import json
import subprocess
import sys

import pytest
import torch

from smallbignet.cli import VERBS, main


def test_help_does_not_load_torch():
    code = "import sys, smallbignet.cli as c; c.main(['--help']); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb, capsys):
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert left.value.code == 0 and f"example: smallbig {verb}" in text and "--json" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], "trian"),
        (["predict", "nowhere", "x.mp4"], "x.mp4"),
        (["predict"], "required"),
        (["evaluate", "nowhere", "nothing"], "nowhere"),
        (["train"], "recipe"),
        (["train", "nothing"], "nothing"),
        (["train", "small"], "--data.train"),
        (["train", "small", "--optim.lr", "fast"], "optim.lr"),
        (["train", "small", "--optim.lrr", "1"], "unknown option optim.lrr; did you mean optim.lr? (smallbig train --help)"),
        (["train", "small", "--batch_size=8"], "did you mean optim.batch_size?"),
        (["train", "small", "--augment.flip_pairs", "86,87"], "[[86, 87]]"),
        (["train", "smal"], "did you mean small?"),
        (["predct"], "did you mean predict?"),
        (["predict", "slow_r5", __file__], "did you mean slow_r50?"),
        (["models", "resnet*"], "resnet*"),
        (["models", "smalbig_r50"], "did you mean smallbig_r50?"),
        (["models", "--clip", "8"], "8"),
        (["convert", "no.pth", "out", "--network", "res50"], "no.pth"),
        (["check", "nowhere"], "nowhere"),
    ],
    ids=" ".join,
)
def test_a_users_mistake_is_one_line_and_status_2(words, expected, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("smallbig: error: ") and err.count("\n") == 1 and expected in err


def test_debug_shows_the_traceback():
    with pytest.raises(Exception, match="nowhere"):
        main(["predict", "nowhere", __file__, "--debug"])


def test_nothing_is_squeezed_into_a_pipe(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["models", "smallbig_s*"]) == 0
    assert "│ 2d, 2d+extra, 3d+extra, 3d+extra │" in capsys.readouterr().out


def test_a_model_is_not_converted_again(run, tmp_path, capsys):
    for given in (run, run / "best", run / "best" / "model.safetensors"):
        assert main(["convert", str(given), str(tmp_path / "out"), "--network", "res50"]) == 2
        assert "this is a model directory already" in capsys.readouterr().err


def test_models_as_json(capsys):
    assert main(["models", "smallbig_r*", "--clip", "4x112", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert list(answer["networks"]) == ["smallbig_r23", "smallbig_r50", "smallbig_r101"]
    assert answer["networks"]["smallbig_r50"]["params"] == 32_292_816


def test_convert_makes_a_model_directory_that_predicts(tmp_path, clips, capsys):
    from smallbignet import create_model
    from smallbignet.weights.adapter import rename
    from smallbignet.weights.official import RULES

    model = create_model("c2d_r50", 3)
    theirs = {}
    for key in [
        "conv1.weight",
        "fc.weight",
        "fc.bias",
        *(f"bn1.{n}" for n in ("weight", "bias", "running_mean", "running_var")),
    ]:
        theirs[key] = model.state_dict()[next(iter(rename({key: 0}, RULES)))]
    for stage, depth in enumerate((3, 4, 6, 3), 1):
        for block in range(depth):
            place = f"layer{stage}.{block}"
            parts = [f"{place}.conv{i}.weight" for i in (1, 2, 3)]
            parts += [f"{place}.bn{i}.{n}" for i in (1, 2, 3) for n in ("weight", "bias", "running_mean", "running_var")]
            if block == 0:
                parts += [f"{place}.downsample.0.weight"]
                parts += [f"{place}.downsample.1.{n}" for n in ("weight", "bias", "running_mean", "running_var")]
            for key in parts:
                theirs[key] = model.state_dict()[next(iter(rename({key: 0}, RULES)))]
    torch.save({"state_dict": {f"module.{key}": value for key, value in theirs.items()}}, tmp_path / "their.pth")
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    words = ["convert", str(tmp_path / "their.pth"), str(tmp_path / "model"), "--source", "official", "--network", "res50"]
    assert main([*words, "--classes", str(tmp_path / "names.txt"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tensors"] == len(theirs) == 267
    video = min(clips.glob("val/*/*.mp4"))
    assert main(["predict", str(tmp_path / "model"), str(video), "--views", "1x1", "--top", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["predictions"][0]["label"] in "abc"
