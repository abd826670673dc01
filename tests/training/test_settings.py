"""Recipes: read, based on each other, written back."""

import pytest

from smallbignet import SmallBigError
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
