"""What is done with a table of videos: class names, selections, splits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from shared_data import FIGHTS
from smallbignet.data.annotations import Annotations, read_classes, select_rows, split
from smallbignet.data.source import read_annotations
from smallbignet.errors import SmallBigError

needs_fights = pytest.mark.skipif(not FIGHTS.is_dir(), reason="the clips of fights are not here")


def table(labels: list[int], **columns: list[str]) -> Annotations:
    return Annotations(
        np.array([f"{i}.mp4" for i in range(len(labels))]),
        np.array(labels, np.int64),
        [str(i) for i in range(max(labels) + 1)],
        {name: np.array(values) for name, values in columns.items()},
    )


def test_class_names_file(tmp_path):
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfplaying harp \r\nabseiling\r\n\r\n")
    assert read_classes(tmp_path / "classes.txt") == ["playing harp", "abseiling"]


def test_a_shipped_list_of_class_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.csv").write_text("a.mp4 173\n")
    classes = read_classes("ssv1")
    assert read_annotations(tmp_path / "train.csv", classes=classes).labels.tolist() == [173]
    assert classes[173] == "Poking a hole into some substance"
    (tmp_path / "ssv1").write_text("mine\n")
    assert read_classes("ssv1") == ["mine"]


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "no class names"), ("a\n\nb\n", "line 2"), ("a\nb\na\n", 'line 3 repeats the class name "a"')],
)
def test_class_names_that_would_shift_the_indices(tmp_path, content, message):
    (tmp_path / "classes.txt").write_text(content)
    with pytest.raises(SmallBigError, match=message):
        read_classes(tmp_path / "classes.txt")


@pytest.mark.parametrize(
    ("condition", "kept"),
    [("", [0, 1, 2, 3]), ("fold=1", [1]), ("fold=0,10", [0, 3]), (" fold = 0, 10 ", [0, 3]), ("by=a=b,c", [0, 2])],
)
def test_select_rows(condition, kept):
    annotations = table([0, 1, 0, 1], fold=["0", "1", "2", "10"], by=["a=b", "", "c", "d"])
    found = select_rows(annotations, condition)
    assert found.paths.tolist() == [f"{i}.mp4" for i in kept]
    assert found.columns["fold"].tolist() == annotations.columns["fold"][kept].tolist()
    assert found.classes == annotations.classes


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("fold", "COLUMN=VALUE"),
        ("flod=1", r'no column "flod" to select on \(columns: fold\)'),
        ("fold=7", 'no video has the fold "7"'),
        ("fold=0,7", 'no video has the fold "7"'),
    ],
)
def test_selections_that_can_not_be_meant(condition, message):
    with pytest.raises(SmallBigError, match=message):
        select_rows(table([0, 1], fold=["0", "1"]), condition, "set.csv")


def test_split_is_stratified_and_goes_by_its_seed():
    annotations = table([0] * 50 + [1] * 10 + [2] * 5)
    train, val = split(annotations, 0.2, seed=3)
    assert Counter(val.labels.tolist()) == {0: 10, 1: 2, 2: 1}
    assert sorted([*train.paths, *val.paths]) == sorted(annotations.paths)
    assert split(annotations, 0.2, seed=3)[1].paths.tolist() == val.paths.tolist()
    assert split(annotations, 0.2, seed=4)[1].paths.tolist() != val.paths.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_split_keeps_groups_on_one_side(seed):
    sizes = np.random.default_rng(seed).integers(1, 12, 60)
    source = np.repeat([f"video {i}" for i in range(60)], sizes).tolist()
    train, val = split(table([0] * len(source), source=source), 0.25, seed, "source")
    assert not set(train.columns["source"]) & set(val.columns["source"])
    assert len(train) + len(val) == len(source)
    assert len(val) == pytest.approx(0.25 * len(source), abs=1)  # small groups fill up what large ones leave


@pytest.mark.parametrize(
    ("fraction", "group", "message"),
    [
        (0.01, "", "leaves no video"),
        (1.0, "", "leaves no video"),
        (-0.5, "", "leaves no video"),
        (0.3, "source", "leaves no video"),  # both groups are larger
        (0.5, "camera", r"no such column to group by \(columns: source\)"),
    ],
)
def test_splits_that_can_not_be_made(fraction, group, message):
    with pytest.raises(SmallBigError, match=message):
        split(table([0, 1] * 4, source=["a"] * 4 + ["b"] * 4), fraction, 0, group)


@needs_fights
def test_fights():
    fights = read_annotations(FIGHTS / "clips.csv")
    assert len(fights) == 240 and fights.classes == ["fight", "no_fight"]
    assert all(map(Path.is_file, map(Path, fights.paths)))
    sources: list[str] = []
    for fold in "0123":
        part = select_rows(fights, f"fold={fold}")
        assert all(29 <= count <= 31 for count in np.bincount(part.labels))
        sources += set(part.columns["source"])
    assert len(sources) == len(set(sources))  # no source in two folds
