"""The scripts in examples/ run, on rendered clips, with the arguments that they document."""

import csv
import runpy
import sys
from pathlib import Path

import pytest

from smallbignet.data.synthetic import make_dataset
from smallbignet.inference.classifier import VideoClassifier

EXAMPLES = Path(__file__).parents[1] / "examples"
# a recipe that is trained in seconds
TINY = (
    "--model.width 8 --clip.clip_len 2 --input.size 32 --input.train_short_side [32,32] --input.short_side 32 "
    "--optim.epochs 1 --optim.batch_size 4 --optim.warmup_epochs 0 --run.workers 0 --run.views 1x1 --run.precision fp32"
).split()


def run(monkeypatch, script: str, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", [script, *map(str, words)])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Six classes with five clips each, in a folder per class."""
    root = make_dataset(tmp_path_factory.mktemp("clips"), {"all": 5}, num_frames=4, size=32, fps=4)
    return root / "all"


def test_train_folder_then_predict_folder(clips, tmp_path, monkeypatch, capsys):
    run(monkeypatch, "train_folder.py", clips, tmp_path / "run", *TINY)
    assert "of 6 videos; guessing gives 17%" in capsys.readouterr().out  # one clip of each class is held out

    damaged = tmp_path / "videos" / "damaged.mp4"
    damaged.parent.mkdir()
    damaged.write_bytes(b"no video")
    (damaged.parent / "still.mp4").symlink_to(min((clips / "still").iterdir()))
    run(monkeypatch, "predict_folder.py", tmp_path / "run", damaged.parent, tmp_path / "labels.csv")
    with open(tmp_path / "labels.csv", newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["path"], first["label"]) == (str(damaged), "")
    assert first["error"]
    (expected,) = VideoClassifier(tmp_path / "run").predict(damaged.parent / "still.mp4", top=1)
    assert (second["label"], second["score"], second["error"]) == (expected.label, f"{expected.score:.4f}", "")


def test_own_loop_saves_a_model_that_predicts(clips, tmp_path):
    train = runpy.run_path(str(EXAMPLES / "own_loop.py"))["train"]
    assert 0 <= train(str(tmp_path / "model"), clips=8, epochs=1) <= 1
    predictions = VideoClassifier(tmp_path / "model").predict(min((clips / "colour").iterdir()))
    assert {prediction.label for prediction in predictions} == {"still", "colour"}


@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_each_is_listed(script):
    assert f"({script})" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
