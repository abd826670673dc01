"""What version 0.1.0 saved as "+avg" averaged in the big views alone, and still does."""

import json

import pytest
import torch
from safetensors.torch import save_file

from smallbignet import create_model, fuse, load_config, load_model, save_model
from smallbignet.models.smallbig import ExtraUnit
from smallbignet.training.run_directory import RunDirectory
from smallbignet.training.settings import load_recipe
from smallbignet.weights.directory import ModelConfig


def extra_pools(model) -> set[str]:
    return {module.pool for module in model.modules() if isinstance(module, ExtraUnit)}


@pytest.fixture
def old_directory(tmp_path):
    """A model directory of version 0.1.0, and its network."""
    torch.manual_seed(0)
    stages = ["2d", "2d+avg+extra", "full+unshared+avg", "typical+se+avg"]
    model = create_model("smallbig_r23", 7, stages=[name.replace("avg", "avgviews") for name in stages], width=8).eval()
    for name, value in model.named_parameters():
        if "extra.bn" in name or "bn_big" in name:
            torch.nn.init.uniform_(value, 0.5, 1.5)  # so that no branch is switched off
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    network = {"name": "smallbig_r23", "num_classes": 7, "stages": stages, "width": 8}
    (tmp_path / "config.json").write_text(json.dumps({"network": network, "classes": list("abcdefg")}))
    return tmp_path, model


def test_a_model_directory_gives_the_scores_that_it_gave(old_directory, tmp_path_factory):
    directory, model = old_directory
    again = tmp_path_factory.mktemp("again")
    save_model(load_model(directory), load_config(directory), again)
    x = torch.randn(2, 3, 3, 40, 40)
    with torch.inference_mode():
        expected = model(x)
        for path in (directory, again):
            loaded = load_model(path)
            assert extra_pools(loaded) == {"max"} and loaded.res4[0].unit1.pool == "avg"
            torch.testing.assert_close(loaded(x), expected, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(fuse(loaded)(x), expected, rtol=1e-4, atol=1e-5)


def test_a_model_that_is_saved_now_averages_in_the_extra_unit(tmp_path):
    network = {"name": "smallbig_r23", "num_classes": 2, "stages": ["full+avg", ["full", "full+avg"], "2d", "2d"], "width": 8}
    model = create_model(**network)
    save_model(model, ModelConfig(network, ["a", "b"]), tmp_path)
    assert [block.extra.pool for block in load_model(tmp_path).res3] == ["max", "avg"]
    assert extra_pools(load_model(tmp_path)) == {"max", "avg"}


def test_a_run_and_its_recipe_keep_their_network(tmp_path, capsys):
    """0.1.0 wrote every setting into a run's config.yaml; a recipe that a person writes has some, in today's words."""
    average = ["--model.stages", "[2d, full+avg, full+avg, 2d]"]
    now = load_recipe("small", average)
    assert now.model.stages == ["2d", "full+avgviews+avgextra", "full+avgviews+avgextra", "2d"]
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(now.to_yaml())
    assert RunDirectory(run).config() == now
    (run / "config.yaml").write_text(now.to_yaml().replace("avgviews+avgextra", "avg"))
    before = ["2d", "full+avgviews", "full+avgviews", "2d"]
    assert RunDirectory(run).config().model.stages == before
    assert load_recipe(str(run / "config.yaml"), ["--optim.lr", "1"]).model.stages == before
    based = tmp_path / "based.yaml"
    based.write_text("base: run/config.yaml\n")
    assert load_recipe(str(based)).model.stages == before
    assert RunDirectory(run).changed_settings(now) == [f"model.stages {before}"]  # so it is not resumed as another network
    assert not capsys.readouterr().err
    written = tmp_path / "written.yaml"
    written.write_text("base: small\nmodel: {stages: [2d, full+avg, full+avg, 2d]}\n")
    assert load_recipe(str(written)) == now
    assert "+avgviews is what it was before" in capsys.readouterr().err  # for whoever wrote it for 0.1.0
