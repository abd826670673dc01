"""Videos with several classes each, from the list to the figures."""

import json
from pathlib import Path

import numpy as np
import pytest

from smallbignet import SmallBigError, VideoClassifier, load_config
from smallbignet.commands.evaluate import evaluate, show
from smallbignet.commands.train import show as show_run
from smallbignet.commands.train import train
from smallbignet.data.source import read_annotations
from smallbignet.data.split import DataSpec, read_split

CLASSES = {"colour": ["moves", "changes"], "growing": ["changes"], "horizontal": ["moves"], "still": [], "turning": ["moves"]}
CLASSES["vertical"] = ["moves", "changes"]


@pytest.fixture(scope="module")
def listed(clips, tmp_path_factory) -> Path:
    """The 18 clips with two classes, of which a clip has both, one or none."""
    rows = [f"{path},{';'.join([*CLASSES[path.parent.name], '']) or ';'}" for path in sorted(clips.rglob("*.mp4"))]
    file = tmp_path_factory.mktemp("lists") / "several.csv"
    file.write_text("\n".join(["path,label", *rows]) + "\n")
    return file


def test_both_ways_to_write_several_classes_are_read_the_same(listed, tmp_path):
    found = read_annotations(listed)
    assert found.classes == ["changes", "moves"] and found.is_multilabel
    assert found.counts().tolist() == [9, 12]
    rows = [f"{path},{a},{b},0" for path, (a, b) in zip(found.paths, found.labels.tolist(), strict=True)]
    (tmp_path / "columns.csv").write_text("\n".join(["path,changes,moves,fold", *rows]) + "\n")
    columns = read_annotations(tmp_path / "columns.csv")
    assert columns.classes == found.classes and np.array_equal(columns.labels, found.labels)
    assert set(columns.columns) == {"fold"}
    turned = found.with_classes(["moves", "other", "changes"], "")
    assert np.array_equal(turned.labels, found.labels[:, [1, 0, 0]] * [1, 0, 1])


def test_one_class_each_and_several_classes_are_split_alike(listed, tmp_path):
    train_set, val_set = read_split(DataSpec(str(listed), val_fraction=0.25))
    assert (len(train_set), len(val_set)) == (14, 4)
    (tmp_path / "val.csv").write_text(f"path,label\n{val_set.paths[0]},moves\n")
    _, single = read_split(DataSpec(str(listed), val=str(tmp_path / "val.csv")))
    assert single.labels.tolist() == [[0, 1]]


def test_a_run_on_several_classes(listed, tiny, tmp_path, capfd):
    settings = ["--data.train", str(listed), "--data.balance", "loss", "--augment.mixup", "0.2", "--optim.epochs", "3"]
    config = tiny(*settings, "--run.views", "1x1")
    report = train(config)
    run = Path(config.run.dir)
    spec = load_config(run).scores
    assert spec.kind == "sigmoid" and len(spec.thresholds) == 2
    result = evaluate(str(run), str(run / "val.csv"), workers=0, device="cpu", report=str(tmp_path / "page"))
    assert result.labels.shape == (4, 2) and not np.allclose(result.scores.sum(1), 1)
    assert result.report()["mean_average_precision"] == pytest.approx(report.best_map)
    assert [line.split(",")[0] for line in (tmp_path / "page" / "classes.csv").read_text().split()] == [
        "class",
        *result.classes,
    ]
    for table in (show(result), show_run(report)):
        assert "average precision" in " ".join(
            map(str, [*table.columns[0].cells, *(column.header for column in table.columns)])
        )
    named = [Path(str(cell)) for cell in show_run(report).columns[1].cells if str(cell).startswith(str(run))]
    assert len(named) == 2 and all(path.exists() for path in named)  # the model and the page
    pages = [(folder / "index.html").read_text() for folder in (run, tmp_path / "page")]
    assert all('<h2 id="together">' in page for page in pages)
    assert ['<h2 id="training">' in page for page in pages] == [True, False]
    first = VideoClassifier(str(run), device="cpu").predict(result.videos[0], top=2)
    assert sorted(p.score for p in first) == pytest.approx(sorted(result.scores[0].tolist()), abs=1e-5)
    again = train(config, resume=True)
    assert again.best_map == report.best_map == json.loads((run / "report.json").read_text())["best_map"]
    with pytest.raises(SmallBigError, match="for videos with one class each"):
        evaluate(str(run), str(run / "val.csv"), scores=str(tmp_path / "s.npz"), device="cpu")


def test_what_is_for_one_class_each_is_refused(listed, run, tiny):
    with pytest.raises(SmallBigError, match="a sampler is for videos with one class each"):
        train(tiny("--data.train", str(listed), "--data.balance", "sampler"))
    with pytest.raises(SmallBigError, match="not among the 6 known classes"):
        evaluate(str(run), str(listed), device="cpu")
