"""`smallbig benchmark` as a user runs it, with the network of a tiny run."""

import json
import re

import pytest

from smallbignet.cli import main
from smallbignet.timing.clips import COMPARED


def rows_of(capsys, *words: str) -> dict[str, dict]:
    assert main(["benchmark", "--turns", "1", "--threads", "1", "--device", "cpu", "--json", *words]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["floors"]) == {"best convolution", "best convolution bf16", "copy"}
    assert min(report["floors"].values()) > 0 and report["machine"] and "torch" in report["versions"]
    return {row["variant"]: row for row in report["rows"]}


def test_inference_by_variant(run, capsys):
    batch = COMPARED + 2  # more than the different clips
    rows = rows_of(capsys, "--model", str(run), "--variants", "fused,fused bf16", "--profile", "--batch", str(batch))
    assert list(rows) == ["plain", "fused", "fused bf16"]  # plain is always there
    for row in rows.values():
        slow, fast = row["clips_per_second"][1:]
        assert 0 < slow <= row["clips_per_second"][0] <= fast and not row["refused"]
        assert (row["clip"], row["batch"], row["compared"]) == ("4x32", batch, COMPARED)
        assert row["times_floor"] > 1 and row["memory_mb"] > 0
        assert row["latency_ms"]["p50"] <= row["latency_ms"]["p90"] <= row["latency_ms"]["p99"]
        assert len(row["top"]) == 5 and 0 < sum(share for _, share in row["top"]) <= 1
    assert rows["plain"]["times_plain"] == 1 and rows["plain"]["error"] == 0
    assert rows["fused"]["error"] < 1e-5 < rows["fused bf16"]["error"] < 0.1 and rows["fused"]["same_top1"] == 1


def test_training_steps_and_the_memory_they_keep(run, capsys):
    words = ["--train", "--model", str(run), "--clip", "2x32", "--batch", "8", "--variants", "fused bf16"]  # of 6 classes
    rows = rows_of(capsys, *words)
    assert rows["fused bf16"]["kept_mb"] < rows["plain"]["kept_mb"]
    assert all(row["batch"] == 8 and row["error"] is None for row in rows.values())


def test_people_see_markdown_and_a_page(run, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("COLUMNS", raising=False)
    words = ["--turns", "1", "--device", "cpu", "--model", f"{run},s3d", "--clip", "4x32", "--variants", "plain"]
    assert main(["benchmark", *words, "--report", str(tmp_path / "page")]) == 0
    table, *notes = re.split(r"\s*\n\s*\n", capsys.readouterr().out.strip())
    heading, rule, row = table.splitlines()
    assert heading.startswith("| network") and set(rule) <= set("|-") and str(run) in row
    assert notes[0].startswith("s3d, plain: could not run:") and "GMAC/s" in notes[1]
    page = (tmp_path / "page" / "index.html").read_text()
    for cell in filter(None, (cell.strip() for cell in row.split("|"))):
        assert f">{cell}</t" in page
    assert f"<li>{notes[0].replace(' could not run:', '')}" in page and notes[-1].strip() in page


@pytest.mark.parametrize(
    "words",
    [
        ["--model", "smallbig_r5"],
        ["--variants", "fast"],
        ["--clip", "8"],
        ["--turns", "0"],
        ["--device", "nowhere"],
        ["--threads", "-1"],
        ["--batch", "0"],
        ["--train", "--batch", "0", "--device", "cpu"],
        ["--train", "--videos", "x.csv"],
    ],
)
def test_a_mistake_is_one_line(words, capsys):
    assert main(["benchmark", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
