"""`smallbig export`: the same bytes every time, nothing that is wrong, nothing in the way of other files."""

import json
import shutil

import pytest
import torch
from test_exported import fails

from smallbignet import create_model, load_config, load_model, save_model
from smallbignet.cli import main
from smallbignet.data.transforms import InputSpec
from smallbignet.export import directory, files
from smallbignet.export.files import InHalf, write_network
from smallbignet.export.portable import portable
from smallbignet.export.proof import BOUNDS, Bound
from smallbignet.weights.directory import EXPORTED, ModelConfig


@pytest.mark.parametrize("runtime", ["onnx", "openvino", "torch"])
def test_the_same_model_gives_the_same_bytes(runtime, small, tmp_path):
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
        write_network(load_model(small), 4, runtime, "fp32", folder / EXPORTED[runtime], [])
    one, other = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders)
    assert one == other


def test_nothing_of_this_machine_is_in_the_files(exported):
    for folder in exported.values():
        for file in folder.iterdir():
            assert b"site-packages" not in file.read_bytes()
            assert str(folder.parent).encode() not in file.read_bytes()


def test_config_json_is_the_models_with_its_runtime(shipped, exported):
    ours, theirs = (json.loads((folder / "config.json").read_text()) for folder in (shipped, exported["onnx"]))
    export = theirs.pop("export")
    assert theirs == ours
    assert (export["runtime"], export["precision"]) == ("onnx", "fp32")
    assert export["versions"].keys() == {"torch", "onnx", "onnxscript", "onnxruntime"}
    assert load_config(exported["onnx"]).export.runtime == "onnx"


def test_a_network_that_answers_otherwise_is_not_written(shipped, exported, tmp_path, capsys, monkeypatch):
    def write_another(model, clip_len, runtime, precision, file, clips):
        shutil.copy(exported[runtime] / file.name, file)

    monkeypatch.setattr(directory, "write_network", write_another)
    model = load_model(shipped)
    model.fc.bias.data[0] += 0.05
    save_model(model, load_config(shipped), tmp_path / "model")
    message = fails(capsys, ["export", str(tmp_path / "model"), str(tmp_path / "out"), "--to", "onnx"], status=1)
    assert "ONNX Runtime in fp32 gives logits that differ by" in message
    assert "1e-04 is allowed; nothing was written (rendered clip val/" in message
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_another_best_class_is_not_written(shipped, exported, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(directory, "write_network", lambda *args: shutil.copy(exported["onnx"] / "model.onnx", args[4]))
    monkeypatch.setitem(BOUNDS, "fp32", Bound(10.0, 1.0))
    model = load_model(shipped)
    model.fc.weight.data = -model.fc.weight.data
    save_model(model, load_config(shipped), tmp_path / "model")
    message = fails(capsys, ["export", str(tmp_path / "model"), str(tmp_path / "out"), "--to", "onnx"], status=1)
    assert "gives another best class for 13 of 13 clips, and 100% must be the same; nothing was written" in message


def test_weights_that_are_not_numbers(shipped, exported, tmp_path, capsys, monkeypatch):
    """A damaged file is refused when it is read; large numbers may become NaN on the way."""
    monkeypatch.setattr(directory, "write_network", lambda *args: shutil.copy(exported["onnx"] / "model.onnx", args[4]))
    model = load_model(shipped)
    model.fc.weight.data[0, 0] = 3e38
    model.fc.bias.data[0] = -3e38
    model.res5[0].unit3.conv.weight.data.mul_(1e30)
    save_model(model, load_config(shipped), tmp_path / "model")
    message = fails(capsys, ["export", str(tmp_path / "model"), str(tmp_path / "out"), "--to", "onnx"], status=1)
    assert "the network returns NaN instead of logits" in message
    assert not (tmp_path / "out").exists()


def test_only_an_exported_directory_is_replaced(shipped, exported, tmp_path, capsys, monkeypatch):
    message = "this folder holds something else than an exported model"
    (tmp_path / "notes.txt").write_text("mine")
    for folder in (tmp_path, shipped):
        before = sorted(folder.iterdir())
        assert message in fails(capsys, ["export", str(shipped), str(folder), "--to", "openvino"])
        assert sorted(folder.iterdir()) == before
    monkeypatch.setattr(directory, "write_network", lambda *args: shutil.copy(exported["onnx"] / "model.onnx", args[4]))
    folder = shutil.copytree(exported["openvino"], tmp_path / "model")
    assert main(["export", str(shipped), str(folder), "--to", "onnx", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["comparison"]["same_top1"] == 1
    assert 0 < report["comparison"]["difference"] < 1e-5
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.onnx", "run.py"]


@pytest.mark.parametrize(
    ("words", "missing", "expected"),
    [
        (["--to", "onnx"], "onnxscript", "this needs onnxscript, which is not installed: pip install 'smallbignet[onnx]'"),
        (["--to", "openvino"], "openvino", "pip install 'smallbignet[openvino]'"),
        (["--to", "openvino", "--precision", "int8"], "nncf", "pip install 'smallbignet[int8]'"),
        (["--to", "torch", "--precision", "int8"], "", "int8 is for onnx and openvino"),
        (["--to", "openvino", "--precision", "int8"], "", "int8 needs two videos at least"),
        (["--to", "tflite"], "", "tflite"),
    ],
)
def test_what_can_not_be_exported_is_said_at_once(words, missing, expected, shipped, tmp_path, capsys, monkeypatch):
    from importlib.metadata import PackageNotFoundError, version

    def found(package: str) -> str:
        if package == missing:
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(files, "version", found)
    assert expected in fails(capsys, ["export", str(shipped), str(tmp_path / "out"), *words])


def test_int8_makes_smaller_files(small, clips, tmp_path, capsys):
    words = ["--to", "openvino", "--precision", "int8", "--videos", str(clips / "val"), "--json"]
    assert main(["export", str(small), str(tmp_path / "out"), *words]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["comparison"]["difference"] > 1e-4  # otherwise nothing was rounded
    assert (tmp_path / "out/model.bin").stat().st_size < 0.45 * (small / "model.safetensors").stat().st_size
    assert main(["predict", str(tmp_path / "out"), str(min(clips.glob("val/*/*.mp4")))]) == 0


def test_fp16_is_near(shipped):
    model = load_model(shipped)
    clips = torch.randn(2, 3, 4, 40, 40)
    with torch.no_grad():
        expected = model(clips)
        logits, _ = InHalf(portable(model, 4))(clips)
    assert logits.dtype == torch.float32
    assert 1e-5 < (logits - expected).norm() / expected.norm() < BOUNDS["fp16"].difference


def test_paddings_by_size_need_multiples_of_32(tmp_path, capsys):
    name = "timm/tf_efficientnet_lite0"
    stages = ["2d", "2d", "2d", "2d"]
    config = ModelConfig(
        network={"name": name, "num_classes": 2, "stages": stages},
        classes=["a", "b"],
        input=InputSpec(size=64, train_short_side=(72, 72), short_side=72),
    )
    save_model(create_model(name, 2, stages=stages), config, tmp_path / "model")
    message = fails(capsys, ["export", str(tmp_path / "model"), str(tmp_path / "out"), "--to", "onnx"])
    assert "size and short_side must be multiples of 32 (input 64 and 72)" in message
