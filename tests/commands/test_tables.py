"""`smallbig tables` as a user runs it."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from smallbignet.cli import main
from smallbignet.commands import tables as act
from smallbignet.paper.tables import Network, Row, Table
from smallbignet.training.run_directory import FinalTest, TrainReport
from smallbignet.training.settings import load_recipe


def printed(capsys, monkeypatch, *words: str) -> str:
    monkeypatch.setenv("COLUMNS", "128")
    assert main(["tables", *words]) == 0
    return capsys.readouterr().out


def rows_of(text: str) -> dict[str, list[str]]:
    """The cells of a printed table, by the first one; continued lines left out."""
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    return {label: cells for label, *cells in lines if label}


def test_our_figures_are_beside_the_papers(capsys, monkeypatch):
    text = printed(capsys, monkeypatch, "7", "10")
    rows = rows_of(text)
    assert rows["NonLocal-R23"] == ["18.7M", "34", "70.2", "89.1", "18.71M", "33.42", "8x224", "-"]
    assert rows["Our SmallBig_En"][5:] == ["75.71M", "479.02", "8x224, 32x224", "-"]
    assert rows["CoST"][5] == "quoted" and rows["R50 full"][:5] == [""] * 5
    assert "…" not in text and max(map(len, text.splitlines())) <= 128


def test_table_1_is_measured(capsys):
    assert main(["tables", "1", "--json"]) == 0
    [table] = json.loads(capsys.readouterr().out)["tables"]
    rows = {row["label"]: row for row in table["rows"]}
    assert rows["res4"]["ours"]["block"] == "(1x1x1, 256; 1x3x3, 256; 1x1x1, 1024) x 3 (or 6)"
    assert rows["conv1"]["ours"]["block"] == rows["conv1"]["paper"]["block"]
    assert all(row["ours"]["output"] == row["paper"]["output"] for row in rows.values())


def test_without_numbers_all_tables_are_printed(capsys, monkeypatch):
    monkeypatch.setattr(act, "measure", lambda table, runs: table.number)
    assert main(["tables", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"] == [*range(1, 12), 11]


@pytest.fixture
def trained(tmp_path, monkeypatch) -> Path:
    """A folder with a finished run of a recipe with fewer epochs, and a table with a row that the recipe trains."""
    run = tmp_path / "k400_smallbig_r23"
    run.mkdir()
    (run / "config.yaml").write_text(load_recipe("k400_smallbig_r23", ["--optim.epochs", "2", "--data.train", "x"]).to_yaml())
    test = FinalTest("last", "10x3", videos=40, top1=0.625, top5=0.9)
    report = TrainReport(str(run), 0.7, 1, 0.6, test, 2, 10.0, 60.0, 100, 40, {})
    (run / "report.json").write_text(json.dumps(asdict(report)))
    row = Row("ours", {"v1_top1": 60.0}, (Network("smallbig_r23"),), {"v1_": ("k400_smallbig_r23",)}, "10x3")
    table = Table(11, "made up", ("v1_top1",), (row,), views="10x3")
    monkeypatch.setattr(act, "find_tables", lambda number: [table])
    return tmp_path


def test_the_accuracy_of_a_finished_run_is_printed(trained, capsys, monkeypatch):
    text = printed(capsys, monkeypatch, "11", "--runs", str(trained))
    assert rows_of(text)["ours"][-1] == "V1 62.5/90.0"
    assert "k400_smallbig_r23: 40 videos, views 10x3; other settings: optim.epochs 2" in " ".join(text.split())


def test_an_accuracy_of_other_views_is_left_out(trained, capsys, monkeypatch):
    report = trained / "k400_smallbig_r23" / "report.json"
    report.write_text(report.read_text().replace("10x3", "1x1"))
    assert rows_of(printed(capsys, monkeypatch, "11", "--runs", str(trained)))["ours"][-1] == "-"


def save_probabilities(file: Path, scores: list[list[float]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"videos": np.array(["a.mp4", "b.mp4"]), "labels": np.array([0, 1]), "classes": np.array(["x", "y"])}
    np.savez(file, scores=np.array(scores, np.float32), **arrays)


def test_an_ensemble_and_other_views_are_read_from_scores(tmp_path, capsys):
    """Scores of which each network has one video right, and their mean both."""
    save_probabilities(tmp_path / "k400_smallbig_r50" / "scores_4x3.npz", [[0.9, 0.1], [0.6, 0.4]])
    assert main(["tables", "10", "--json", "--runs", str(tmp_path)]) == 0
    [table] = json.loads(capsys.readouterr().out)["tables"]
    assert not any(row["runs"] for row in table["rows"])
    save_probabilities(tmp_path / "k400_smallbig_r101" / "scores_4x3.npz", [[0.4, 0.6], [0.2, 0.8]])
    save_probabilities(tmp_path / "ssv1_tsm_r50" / "scores_1x1.npz", [[0.4, 0.6], [0.2, 0.8]])
    assert main(["tables", "10", "11", "--json", "--runs", str(tmp_path)]) == 0
    tables = json.loads(capsys.readouterr().out)["tables"]
    found = {(row["label"], row["paper"]["frames"]): row["runs"] for table in tables for row in table["rows"] if row["runs"]}
    both = found.pop(("Our SmallBig_En", "40=8+32, 224"))[""]
    assert (both["top1"], both["views"], both["names"]) == (1.0, "4x3", ["k400_smallbig_r50", "k400_smallbig_r101"])
    single = found.pop(("TSM", 8))["v1_"]
    assert (single["top1"], single["views"], single["names"]) == (0.5, "1x1", ["ssv1_tsm_r50"]) and not found


def test_the_commands_of_a_table_are_printed_to_be_copied(capsys, monkeypatch):
    lines = printed(capsys, monkeypatch, "5", "11", "--commands").splitlines()
    four = "smallbig train k400_smallbig_r23 --model.stages '[full, full, full, full]' --data.train /data/kinetics400"
    assert f"{four} --run.dir runs/k400_smallbig_r23-full" in lines
    assert lines[lines.index("# SmallBig: Full") + 1].startswith(four)
    ensemble = "smallbig ensemble runs/ssv1_tsm_r50/scores_1x1.npz runs/ssv1_tsm_r50-16f/scores_1x1.npz"
    assert lines[lines.index("# TSM_En R50 24=8+16, V1") + 5] == ensemble


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"test": {}}'])
def test_a_broken_report_is_an_error(trained, text, capsys):
    (trained / "k400_smallbig_r23" / "report.json").write_text(text)
    assert main(["tables", "11", "--runs", str(trained)]) == 2
    assert "not the report of a finished training run" in capsys.readouterr().err


def test_an_unknown_table_is_one_line(capsys):
    assert main(["tables", "2", "twelve"]) == 2
    assert capsys.readouterr().err == "smallbig: error: no such table: the paper has Tables 1 to 11 (twelve)\n"
