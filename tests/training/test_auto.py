"""The choice of settings by `auto`: a table of facts and choices, and that the facts are found."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from smallbignet import SmallBigError, load_recipe
from smallbignet.arguments import parse_call
from smallbignet.cli import VERBS
from smallbignet.commands.train import train
from smallbignet.data.split import DataSpec
from smallbignet.training import facts as facts_module
from smallbignet.training.auto import Facts, choose, to_recipe
from smallbignet.training.facts import find_facts

# 24 sign words with 6 clips each, one of which is held out, on two cores
SIGNS = Facts([f"word {i}" for i in range(24)], 120, 5, 5, 60, 360, gpu=False, cores=2, has_lite=True)


def chosen(**changes) -> dict:
    return {setting.name: setting.value for setting in choose(dataclasses.replace(SIGNS, **changes))}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"model.name": "timm/tf_efficientnet_lite0", "model.freeze": "res2", "optim.name": "adamw"}),
        ({}, {"run.precision": "fp32", "input.mean": [0.5] * 3, "clip.sampling": "uniform"}),
        ({"has_lite": False}, {"model.name": "smallbig_r23", "model.width": 32, "optim.lr": 0.01}),
        ({"gpu": True}, {"model.name": "smallbig_r50", "model.weights": "imagenet", "input.size": 224, "optim.epochs": 30}),
        ({"gpu": True, "train_videos": 5000}, {"model.freeze": ""}),
        ({"num_frames": 900}, {"clip.sampling": "dense", "clip.frame_interval": 8}),
        ({"most": 16}, {"data.balance": "sampler"}),
        ({"most": 16, "is_multilabel": True}, {"data.balance": "loss"}),
        ({"classes": ["push_left", "pull"]}, {"input.flip": False}),
        ({"classes": ["turn Clockwise", "stop"]}, {"input.flip": False}),
        ({"train_videos": 48}, {"input.size": 160}),
        ({"train_videos": 3000}, {"input.size": 112, "optim.epochs": 6}),
    ],
)
def test_choices(changes, expected):
    assert expected.items() <= chosen(**changes).items()


@pytest.mark.parametrize(
    ("changes", "absent"),
    [({"most": 15}, "data.balance"), ({"classes": ["bright", "cleft"]}, "input.flip"), ({"has_lite": False}, "input.mean")],
)
def test_what_is_not_needed_is_not_chosen(changes, absent):
    assert absent not in chosen(**changes)


@pytest.mark.parametrize("videos", [48, 120, 300])
@pytest.mark.parametrize("cores", [1, 2, 16])
def test_more_cores_and_fewer_videos_give_more_epochs_or_larger_frames(videos, cores):
    one, more = chosen(train_videos=videos, cores=cores), chosen(train_videos=videos, cores=2 * cores)
    assert (one["input.size"], one["optim.epochs"]) <= (more["input.size"], more["optim.epochs"])
    fewer = chosen(train_videos=videos // 2, cores=cores)
    assert (one["input.size"], one["optim.epochs"]) <= (fewer["input.size"], fewer["optim.epochs"])


@pytest.mark.parametrize(
    "changes", [{}, {"has_lite": False}, {"gpu": True}, {"num_frames": 900}, {"most": 60}, {"classes": ["left", "right"]}]
)
def test_every_choice_is_a_recipe(changes, tmp_path):
    facts = dataclasses.replace(SIGNS, **changes)
    file = tmp_path / "auto.yaml"
    file.write_text(to_recipe(facts, choose(facts)))
    config = load_recipe(str(file))
    for setting in choose(facts):
        section, name = setting.name.split(".")
        value = getattr(getattr(config, section), name)
        assert (list(value) if isinstance(value, tuple) else value) == setting.value


def test_the_facts_of_a_folder(clips):
    """As `conftest` made it: 6 classes, 2 clips of each to train on, 8 frames of 32x32."""
    facts = find_facts(DataSpec(str(clips)), "cpu")
    assert (len(facts.classes), facts.train_videos, facts.fewest, facts.most) == (6, 12, 2, 2)
    assert (facts.num_frames, facts.short_side, facts.gpu) == (8, 32, False)


SMALL = ["--model.width", "8", "--input.size", "32", "--input.train_short_side", "[32, 40]", "--input.short_side", "32"]


def test_train_auto_prints_the_recipe_and_saves_one_that_gives_the_same_weights(clips, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(facts_module, "find_spec", lambda name: None)  # as if no ImageNet weights were installed
    words = ["auto", "--data.train", str(clips), "--run.dir", str(tmp_path / "run"), "--optim.epochs", "1"]
    arguments, _ = parse_call(train, "smallbig train", VERBS["train"], [*words, *SMALL, "--run.views", "1x1"])
    said = capfd.readouterr().err
    assert said.startswith("# auto: 12 training videos in 6 classes, 2 in each; 8 frames, shorter side 32 pixels")
    assert yaml.safe_load(said)["model"]["name"] == "smallbig_r23" == arguments["config"].model.name
    assert (arguments["config"].optim.epochs, arguments["config"].model.width) == (1, 8)  # options change what is chosen
    train(**arguments)
    again = load_recipe(str(tmp_path / "run" / "config.yaml"), ["--run.dir", str(tmp_path / "again")])
    train(again)
    weights = [Path(tmp_path, name, "last", "model.safetensors").read_bytes() for name in ("run", "again")]
    assert weights[0] == weights[1]
    assert load_recipe("auto", words[1:] + SMALL).optim == arguments["config"].optim


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], "which videos"), (["--data.train", "nowhere"], "no such data set"), (["--optim.epochs", "0"], "optim.epochs must")],
)
def test_auto_without_data_is_an_error(words, expected):
    with pytest.raises(SmallBigError, match=expected):
        load_recipe("auto", words)
    with pytest.raises(SmallBigError, match=expected):
        parse_call(train, "smallbig train", VERBS["train"], ["auto", *words])
