"""Reading the files of a run."""

import json
import shutil
from pathlib import Path

import pytest

from smallbignet import SmallBigError
from smallbignet.training.confusion import Confused
from smallbignet.training.run_directory import FinalTest, Progress, RunDirectory, Totals, TrainReport


def test_a_finished_run_is_read_back(run, recipe, tiny):
    directory = RunDirectory(run)
    assert directory.is_started and directory.is_finished
    assert directory.config() == tiny("--run.dir", str(run))
    written = json.loads((run / "report.json").read_text())
    report = directory.report()
    assert (report.best_top1, report.test.top1, report.epochs) == (written["best_top1"], written["test"]["top1"], 2)
    assert [line["split"] for line in directory.metrics()] == ["train", "val"] * 2
    assert directory.changed_settings(tiny("--optim.lr", "1", "--run.device", "")) == ["optim.lr 0.05"]


def test_a_line_of_metrics_that_a_kill_cut_off_is_dropped(run, tmp_path):
    text = (run / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_text(text[:-9])
    assert RunDirectory(tmp_path).metrics() == RunDirectory(run).metrics()[:-1]


@pytest.mark.parametrize(("kept", "words"), [((), "no config.yaml"), (("config.yaml",), "no report.json")])
def test_a_folder_without_a_run_says_what_is_missing(run, tmp_path, kept, words):
    for name in kept:
        shutil.copy(run / name, tmp_path)
    directory = RunDirectory(tmp_path)
    assert (directory.is_started, directory.is_finished) == (bool(kept), False)
    with pytest.raises(SmallBigError, match=words):
        (directory.report if kept else directory.config)()


def test_the_progress_saved_by_an_earlier_version_is_loaded():
    """As version 0.1.0 wrote it: best is (top-1, epoch), totals are (loss, correct, clips), the test is empty at first."""
    figures = {"model": "last", "views": "1x1", "videos": 6, "top1": 0.5, "top5": 1.0}
    state = {"epoch": 1, "batch": 2, "totals": [8.5, 3.0, 6.0], "best": (0.75, 1), "last": 0.25, "test": {}, "val_videos": 6}
    state |= {"unreadable": {"a.mp4": "empty"}, "val_unreadable": {}, "seconds": 1.5}
    progress = Progress()
    progress.load_state_dict(state)
    assert progress == Progress(1, 2, Totals(8.5, 3.0, 6.0), 0.75, 1, 0.25, None, 6, {"a.mp4": "empty"}, {}, 1.5)
    progress.load_state_dict(state | {"test": figures})
    assert progress.test == FinalTest("last", "1x1", 6, 0.5, 1.0)
    progress.best_confused = [Confused("a", "b", 2, 3)]
    again = Progress()
    again.load_state_dict(progress.state_dict())
    assert again == progress


@pytest.mark.parametrize(
    ("correct", "videos", "guessing", "expected"),
    [(2, 24, 1 / 24, True), (24, 24, 1 / 24, False), (5, 10, 0.24, True), (5, 10, 0.23, False)],
)
def test_a_model_that_may_be_guessing(correct, videos, guessing, expected):
    """Wilson's interval of 5 of 10 is 0.2366 to 0.7634, as R's `binom.confint(5, 10, methods = "wilson")` gives it."""
    test = FinalTest("last", "1x1", videos, 0.0, 0.0)
    report = TrainReport("run", correct / videos, 1, 0.0, test, 1, 1.0, 1.0, 100, videos, {}, guessing)
    assert report.is_guessing == expected


def test_only_one_module_names_a_runs_files():
    """Others read a run through `RunDirectory`."""
    source = Path(__file__).parents[2] / "src" / "smallbignet"
    naming = {
        file.relative_to(source).as_posix()
        for file in source.rglob("*.py")
        if any(f'"{name}"' in file.read_text() for name in ("config.yaml", "metrics.jsonl"))
    }
    assert naming == {"training/run_directory.py"}
