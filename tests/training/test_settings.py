"""Recipes: read, based on each other, written back."""

import time

import pytest

from smallbignet import SmallBigError
from smallbignet.cli import main
from smallbignet.training.settings import TrainConfig, load_recipe, shipped_recipes


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_are_valid_and_round_trip(name, tmp_path):
    config = load_recipe(name)
    (tmp_path / "again.yaml").write_text(config.to_yaml())
    assert load_recipe(str(tmp_path / "again.yaml")) == config
    assert isinstance(config, TrainConfig)


def test_a_recipe_is_based_on_others_and_names_what_is_no_recipe(tmp_path):
    (tmp_path / "first.yaml").write_text("base: small\noptim: {lr: 1e-3, epochs: 7}\n")
    (tmp_path / "second.yaml").write_text("base: first.yaml\noptim: {epochs: 9}\n")
    config, small = load_recipe(str(tmp_path / "second.yaml")), load_recipe("small")
    assert (config.optim.lr, config.optim.epochs) == (1e-3, 9)
    assert (config.model, config.input) == (small.model, small.input)
    for text, words in (("base: self.yaml\n", "based on itself"), ("- 1\n", "expected sections"), ("a: [\n", "not a recipe")):
        (tmp_path / "self.yaml").write_text(text)
        with pytest.raises(SmallBigError, match=words):
            load_recipe(str(tmp_path / "self.yaml"))


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("optim: {epochs: 0}", "optim.epochs must be a whole number from 1 to 100,000, not 0 ({file})"),
        ("optim: {epochs: many}", "optim.epochs must be a whole number from 1 to 100,000, not many ({file})"),
        ("optim: {epochz: 3}", "unknown option optim.epochz; did you mean optim.epochs? ({file})"),
        ("optim: []", "optim must be a mapping with "),
        ("optim:", "optim must be a mapping with "),
        ('data: {classes: "\\0"}', "data.classes must be a text, not '\\x00' ({file})"),
        (
            "clip: {clip_len: 4096}",
            "a clip may have 33,554,432 pixels at most, and these have 419,430,400 ({file}: clip.clip_len",
        ),
        ("base: nowhere", "base: no such recipe; "),
        ("base: [small]", "base must be a text, not ['small'] ({file})"),
        ("input: {std: " + str([8] * 2_000) + "}", "input.std must be a list of 3 values"),
        ("[" * 5_000, "not a recipe: it is nested more than 20 levels deep ({file})"),
        ("- " * 5_000, "not a recipe: it is nested more than 20 levels deep ({file})"),
        ("a: &a [1]\nb: [" + "*a, " * 30 + "]", "not a recipe: it has more than 20 aliases (*name) ({file})"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_said_with_its_file_and_field(recipe, words, tmp_path, capsys):
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe)
    started = time.monotonic()
    assert main(["train", str(file), "--run.dir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"smallbig: error: {words.format(file=file)}") and error.count("\n") == 1
    assert str(file) in error and len(error) < 800 and time.monotonic() - started < 10


def test_a_wrong_option_after_a_right_recipe_is_not_the_recipes(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text("optim: {epochs: 3}")
    assert main(["train", str(tmp_path / "recipe.yaml"), "--optim.epochs", "0"]) == 2
    assert capsys.readouterr().err.endswith("not 0 (smallbig train --help)\n")
