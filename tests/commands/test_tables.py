"""`smallbig tables` as a user runs it."""

import json
from dataclasses import asdict
from pathlib import Path

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
    """A folder with a finished run of the recipe `small` with fewer epochs, and a table with a row that the recipe trains."""
    run = tmp_path / "small"
    run.mkdir()
    (run / "config.yaml").write_text(load_recipe("small", ["--optim.epochs", "2", "--data.train", "x"]).to_yaml())
    test = FinalTest("last", "2x3", videos=40, top1=0.625, top5=0.9)
    report = TrainReport(str(run), 0.7, 1, 0.6, test, 2, 10.0, 60.0, 100, 40, {})
    (run / "report.json").write_text(json.dumps(asdict(report)))
    row = Row("ours", {"v1_top1": 60.0}, (Network("c2d_r23"),), {"v1_": "small", "v2_": "finetune"})
    table = Table(11, "made up", ("v1_top1",), (row,), views="2x3")
    monkeypatch.setattr(act, "find_tables", lambda number: [table])
    return tmp_path


def test_the_accuracy_of_a_finished_run_is_printed(trained, capsys, monkeypatch):
    text = printed(capsys, monkeypatch, "11", "--runs", str(trained))
    assert rows_of(text)["ours"][-1] == "V1 62.5/90.0"
    assert "small: 40 videos, views 2x3; changed in the recipe: optim.epochs 2" in " ".join(text.split())


def test_an_accuracy_of_other_views_is_left_out(trained, capsys, monkeypatch):
    report = trained / "small" / "report.json"
    report.write_text(report.read_text().replace("2x3", "1x1"))
    assert rows_of(printed(capsys, monkeypatch, "11", "--runs", str(trained)))["ours"][-1] == "-"


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"test": {}}'])
def test_a_broken_report_is_an_error(trained, text, capsys):
    (trained / "small" / "report.json").write_text(text)
    assert main(["tables", "11", "--runs", str(trained)]) == 2
    assert "not the report of a finished training run" in capsys.readouterr().err


def test_an_unknown_table_is_one_line(capsys):
    assert main(["tables", "2", "twelve"]) == 2
    assert capsys.readouterr().err == "smallbig: error: no such table: the paper has Tables 1 to 11 (twelve)\n"
