"""The network in a checkpoint file is found whatever training code has wrapped around it, and which one was taken is said."""

from __future__ import annotations

import copy
import time
import zipfile
from collections import OrderedDict

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel

from smallbignet import SmallBigError, create_model, load_model
from smallbignet.cli import main
from smallbignet.weights.checkpoint import read_checkpoint
from smallbignet.weights.official import ANCHOR
from smallbignet.weights.sources import SOURCES

STATE = {"conv1.weight": torch.zeros(8, 3, 7, 7), "layer1.0.conv1.weight": torch.zeros(1), "fc.bias": torch.zeros(2)}


def state(value: float, prefix: str = "") -> dict[str, torch.Tensor]:
    """A state dict with torchvision's keys after a prefix, all of one value."""
    return {f"{prefix}{key}": torch.full_like(tensor, value) for key, tensor in STATE.items()}


def value_of(found: dict[str, torch.Tensor]) -> float:
    assert found.keys() == STATE.keys()
    [value] = {tensor.flatten()[0].item() for tensor in found.values()}
    return value


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.",
        "_orig_mod.",
        "model.",
        "module.module.",
        "_forward_module.",
        "student.",
        "_orig_mod.module.",
        "module._orig_mod.model.",
        "net.module.",
        "model._orig_mod.backbone.",
        "_forward_module.module.student.encoder.",
        "_fsdp_wrapped_module.model.",
        "model.model.",
    ],
)
@pytest.mark.parametrize("wrapper", [(), ("state_dict",), ("checkpoint", "model"), ("module",)], ids=str)
def test_prefixes_and_wrappers_in_any_nesting(prefix, wrapper, tmp_path):
    content: dict = state(1, prefix)
    for name in reversed(wrapper):
        content = {"epoch": 3, name: OrderedDict(content), "optimizer": {"state": {0: {"step": torch.ones(3)}}}}
    torch.save(content, tmp_path / "a.pth")
    assert value_of(read_checkpoint(tmp_path / "a.pth", ANCHOR)) == 1


def test_prefixes_in_the_middle_of_keys(tmp_path):
    keys = {"conv1._orig_mod.weight": "conv1.weight", "layer1._orig_mod.0._checkpoint_wrapped_module.conv1.weight": "layer1"}
    torch.save({key: torch.ones(2) for key in keys} | {"module.fc.bias": torch.ones(2)}, tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth", ANCHOR).keys() == STATE.keys()


@pytest.mark.parametrize(
    ("content", "taken", "others", "is_average"),
    [
        ({"state_dict": state(1), "state_dict_ema": state(2)}, "state_dict_ema", ["state_dict"], True),  # timm
        ({"model": state(1), "model_ema": state(2, "module.") | {"n_averaged": torch.tensor(9)}}, "model_ema", ["model"], True),
        ({"model_ema": state(2), "model": state(1)}, "model_ema", ["model"], True),
        # MMEngine exchanges the two when it saves
        ({"state_dict": state(2), "ema_state_dict": state(1, "module.")}, "state_dict", ["ema_state_dict"], True),
        ({"params": state(1), "params_ema": state(2)}, "params_ema", ["params"], True),
        ({"module": state(1), "ema": state(2)}, "ema", ["module"], True),
        ({"student": state(1, "module."), "teacher": state(2, "module.")}, "teacher", ["student"], True),
        (state(1, "student.") | state(2, "teacher."), "teacher", ["student"], True),
        ({"state_dict": state(1, "model.") | state(2, "ema_model.")}, "state_dict.ema_model", ["state_dict.model"], True),
        (state(1) | {"ema": state(2)}, "ema", ["."], True),
        ({"generator": state(2), "critic": state(1)}, "generator", ["critic"], False),
    ],
)
def test_of_several_networks_the_average_is_taken_and_said_and_can_be_chosen(
    content, taken, others, is_average, tmp_path, capfd
):
    file = tmp_path / "a.pth"
    torch.save(content, file)
    assert value_of(read_checkpoint(file, ANCHOR)) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and f"took {taken}{', a moving average' if is_average else ';'}" in said
    assert value_of(read_checkpoint(file, ANCHOR, taken)) == 2
    assert capfd.readouterr().err == ""
    for other in others:
        assert other in said
        assert value_of(read_checkpoint(file, ANCHOR, other)) == 1
    with pytest.raises(SmallBigError, match=f"no network at nothing; there are networks at .*{taken}"):
        read_checkpoint(file, ANCHOR, "nothing")


def test_a_torch_average_alone(tmp_path, capfd):
    model = torchvision.models.resnet18(num_classes=2)
    torch.save(AveragedModel(model).state_dict(), tmp_path / "swa.pth")
    found = read_checkpoint(tmp_path / "swa.pth", ANCHOR)
    assert found.keys() == model.state_dict().keys() and capfd.readouterr().err == ""


def test_what_is_left_out_is_said(tmp_path, capfd):
    torch.save({"state_dict": state(1, "model.") | {"loss.weight": torch.ones(3), "step": torch.ones(())}}, tmp_path / "a.ckpt")
    assert value_of(read_checkpoint(tmp_path / "a.ckpt", ANCHOR)) == 1
    assert "left out 2 tensors that are not of the network: loss.weight, step\n" in capfd.readouterr().err


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state", "model"])
def test_a_file_without_a_network_is_unwrapped_so_that_its_keys_can_be_named(wrapper, tmp_path):
    content = {"module.fc.bias": torch.zeros(2)}
    torch.save({"epoch": 3, wrapper: content} if wrapper else content, tmp_path / "a.pth")
    assert list(read_checkpoint(tmp_path / "a.pth", ANCHOR)) == ["fc.bias"]


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ("official", "layer1.0.conv1.weight"),
        ("pytorchvideo", "blocks.0.conv.weight"),
        ("pytorchvideo", "blocks.0.multipathway_blocks.0.conv.weight"),
        ("mmaction2", "backbone.conv1.conv.weight"),
        ("tsm", "base_model.conv1.weight"),
    ],
)
def test_every_source_has_an_anchor(source, key, tmp_path):
    torch.save({"state_dict_ema": {f"module.model.{key}": torch.ones(1)}}, tmp_path / "a.pth")
    assert list(read_checkpoint(tmp_path / "a.pth", SOURCES[source].anchor)) == [key]


