"""Every verb that takes a model takes an exported one, or says in one line what to give it instead."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from smallbignet import VideoClassifier, load_model
from smallbignet.cli import main
from smallbignet.export import directory as export_directory
from smallbignet.inference.exported import load_network

RUNTIMES = ["onnx", "openvino"]


def answers(capsys, *words: str) -> list[dict]:
    assert main(["predict", *words, "--top", "5", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def fails(capsys, words: list[str], status: int = 2) -> str:
    """What a command that fails says, in one line."""
    assert main(words) == status
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("smallbig: error: ")
    return lines[-1]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("views", ["auto", "1x1", "3x3"])
def test_predict_gives_the_scores_of_the_model(runtime, views, shipped, exported, clips, capsys):
    video = str(min(clips.glob("val/*/*.mp4")))
    ours = answers(capsys, str(shipped), video, "--views", views)
    theirs = answers(capsys, str(exported[runtime]), video, "--views", views)
    for one, other in zip(ours[0]["predictions"], theirs[0]["predictions"], strict=True):
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)


def test_an_evaluation_and_a_timeline_are_those_of_the_model(shipped, exported, clips, capsys, tmp_path):
    listing = tmp_path / "some.csv"
    videos = sorted(clips.glob("val/*/*.mp4"))[:4]
    listing.write_text("path,label\n" + "".join(f"{video},{label}\n" for video, label in zip(videos, "abcd", strict=True)))
    reports: dict[str, list] = {"evaluate": [], "timeline": []}
    for model in map(str, (shipped, exported["onnx"])):
        for words in (["evaluate", model, str(listing), "--workers", "0"], ["timeline", model, str(videos[0])]):
            assert main([*words, "--json"]) == 0
            reports[words[0]].append(json.loads(capsys.readouterr().out))
    ours, theirs = reports["evaluate"]
    assert ours["top1"] == theirs["top1"]
    assert ours["calibration_error"] == pytest.approx(theirs["calibration_error"], abs=1e-5)
    ours, theirs = (report[0]["segments"] for report in reports["timeline"])
    assert [segment["label"] for segment in ours] == [segment["label"] for segment in theirs]
    assert [segment["score"] for segment in ours] == pytest.approx([segment["score"] for segment in theirs], abs=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_vectors_are_those_of_the_model(runtime, shipped, exported, clips, tmp_path, capsys):
    video = str(min(clips.glob("val/*/*.mp4")))
    for name, model in (("ours", shipped), ("theirs", exported[runtime])):
        assert main(["embed", str(model), video, "--out", str(tmp_path / f"{name}.npz")]) == 0
    ours, theirs = (np.load(tmp_path / f"{name}.npz")["vector"] for name in ("ours", "theirs"))
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * abs(ours).max())
    words = ["embed", str(exported[runtime]), video, "--out", str(tmp_path / "x.npz"), "--stage", "res4"]
    assert "the features of res5 only" in fails(capsys, words)


def test_any_number_of_clips_of_any_size_go_through_the_file(shipped, exported):
    import onnxruntime

    session = onnxruntime.InferenceSession(exported["onnx"] / "model.onnx")
    clips = torch.randn(3, 3, 4, 56, 64)
    with torch.no_grad():
        expected = load_model(shipped)(clips)
    logits, features = session.run(None, {"clips": clips.numpy()})
    np.testing.assert_allclose(logits, expected, atol=1e-5 * expected.abs().max().item())
    assert features.shape == (3, 256)


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "MODEL", "VIDEO", "--out", "OUT"],
        ["train", "small", "--data.train", "CLIPS", "--run.dir", "OUT", "--model.weights", "MODEL"],
        ["benchmark", "--model", "MODEL", "--clip", "4x32"],
        ["export", "MODEL", "OUT", "--to", "onnx"],
        ["push", "MODEL", "me/mine"],
    ],
    ids=lambda words: words[0],
)
def test_what_needs_weights_says_so(words, exported, clips, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    places = {"MODEL": exported["onnx"], "VIDEO": min(clips.glob("val/*/*.mp4")), "CLIPS": clips, "OUT": tmp_path / "out"}
    message = fails(capsys, [str(places.get(word, word)) for word in words])
    assert "this network was exported to onnx and can't be used for this; give the model that it was made of" in message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--precision", "bf16"], "an exported model keeps its own precision, fp32"),
        (["--device", "cuda"], "an exported model runs on the CPU"),
    ],
)
def test_options_that_an_exported_model_has_not(options, expected, exported, clips, capsys):
    assert expected in fails(capsys, ["predict", str(exported["onnx"]), str(clips), *options])


def cut(folder: Path) -> None:
    file = next(folder.glob("model.onnx"), folder / "model.xml")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def change_config(folder: Path, **changes) -> None:
    values = json.loads((folder / "config.json").read_text())
    for key, change in changes.items():
        values[key] |= change
    (folder / "config.json").write_text(json.dumps(values))


FAULTS = {
    "damaged": (cut, "can't read the exported network: "),
    "missing": (lambda folder: [file.unlink() for file in folder.glob("model.*")], "the exported network is missing"),
    "another clip": (lambda folder: change_config(folder, clip={"clip_len": 8}), "takes 4 frames and has 5 classes"),
    "another runtime": (
        lambda folder: change_config(folder, export={"runtime": "tensorrt"}),
        "export.runtime must be onnx, openvino or torch, not 'tensorrt'",
    ),
    "a newer version": (lambda folder: change_config(folder, export={"level": 2}), "unknown key 'level' in export"),
}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_directory_with_a_fault(fault, runtime, exported, clips, tmp_path, capsys):
    folder = shutil.copytree(exported[runtime], tmp_path / "model")
    damage, expected = FAULTS[fault]
    damage(folder)
    assert expected in fails(capsys, ["predict", str(folder), str(clips)])


def test_openvino_without_its_weights(exported, clips, tmp_path, capsys):
    folder = shutil.copytree(exported["openvino"], tmp_path / "model")
    (folder / "model.bin").unlink()
    assert "can't read the exported network: " in fails(capsys, ["predict", str(folder), str(clips)])


@pytest.mark.parametrize(("runtime", "module"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_runtime_that_is_not_installed(runtime, module, exported, clips, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    message = fails(capsys, ["predict", str(exported[runtime]), str(clips)])
    assert f"pip install 'smallbignet[{runtime}]'" in message


def test_the_torch_directory_keeps_its_weights(small, tmp_path, clips, monkeypatch):
    """Its program is never opened to predict: it could hold any code."""
    export_directory.export_network(str(small), tmp_path / "torch", "torch", "fp32", [])
    program = torch.export.load(tmp_path / "torch" / "model.pt2").module()
    clip = torch.randn(1, 3, 4, 48, 48)
    with torch.no_grad():
        expected = load_model(small)(clip)
    np.testing.assert_allclose(program(clip)[0].detach(), expected, atol=1e-5 * expected.abs().max().item())
    monkeypatch.setattr(torch.export, "load", None)
    video = min(clips.glob("val/*/*.mp4"))
    assert VideoClassifier(tmp_path / "torch").predict(video) == VideoClassifier(small).predict(video)
    assert type(load_network(tmp_path / "torch")) is type(load_network(small))


@pytest.mark.parametrize("verb", ["predict", "embed"])
def test_a_torch_program_without_weights_is_not_opened(verb, exported, clips, tmp_path, capsys, monkeypatch):
    """Such a folder may come from anybody, and torch.export.load runs what is in it."""
    monkeypatch.setattr(torch.export, "load", lambda file: pytest.fail("it was opened"))
    folder = shutil.copytree(exported["onnx"], tmp_path / "model")
    (folder / "model.onnx").rename(folder / "model.pt2")
    change_config(folder, export={"runtime": "torch"})
    words = [verb, str(folder), str(clips), *(["--out", str(tmp_path / "x.npz")] if verb == "embed" else [])]
    assert "was exported to torch and can't be used for this" in fails(capsys, words)
