"""What is done with a table of videos: class names, selections, splits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from shared_data import FIGHTS
from smallbignet.data.annotations import Annotations, read_classes, select_rows, split, to_csv
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


def same(one: Annotations, other: Annotations) -> bool:
    files = [[str(Path(path).resolve()) for path in part.paths] for part in (one, other)]
    columns = [{name: values.tolist() for name, values in part.columns.items()} for part in (one, other)]
    return (
        files[0] == files[1]
        and one.labels.tolist() == other.labels.tolist()
        and one.classes == other.classes
        and (columns[0] == columns[1])
    )


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("list.txt", "a.mp4 2\nb.mp4 0\n"),  # class 1 has no video
        ("list.txt", "a.mp4 2\nb.mp4 1\n"),
        ("set.csv", "path,label\na.mp4,2020\nb.mp4,2019\n"),
        ("set.csv", "path,label\na.mp4,1\nb.mp4,3\n"),
        ("set.csv", "path,label\na.mp4,007\nb.mp4,7\n"),
        ("set.csv", "path,label_index,fold\na.mp4,3,0\nb.mp4,1,1\n"),
        ("set.csv", 'path,label,fold,note\na.mp4,"run, fast",1,"x ""y"""\nb.mp4,caf\u00e9,0,\n'),
        ("set.csv", "path,label_name\na.mp4,run;jump\nb.mp4,walk\n"),
        ("set.csv", 'path,label\n"e, f.mp4",a\n"g\nh.mp4",b\n'),
    ],
)
@pytest.mark.parametrize("place", [".", "lists", "../other"])
def test_a_list_that_was_written_reads_back_as_itself(tmp_path, file, text, place):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / file).write_text(text, encoding="utf-8")
    given = read_annotations(tmp_path / "data" / file)
    target = tmp_path / "data" / place / "clean.csv"
    target.parent.mkdir(exist_ok=True)
    target.write_text(to_csv(given, target.parent), encoding="utf-8")
    assert same(read_annotations(target), given)


@pytest.mark.parametrize("runs", ["runs", "linked"])
@pytest.mark.parametrize("data", ["data", "linked_data"])
def test_written_paths_are_right_through_links(tmp_path, monkeypatch, runs, data):
    (tmp_path / "project/data/2019").mkdir(parents=True)
    (tmp_path / "project/data/2020").symlink_to(tmp_path / "deep/down/2020")
    (tmp_path / "deep/down/2020").mkdir(parents=True)
    for video in ("project/data/2019/a.mp4", "deep/down/2020/b.mp4"):
        (tmp_path / video).touch()
    (tmp_path / "project/runs/x").mkdir(parents=True)
    (tmp_path / "disk/a/b/c/x").mkdir(parents=True)
    (tmp_path / "project/linked").symlink_to(tmp_path / "disk/a/b/c")
    (tmp_path / "project/linked_data").symlink_to("data")
    monkeypatch.chdir(tmp_path / "project")
    given = read_annotations(data)
    file = Path(runs, "x", "val.csv")
    file.write_text(to_csv(given, file.parent))
    found = read_annotations(file)
    assert same(found, given) and found.classes == ["2019", "2020"] and all(map(Path.is_file, map(Path, found.paths)))
    monkeypatch.chdir(tmp_path)
    assert all(map(Path.is_file, map(Path, read_annotations(Path("project") / file).paths)))


def test_a_name_that_is_no_text_is_told(tmp_path):
    annotations = Annotations(np.array(["\udcff.mp4"]), np.array([0]), ["a"])
    with pytest.raises(SmallBigError, match="is no UTF-8 text"):
        to_csv(annotations, tmp_path)


@pytest.mark.parametrize(
    ("path", "label"), [("\r.mp4", "run"), (" a.mp4", "run"), ("a.mp4", "ru\nn"), ("a.mp4", "ru\rn"), ("clip ", "run")]
)
def test_names_that_would_not_be_read_back_are_not_written(tmp_path, path, label):
    annotations = Annotations(np.array([str(tmp_path / path)]), np.array([0]), [label])
    with pytest.raises(SmallBigError, match="rename it"):
        to_csv(annotations, tmp_path)


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