def itself() -> dict:
    content: dict = state(1)
    content["state_dict"] = content
    return content


def many_times() -> dict:
    content: dict = state(1)
    for _ in range(60):
        content = {"a": content, "b": content}
    return content


def deep() -> dict:
    content: dict = state(1)
    for _ in range(400):
        content = {"a": content}
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (deep(), "holds no state dict"),
        (many_times(), "holds no state dict"),
        ([state(1)], "holds no state dict"),
        (torch.zeros(3), "holds no state dict"),
        ({}, "holds no state dict"),
        ({"a": 1, 3: torch.zeros(1)}, "holds no state dict"),
        ({"module.conv1.weight": torch.zeros(1), "conv1.weight": torch.ones(1)}, "two tensors are named conv1.weight"),
    ],
    ids=["deep", "many times", "list", "tensor", "empty", "numbers", "twice"],
)
def test_odd_files_are_refused_at_once(content, words, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    started = time.process_time()
    with pytest.raises(SmallBigError, match=words) as caught:
        read_checkpoint(tmp_path / "a.pth", ANCHOR)
    assert time.process_time() - started < 1 and caught.value.where == str(tmp_path / "a.pth")


def test_a_checkpoint_in_itself_is_read(tmp_path):
    torch.save(itself(), tmp_path / "a.pth")
    assert value_of(read_checkpoint(tmp_path / "a.pth", ANCHOR)) == 1


def test_a_compressed_file_is_refused_before_it_is_unpacked(tmp_path):
    torch.save({"conv1.weight": torch.zeros(2**22)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as given, zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        for item in given.infolist():
            bomb.writestr(item.filename, given.read(item))
    with pytest.raises(SmallBigError, match=r"compressed file.*b\.pth"):
        read_checkpoint(tmp_path / "b.pth", ANCHOR)


# ---- from the command line, and into networks


@pytest.fixture(scope="module")
def parents() -> dict[str, dict[str, torch.Tensor]]:
    """Two state dicts of torchvision's ResNet-50."""
    model = torchvision.models.resnet50(num_classes=3)
    average = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in average.parameters():
            parameter.add_(1)
    return {"trained": model.state_dict(), "average": average.state_dict()}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvisions_file_starts_a_network(parents, suffix, tmp_path):
    file = tmp_path / f"resnet50{suffix}"
    (torch.save if suffix == ".pth" else save_file)(parents["trained"], file)
    model = create_model("smallbig_r50", 2, weights=file)
    assert torch.equal(model.res5[2].unit3.conv.weight.squeeze(2), parents["trained"]["layer4.2.conv3.weight"])
    assert torch.equal(model.stem.conv.weight.squeeze(2), parents["trained"]["conv1.weight"])
    inflated = create_model("slowonly_r50", 2, weights=file).res5[0].unit1.conv.weight
    torch.testing.assert_close(inflated.sum(2), parents["trained"]["layer4.0.conv1.weight"])


def test_training_names_a_place_in_the_file(parents, tmp_path, capfd):
    file = tmp_path / "timm#1.pth.tar"
    both = {"epoch": 1, "state_dict": parents["trained"], "state_dict_ema": parents["average"]}
    torch.save(both, file)
    for place, name in (("", "average"), ("#state_dict", "trained"), ("#state_dict_ema", "average")):
        model = create_model("c2d_r50", 2, weights=f"{file}{place}")
        assert torch.equal(model.stem.conv.weight.squeeze(2), parents[name]["conv1.weight"])
        said = capfd.readouterr().err
        assert said == "" if place else "took state_dict_ema, a moving average of the weights; " in said
    with pytest.raises(SmallBigError, match="no network at state; there are networks at state_dict, state_dict_ema"):
        create_model("c2d_r50", 2, weights=f"{file}#state")


def test_convert_says_which_network_it_took_and_takes_the_other(parents, tmp_path, capfd):
    file = str(tmp_path / "a.pth")
    torch.save(
        {"state_dict": {f"_orig_mod.{k}": v for k, v in parents["trained"].items()}, "model_ema": parents["average"]}, file
    )
    for words, name in (([], "average"), (["--entry", "state_dict"], "trained")):
        assert main(["convert", file, str(tmp_path / name), "--network", "res50", *words]) == 0
        assert ("took model_ema" in capfd.readouterr().err) == (not words)
        weight = load_model(tmp_path / name).fc.weight
        assert torch.equal(weight, parents[name]["fc.weight"])
