"""Predictions for files as people have them."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared_data import ODD
from smallbignet import Prediction, SmallBigError, VideoClassifier, load_config, load_model, save_model
from smallbignet.cli import main
from smallbignet.data.synthetic import write_video
from smallbignet.weights.directory import ScoreSpec

UNREADABLE = {
    "decord__corrupted.mp4",  # damaged where a clip needs it
    "derived__zeroed_4kB_bikes.mp4",  # likewise
    "derived__text_renamed.mp4",
    "derived__truncated_half_demo.mp4",
    "moviepy__result.webm",
    "moviepy__with-attached-pic.mp3",
    "torchcodec__sine_mono_s16.wav",
}


def test_in_python(run, clips):
    best = VideoClassifier(run).predict(min(clips.glob("val/still/*.mp4")), top=2)
    assert [type(p) for p in best] == [Prediction] * 2
    assert best[0].score >= best[1].score and best[0].label in load_config(run).classes


def test_a_model_directory_answers_as_the_network_it_was_saved_from(run, tmp_path):
    model, config = load_model(run), load_config(run)
    save_model(model, config, tmp_path / "copy")
    assert sorted(p.name for p in (tmp_path / "copy").iterdir()) == ["config.json", "model.safetensors"]
    assert load_config(tmp_path / "copy") == config
    clip = np.random.default_rng(0).integers(0, 256, (1, 4, 32, 32, 3), np.uint8)
    import torch

    a, b = VideoClassifier(run), VideoClassifier(model, config, device="cpu")
    assert torch.equal(a.scores(torch.from_numpy(clip)), b.scores(torch.from_numpy(clip)))


@pytest.mark.parametrize(("threshold", "is_unknown"), [(0.0, False), (1.0, True)])
def test_a_score_below_the_threshold_is_unknown(threshold, is_unknown, run, clips, tmp_path, capsys):
    config = load_config(run)
    save_model(load_model(run), replace(config, scores=replace(config.scores, thresholds=[threshold])), tmp_path / "model")
    video = str(min(clips.glob("val/still/*.mp4")))
    plain = VideoClassifier(run).predict(video, top=2)
    assert main(["predict", str(tmp_path / "model"), video, "--top", "2", "--unknown", "--json"]) == 0
    [answer] = json.loads(capsys.readouterr().out)
    expected = [{"label": prediction.label, "score": prediction.score} for prediction in plain]
    assert answer["predictions"] == [{"label": "unknown", "score": plain[0].score}] * is_unknown + expected


def test_unknown_needs_thresholds(run, clips, tmp_path, capsys):
    save_model(load_model(run), replace(load_config(run), scores=ScoreSpec()), tmp_path / "model")
    assert main(["predict", str(tmp_path / "model"), str(clips / "val"), "--unknown"]) == 2
    assert "this model has no thresholds" in capsys.readouterr().err


def test_a_missing_name_costs_that_name(run, clips, capsys):
    video = str(min(clips.glob("val/still/*.mp4")))
    assert main(["predict", str(run), "gone.mp4", video, "*.gone", "--views", "1x1", "--json"]) == 1
    out, err = capsys.readouterr()
    answers = {answer["path"]: answer["error"] for answer in json.loads(out)}
    assert answers == {"gone.mp4": "there is no such file", video: "", "*.gone": "there is no such file"}
    assert err == "".join(f"unreadable: {name}: there is no such file\n" for name in ("gone.mp4", "*.gone"))
    assert main(["predict", str(run), "gone.mp4", "*.gone"]) == 2


@pytest.mark.parametrize(
    ("name", "template"), [("f{:03d}.png", "f{:03d}.png"), ("Shot{}.WEBP", "shot{:d}.webp"), ("f{:04d}.JPG", "F{:04d}.jpg")]
)
def test_a_folder_of_frames_with_other_names(name, template, run, tmp_path, capsys):
    (tmp_path / "clips" / "one").mkdir(parents=True)
    for i in range(7, 15):
        Image.new("RGB", (40, 32), (15 * i, 0, 0)).save(tmp_path / "clips" / "one" / name.format(i))
    words = ["predict", str(run), str(tmp_path / "clips"), "--top", "1", "--json"]
    assert main(words) == 2 and "no video of this name" in capsys.readouterr().err
    assert main([*words, "--data.filename_tmpl", template]) == 0
    [answer] = json.loads(capsys.readouterr().out)
    assert answer["path"] == str(tmp_path / "clips" / "one") and len(answer["predictions"]) == 1


@pytest.mark.parametrize(("precision", "near"), [("bf16", 0.02), ("int8", 0.1)])
def test_other_precisions_answer_nearly_the_same(precision, near, run, clips, capsys):
    if precision == "int8":
        pytest.importorskip("nncf", reason="int8 takes NNCF and OpenVINO")
    videos, answers = [str(path) for path in sorted(clips.glob("val/*/*.mp4"))], []
    for words in ([], ["--precision", precision]):
        assert main(["predict", str(run), *videos, "--views", "1x3", "--device", "cpu", "--json", *words]) == 0
        listed = json.loads(capsys.readouterr().out)
        answers.append([{p["label"]: p["score"] for p in answer["predictions"]} for answer in listed])
    for exact, other in zip(*answers, strict=True):
        assert exact != other and all(abs(exact[label] - other[label]) < near for label in exact.keys() & other.keys())


def test_int8_is_calibrated_first(run):
    import torch

    with pytest.raises(SmallBigError, match="calibrate"):
        VideoClassifier(run, device="cpu", precision="int8").scores(torch.zeros(1, 4, 32, 32, 3, dtype=torch.uint8))


def test_a_video_much_longer_than_memory_should_hold_is_scored_in_pieces(run, tmp_path, monkeypatch):
    write_video(tmp_path / "long.mp4", np.zeros((200, 32, 32, 3), np.uint8))
    classifier = VideoClassifier(run)
    sizes = []
    scores = VideoClassifier.scores
    monkeypatch.setattr(VideoClassifier, "scores", lambda self, clips: sizes.append(len(clips)) or scores(self, clips))
    classifier.predict(tmp_path / "long.mp4", views="40x1")
    assert sum(sizes) == 40 and max(sizes) <= 16


@pytest.mark.skipif(not ODD.is_dir(), reason="the collection of odd videos is not here")
def test_odd_files_are_answered_or_refused_in_one_line(run):
    files = sorted(str(path) for path in ODD.iterdir() if path.name != "README.txt")
    words = ["predict", str(run), *files, "--views", "1x1", "--json"]
    done = subprocess.run([sys.executable, "-m", "smallbignet", *words], capture_output=True, text=True, timeout=300)
    answers = {Path(answer["path"]).name: answer for answer in json.loads(done.stdout)}
    assert len(answers) == len(files) == 27
    assert {name for name, answer in answers.items() if answer["error"]} == UNREADABLE
    assert done.returncode == 1  # some could not be read
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == len(UNREADABLE) and all(line.startswith("unreadable: ") for line in lines)
