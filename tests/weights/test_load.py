"""One door: which names stand for which models and weights, and what is loaded of them."""

import re

import pytest
import torch

from smallbignet import SmallBigError, create_model, load_config, load_model
from smallbignet.cli import main
from smallbignet.training.settings import NetworkSpec
from smallbignet.training.trainer import build_network
from smallbignet.weights import load
from smallbignet.weights.directory import ModelConfig, save_model
from smallbignet.weights.load import find_model, load_weights


@pytest.fixture(scope="module")
def parent():
    """A 2-D network with two classes and random statistics."""
    torch.manual_seed(0)
    return create_model("c2d_r23", 2, width=8).eval()


@pytest.fixture(scope="module")
def directory(parent, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "parent"
    save_model(parent, ModelConfig({"name": "c2d_r23", "num_classes": 2, "width": 8}, ["run", "walk"]), path)
    return path


@pytest.fixture(scope="module")
def files(parent, tmp_path_factory):
    """Checkpoint files with our names: plain, and in a wrapper with prefixes."""
    folder, state = tmp_path_factory.mktemp("files"), parent.state_dict()
    torch.save(state, folder / "plain.pyth")
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, folder / "wrapped.pth")
    return folder


def same(model, other, without="fc."):
    a, b = model.state_dict(), other.state_dict()
    return all(torch.equal(a[key], b[key]) for key in b if not key.startswith(without))


def test_a_model_a_run_and_a_file_in_them_are_the_same_model(run):
    for name in (run, run / "best", run / "best" / "model.safetensors", str(run)):
        assert find_model(name) == run / "best"


def test_the_hub_is_asked_for_what_is_no_path(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "download_model", lambda repo_id: tmp_path / "from_hub" / repo_id)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert find_model("org/name") == tmp_path / "from_hub" / "org" / "name"
    for path in ("runs/mine", "./runs", str(tmp_path / "mine"), "slow_r5"):  # mistyped
        with pytest.raises(SmallBigError, match=f"no model here.*slow_r50.*{re.escape(path)}"):
            find_model(path)


@pytest.mark.parametrize(
    ("name", "words"),
    [("imagenet", "image network's"), ("timm/resnet50.a1h_in1k", "image network's"), ("plain.pyth", "smallbig convert")],
)
@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_what_is_no_classifier_is_refused_in_one_line(verb, name, words, files, clips, monkeypatch, capsys):
    monkeypatch.chdir(files)
    assert main([verb, name, str(clips)]) == 2
    err = capsys.readouterr().err
    assert words in err and name in err and err.count("\n") == 1


@pytest.mark.parametrize("name", ["directory", "plain.pyth", "wrapped.pth"])
def test_weights_start_a_network_with_big_views_that_returns_what_its_parent_does(parent, directory, files, name):
    model = create_model("smallbig_r23", 2, width=8, weights=directory if name == "directory" else files / name).eval()
    clip = torch.randn(1, 3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model(clip), parent(clip))


def test_a_2d_parent_is_inflated(parent, directory):
    model = create_model("i3d_r23", 2, width=8, weights=directory).eval()
    clip = torch.randn(1, 3, 1, 32, 32).expand(-1, -1, 35, -1, -1)  # 7 blocks reach 7 frames each way
    with torch.inference_mode():
        features, expected = (net.forward_features(clip)[:, :, 17] for net in (model, parent))
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["directory", "plain.pyth"])
def test_a_convolution_of_the_big_views_own_starts_as_a_copy(parent, directory, files, name):
    weights = directory if name == "directory" else files / name
    model = create_model("smallbig_r23", 2, stages=["full+unshared"] * 4, width=8, weights=weights)
    units = [module for module in model.modules() if getattr(module, "conv_big", None) is not None]
    assert len(units) == 3 * (1 + 2 + 3 + 1)
    assert all(torch.equal(unit.conv_big.weight, unit.conv.weight) for unit in units)
    assert all(unit.conv_big.weight is not unit.conv.weight and not unit.bn_big.weight.any() for unit in units)
    assert torch.equal(model.res4[1].unit2.conv_big.weight, parent.res4[1].unit2.conv.weight)


