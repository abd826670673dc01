"""`smallbig ablate` as a user runs it on tiny clips; tests of its bookkeeping alone use a stand-in for training."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from smallbignet.cli import main
from smallbignet.commands import ablate as act
from smallbignet.errors import WorkError
from smallbignet.paper.tables import paper_tables
from smallbignet.training.run_directory import FinalTest, TrainReport
from smallbignet.training.settings import TrainConfig


@pytest.fixture
def budget(recipe, tmp_path) -> Path:
    """A recipe of one step and one view."""
    file = tmp_path / "budget.yaml"
    file.write_text(f"base: {recipe}\noptim: {{epochs: 1, batch_size: 12}}\nrun: {{views: 1x1}}\n")
    return file


@pytest.fixture
def folded(clips, tmp_path) -> Path:
    """The clips as a .csv with three folds."""
    rows = [f"{path},{path.parent.name},{i % 3}" for i, path in enumerate(sorted(clips.glob("*/*/*.mp4")))]
    file = tmp_path / "folds.csv"
    file.write_text("\n".join(["path,label,fold", *rows]) + "\n")
    return file


class Training:
    """A stand-in for `train`: top-1 by network, seed and fold; leaves what a run leaves, or fails as told."""

    def __init__(self):
        self.seen: list[tuple[TrainConfig, bool]] = []
        self.fails: dict[str, BaseException] = {}

    def __call__(self, config: TrainConfig, *, resume: bool) -> TrainReport:
        self.seen.append((config, resume))
        run = Path(config.run.dir)
        (run / "state").mkdir(parents=True)
        (run / "config.yaml").write_text(config.to_yaml())
        if config.model.name in self.fails:
            raise self.fails[config.model.name]
        fold = config.data.val_select.removeprefix("fold=") or 0
        top1 = {"c2d_r23": 0.2, "nonlocal_r23": 0.4, "smallbig_r23": 0.6}.get(config.model.name, 0.7)
        top1 += 0.01 * config.run.seed + 0.1 * int(fold)
        test = FinalTest("last", "1x1", videos=6, top1=top1, top5=1.0)
        report = TrainReport(config.run.dir, top1, 1, top1, test, 1, 10.0, 1.0, 12, 6, {})
        (run / "report.json").write_text(json.dumps(asdict(report)))
        return report


@pytest.fixture
def training(monkeypatch) -> Training:
    stand_in = Training()
    monkeypatch.setattr(act, "train", stand_in)
    monkeypatch.setattr(act.plots, "ablation", lambda *args: None)  # drawn after every run, half a second each
    return stand_in


def ablate(capsys, *words: object, status: int = 0) -> dict:
    """The result of `smallbig ablate ... --json`."""
    assert main(["ablate", *map(str, words), "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_a_table_is_trained_once_and_then_read(budget, tmp_path, capsys):
    out = tmp_path / "out"
    words = ("7", "--recipe", budget, "--seeds", "3", "--out", out)
    first = ablate(capsys, *words)
    assert [row["label"] for row in first["rows"]] == ["R23", "NonLocal-R23", "SmallBig-R23"]
    assert all(row["values"] == {"3": row["runs"][0]["top1"]} and 0 <= row["mean"] <= 1 for row in first["rows"])
    assert {path.name for path in out.iterdir()} == {
        *(f"{name}-seed3" for name in ("r23-2d", "r23-2d-nonlocal-nonlocal-2d", "r23-full")),
        *("table7.md", "table7.png", "table7.html"),
    }
    text = (out / "table7.md").read_text()
    assert "| NonLocal-R23 | 18.7M | 34 | 70.2 | 89.1 |" in text and "12 to train, 6 to test" in text
    assert not list(out.glob("*/state")) and (out / "table7.png").read_bytes().startswith(b"\x89PNG")
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*")}
    assert ablate(capsys, *words) == first
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*")} == before


def test_a_row_that_fails_leaves_the_others(budget, tmp_path, capsys, training):
    words = ("7", "--recipe", budget, "--seeds", "0,1", "--out", tmp_path)
    training.fails["nonlocal_r23"] = WorkError("the loss is no longer a number")
    answer = ablate(capsys, *words, status=1)
    assert [row["mean"] for row in answer["rows"]] == [pytest.approx(0.205), None, pytest.approx(0.605)]
    text = (tmp_path / "table7.md").read_text()
    assert "0 of 2, 2 failed" in text and "nonlocal-nonlocal-2d-seed1: the loss is no longer a number" in text
    page = (tmp_path / "table7.html").read_text()
    assert "4 of 6 runs are finished, 2 failed" in page and "nonlocal-nonlocal-2d-seed1: the loss is no longer a number" in page
    assert "Our top-1 of R23: 20.0 %, 21.0 %" in page and page.count("not measured") == 3  # the row, and its two neighbours
    # 15 % to 65 % are 184 pixels, from the 8th on; the deviation of 60 % and 61 % is 0.7 points
    assert '<circle cx="173.6"' in page and 'd="M172.8 10H178.0' in page
    training.fails.clear()
    training.seen.clear()
    for state in tmp_path.glob("*/state"):
        state.rmdir()
    assert ablate(capsys, *words)["rows"][1]["mean"] == pytest.approx(0.405)
    assert [(config.model.name, resume) for config, resume in training.seen] == [("nonlocal_r23", True)] * 2


def test_without_a_recipe_each_row_has_its_own(folded, tmp_path, capsys, training):
    """R23 has a learning rate of its own (Section 6, "Training")."""
    answer = ablate(capsys, "8", "--data", folded, "--seeds", "0", "--out", tmp_path / "out")
    rates = {config.model.name: config.optim.lr for config, _ in training.seen}
    assert rates == {"c2d_r23": 0.02, "smallbig_r23": 0.02, "c2d_r50": 0.00625, "smallbig_r50": 0.00625}
    assert all(config.optim.epochs == 110 and config.model.weights == "imagenet" for config, _ in training.seen)
    assert answer["how"]["recipe"] == "each row's own: k400_c2d_r23, k400_smallbig_r23, k400_c2d_r50, k400_smallbig_r50"
    assert "epochs: 110" in answer["how"]["settings"] and "0.02" not in answer["how"]["settings"]
    training.seen.clear()
    assert ablate(capsys, "8", "--data", folded, "--seeds", "0", "--out", tmp_path / "out") == answer
    assert not training.seen


def test_tables_share_runs(budget, tmp_path, capsys, training):
    ablate(capsys, "7", "--recipe", budget, "--seeds", "0", "--out", tmp_path)
    training.seen.clear()
    ablate(capsys, "6", "--recipe", budget, "--seeds", "0", "--out", tmp_path)
    trained = {tuple(config.model.stages or ()) for config, _ in training.seen}
    assert trained == {(f"full+{change}",) * 4 for change in ("avgviews+avgextra", "unshared", "singlebn")}


def test_networks_share_a_run_only_if_they_are_the_same():
    named: dict = {}
    for table in paper_tables():
        for row in table.rows if table.number in act.TABLES else ():
            [network] = row.networks
            assert named.setdefault(act.run_name(network), network) == network


def test_an_interrupted_ablation_goes_on(budget, tmp_path, capsys, training):
    words = ["ablate", "7", "--recipe", str(budget), "--seeds", "0", "--out", str(tmp_path)]
    training.fails["nonlocal_r23"] = KeyboardInterrupt()
    assert main(words) == 130
    (tmp_path / "r23-2d-nonlocal-nonlocal-2d-seed0" / "state").rmdir()
    training.fails.clear()
    training.seen.clear()
    assert main(words) == 0
    assert [(config.model.name, resume) for config, resume in training.seen] == [
        ("nonlocal_r23", True),
        ("smallbig_r23", False),
    ]


def test_folds_validate_once_each(budget, folded, tmp_path, capsys, training):
    words = ("7", "--recipe", budget, "--data", folded, "--folds", "fold", "--out", tmp_path / "out")
    answer = ablate(capsys, *words, "--seeds", "0,10")
    folds = [f"fold={fold}" for seed in (0, 10) for fold in range(3) for network in answer["rows"]]
    assert [config.data.val_select for config, _ in training.seen] == folds
    assert answer["spread_over"] == "seeds"
    assert answer["rows"][0]["values"] == {"0": pytest.approx(0.3), "10": pytest.approx(0.4)}  # means over the folds
    single = ablate(capsys, *words, "--seeds", "0")
    assert single["spread_over"] == "folds" and len(training.seen) == 18
    assert single["rows"][0]["values"] == {str(fold): pytest.approx(0.2 + 0.1 * fold) for fold in range(3)}
    [pair, _] = single["pairs"]
    assert (pair["ours"], pair["error"]) == (pytest.approx(20), pytest.approx(0, abs=1e-9))
    assert pair["verdict"] == "as in the paper, more than the standard error"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["10", "--recipe", "{budget}"], "Tables 2 to 9"),
        (["7"], "data.train"),
        (["7", "--recipe", "nothing"], "nothing"),
        (["7", "--recipe", "{budget}", "--data", "nowhere"], "nowhere"),
        (["7", "--recipe", "{budget}", "--seeds", "one"], "one"),
        (["7", "--recipe", "{budget}", "--data", "{folded}", "--folds", "part"], "(columns: fold)"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_mistakes_are_errors_before_anything_is_trained(words, expected, budget, folded, training, tmp_path, capsys):
    words = [word.format(budget=budget, folded=folded) for word in words]
    assert main(["ablate", *words, "--out", str(tmp_path / "out")]) == 2
    assert expected in capsys.readouterr().err.splitlines()[-1] and not training.seen and not (tmp_path / "out").exists()


def test_runs_of_another_budget_are_not_mixed_in(budget, tmp_path, training, capsys):
    words = ["--recipe", str(budget), "--seeds", "0", "--out", str(tmp_path / "out")]
    assert main(["ablate", "7", *words]) == 0
    budget.write_text(budget.read_text().replace("epochs: 1", "epochs: 2"))
    training.seen.clear()
    assert main(["ablate", "2", *words]) == 2
    assert "optim.epochs 1" in capsys.readouterr().err and not training.seen
