"""The program that measures on a GPU: gone through on a CPU in tiny sizes, and how it takes things in turn."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def test_a_dry_run_goes_through_every_stage(tmp_path):
    command = [sys.executable, EXPERIMENTS / "gpu.py", "--dry-run", "--minutes", "15", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pieces = json.loads((tmp_path / "results.json").read_text())["pieces"]
    assert {found["state"] for found in pieces.values()} == {"done"}, (tmp_path / "log.txt").read_text()
    assert {key.split(":")[0] for key in pieces} == {"tests", "training", "inference", "equality", "learning", "decoding"}
    for name in ("ours", "ours compiled"):
        assert pieces[f"training: {name}"]["clips_per_second"][0] > 0
    assert pieces["inference: ours"]["fp32 1"]["ms"][0] > 0
    assert pieces["equality: checkpointing"]["difference"] < pieces["equality: checkpointing"]["bound"]
    assert len(pieces["learning: CPU"]["train loss"]) == 1
    printed = done.stdout
    assert printed.strip() == (tmp_path / "report.md").read_text().strip()
    assert "x the floor" in printed and "inference, fused: " in printed
    assert "===== training: ours" in (tmp_path / "log.txt").read_text()


@pytest.fixture
def gpu(monkeypatch):
    """The program as a module, whose processes find the fake pieces."""
    monkeypatch.syspath_prepend(EXPERIMENTS)
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    return importlib.import_module("gpu")


def test_what_is_not_installed_is_said_first(gpu, monkeypatch):
    def version_but_not_of_two(name):
        if name in ("pebble", "jsonargparse"):
            raise gpu.PackageNotFoundError
        return "1"

    assert gpu.missing_packages() == []
    monkeypatch.setattr(gpu, "version", version_but_not_of_two)
    assert gpu.missing_packages() == ["jsonargparse", "pebble"]


@pytest.fixture
def run(gpu, tmp_path) -> Callable[..., dict[str, dict]]:
    """Makes a run of pieces, each given as its name, its function in `fake_pieces`, its arguments, and its options."""

    def make(*pieces: tuple, seconds: float = 60) -> dict[str, dict]:
        made = [
            gpu.Piece("training", name, f"fake_pieces:{function}", arguments, **{"limit": 20} | options)
            for name, function, arguments, options in pieces
        ]
        folder = tmp_path / "logs"
        folder.mkdir(exist_ok=True)
        gpu.Run(made, seconds, tmp_path / "out", dry_run=True, folder=folder, modules=()).run()
        found = json.loads((tmp_path / "out" / "results.json").read_text())["pieces"]
        return {key.removeprefix("training: "): each for key, each in found.items()}

    return make


def test_a_piece_that_fails_ends_or_hangs_costs_only_itself(run):
    found = run(
        ("first", "tells", (1,), {}),
        ("second", "tells", (2,), {}),
        ("fails", "fails", (), {}),
        ("ends", "ends", (), {}),
        ("hangs", "hangs", (), {"limit": 1}),
        ("last", "tells", (3,), {}),
    )
    assert [found[name]["state"] for name in ("first", "second", "last")] == ["done"] * 3
    assert found["first"]["process"] == found["second"]["process"] != found["last"]["process"]
    assert found["fails"]["state"] == "failed: MemoryError: there is no memory" and found["fails"]["before"] == 1
    assert found["ends"]["state"] == "its process ended (3)"
    assert found["hangs"]["state"] == "stopped after 1 s" and found["hangs"]["before"] == 1


def test_nothing_else_runs_while_a_figure_is_taken(run, tmp_path):
    files = [tmp_path / "one", tmp_path / "other"]
    ahead = [(file.name, "gets_ready", (str(file),), {"alone": True, "ahead": True, "line": file.name}) for file in files]
    found = run(
        ("check", "tells", (1,), {"alone": False, "line": "check"}),
        ("timed", "takes_time", (), {}),
        *ahead,
    )
    assert {each["state"] for each in found.values()} == {"done"}
    ticks = [float(line) for file in files for line in file.read_text().splitlines()]
    assert len(ticks) == 200
    figures = [found[name] for name in ("timed", "one", "other")]
    for figure in figures:
        assert not any(figure["from"] < tick < figure["to"] for tick in ticks)
    assert max(ticks) > figures[0]["to"]  # they went on afterwards


def test_what_is_not_timed_runs_at_once(run):
    lines = {"alone": False, "limit": 3}
    found = run(*((name, "hangs", (), lines | {"line": name}) for name in "abc"), ("after", "tells", (1,), {}), seconds=10)
    assert {found[name]["state"] for name in "abc"} == {"stopped after 3 s"}  # 0.3 of the time, at most
    assert found["after"]["state"] == "done" and found["after"]["began"] < 6


def test_what_is_done_is_kept_and_what_failed_or_was_left_is_not(run):
    pieces = [("first", "tells", (1,), {}), ("second", "tells", (2,), {})]
    first = run(pieces[0], seconds=60)
    none = run(*pieces, seconds=0)
    assert none["first"] == first["first"] and none["second"] == {"state": "no time"}
    again = run(*pieces)
    assert again["first"] == first["first"] and again["second"]["state"] == "done"