def test_a_big_views_normalisation_starts_with_the_small_views_statistics(tmp_path):
    """So that it normalises where statistics are frozen. The network still returns exactly what its parent returns."""
    torch.manual_seed(0)
    parent = create_model("c2d_r23", 2, width=8).eval()
    for module in parent.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    torch.save(parent.state_dict(), tmp_path / "parent.pth")
    model = create_model("smallbig_r23", 2, stages=["full"] * 4, width=8, weights=tmp_path / "parent.pth").eval()
    units = [module for module in model.modules() if getattr(module, "bn_big", None) is not None]
    assert len(units) == 3 * (1 + 2 + 3 + 1)
    assert all(torch.equal(unit.bn_big.running_mean, unit.bn.running_mean) for unit in units)
    assert all(torch.equal(unit.bn_big.running_var, unit.bn.running_var) for unit in units)
    assert not any(unit.bn_big.weight.any() or unit.bn_big.bias.any() for unit in units)
    clip = torch.randn(1, 3, 4, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model(clip), parent(clip))


def test_an_extra_units_own_convolution_starts_as_a_copy_and_a_trained_one_is_kept(tmp_path):
    torch.manual_seed(0)
    shared = create_model("smallbig_r23", 2, stages=["full"] * 4, width=8)
    torch.save(shared.state_dict(), tmp_path / "shared.pth")
    model = create_model("smallbig_r23", 2, stages=["full+unshared+3d"] * 4, width=8, weights=tmp_path / "shared.pth")
    for block in (*model.res3, *model.res4):
        assert torch.equal(block.extra.conv1_big.weight, block.extra.conv1.weight)
        assert torch.equal(block.unit1.conv_big.weight, block.unit1.conv.weight)
        assert block.unit1.conv_big.weight.shape[2] == 3  # inflated
    torch.nn.init.normal_(model.res3[0].unit1.conv_big.weight)
    torch.save(model.state_dict(), tmp_path / "unshared.pth")
    again = create_model("smallbig_r23", 2, stages=["full+unshared+3d"] * 4, width=8, weights=tmp_path / "unshared.pth")
    assert same(again, model, without="no key")


@pytest.mark.parametrize(
    ("classes", "is_kept"),
    [
        (["run", "walk"], True),
        (["walk", "run"], False),
        (["sit", "stand"], False),
        (["run", "walk", "sit"], False),
        (None, True),
    ],
)
def test_the_classifier_is_loaded_for_the_same_classes_only(parent, directory, files, classes, is_kept):
    model = create_model("c2d_r23", len(classes or "ab"), width=8)
    load_weights(model, directory, classes)
    assert same(model, parent)
    assert torch.equal(model.fc.weight[:2], parent.fc.weight) == is_kept


def test_a_file_names_no_classes_so_training_makes_a_new_classifier(parent, files):
    spec = NetworkSpec("c2d_r23", width=8, drop_rate=0.0)
    model, model_args = build_network(spec, ["run", "walk"], str(files / "plain.pyth"))
    assert same(model, parent) and not torch.equal(model.fc.weight, parent.fc.weight)
    assert model_args["num_classes"] == 2


@pytest.mark.parametrize(
    ("name", "width", "words"),
    [("c2d_r23", 16, "131 of another shape: fc.weight"), ("c2d_r50", 8, "missing: res2.1"), ("i3d_r50", 8, "missing")],
)
def test_weights_of_another_network_are_refused(directory, name, width, words):
    with pytest.raises(SmallBigError, match=words) as caught:
        create_model(name, 2, width=width, weights=directory)
    assert str(directory) in str(caught.value) and "\n" not in str(caught.value)


def test_another_toolkits_file_is_to_be_converted_first(tmp_path):
    torch.save({"model_state": {"blocks.0.conv.weight": torch.zeros(64, 3, 1, 7, 7)}}, tmp_path / "SLOW.pyth")
    with pytest.raises(SmallBigError, match=r"smallbig convert.*SLOW\.pyth"):
        create_model("slowonly_r50", weights=tmp_path / "SLOW.pyth")


def test_training_and_create_model_load_the_same(run):
    network = load_config(run).network
    spec = NetworkSpec(network["name"], None, network["width"])
    torch.manual_seed(0)
    trained, _ = build_network(spec, load_config(run).classes, str(run))
    made = create_model(network["name"], 6, width=network["width"], weights=run)
    assert same(trained, load_model(run), without="no key") and same(made, trained, without="no key")
