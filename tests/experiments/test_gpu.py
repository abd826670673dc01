"""The program that measures on a GPU, gone through on a CPU in tiny sizes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "experiments" / "gpu.py"


def run(out: Path, *words: str) -> tuple[dict, str]:
    """The results and the table that is printed."""
    done = subprocess.run([sys.executable, PROGRAM, "--dry-run", "--out", out, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((out / "results.json").read_text())["pieces"], done.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, dict, str]:
    out = tmp_path_factory.mktemp("gpu")
    return out, *run(out, "--minutes", "15")


def test_every_stage_is_done_and_told(finished):
    out, pieces, printed = finished
    assert {found["state"] for found in pieces.values()} == {"done"}
    assert {key.split(":")[0] for key in pieces} == {"tests", "training", "inference", "equality", "learning", "decoding"}
    assert pieces["training: ours"]["clips_per_second"][0] > 0 and pieces["inference: ours"]["fp32 1"]["ms"][0] > 0
    assert pieces["equality: checkpointing"]["difference"] < pieces["equality: checkpointing"]["bound"]
    assert len(pieces["learning: CPU"]["train loss"]) == 1
    assert printed.strip() == (out / "report.md").read_text().strip()
    assert printed.count("\n| training |") == 3 and "x the floor" in printed
    assert "===== training: ours" in (out / "log.txt").read_text()


def test_what_is_done_is_kept_and_what_failed_or_was_left_is_not(finished):
    out, pieces, _ = finished
    lost = "equality: checkpointing"
    changed = pieces | {lost: {"state": "failed (1): no memory"}}
    results = json.loads((out / "results.json").read_text()) | {"pieces": changed}
    (out / "results.json").write_text(json.dumps(results))
    again, _ = run(out, "--minutes", "15", "--stages", "training", "equality")
    assert again[lost]["state"] == "done"
    assert all(again[key] == found for key, found in pieces.items() if key != lost)


def test_what_there_is_no_time_for_is_left(tmp_path):
    pieces, printed = run(tmp_path, "--minutes", "0", "--stages", "training", "decoding")
    assert {found["state"] for found in pieces.values()} == {"no time"}
    assert "| decoding | a core |" in printed
