"""Which videos a run trains on and which it validates on. No video is read, so empty files do."""

from __future__ import annotations

import os

import numpy as np
import pytest

from smallbignet.data.annotations import Annotations
from smallbignet.data.split import DataSpec, read_split
from smallbignet.errors import SmallBigError


def make_folders(root, *names: str) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return str(root)


def names(annotations: Annotations) -> list[str]:
    return [os.path.basename(path) for path in annotations.paths]


def test_train_and_val_folders_share_the_classes_of_train(tmp_path):
    root = make_folders(tmp_path, "train/a/1.mp4", "train/b/2.mp4", "train/c/3.mp4", "val/c/4.mp4", "val/b/5.mp4")
    train, val = read_split(DataSpec(root))
    assert train.classes == val.classes == ["a", "b", "c"]
    assert (names(train), train.labels.tolist()) == (["1.mp4", "2.mp4", "3.mp4"], [0, 1, 2])
    assert (names(val), val.labels.tolist()) == (["5.mp4", "4.mp4"], [1, 2])


def test_a_val_source_of_its_own_goes_before_the_val_folder(tmp_path):
    root = make_folders(tmp_path, "train/a/1.mp4", "train/b/2.mp4", "val/a/3.mp4", "other/b/4.mp4")
    train, val = read_split(DataSpec(root, val=str(tmp_path / "other")))
    assert (names(train), names(val), val.labels.tolist()) == (["1.mp4", "2.mp4"], ["4.mp4"], [1])


def test_a_class_that_only_val_has_is_an_error(tmp_path):
    root = make_folders(tmp_path, "train/a/1.mp4", "train/b/2.mp4", "val/d/4.mp4")
    with pytest.raises(SmallBigError, match='class "d" is not among the 2 known classes') as caught:
        read_split(DataSpec(root))
    assert caught.value.where == str(tmp_path / "val")


def test_one_folder_is_split_by_fraction_and_seed(tmp_path):
    root = make_folders(tmp_path, *(f"{label}/{label}{i}.mp4" for label in "ab" for i in range(10)))
    train, val = read_split(DataSpec(root, val_fraction=0.3))
    assert np.bincount(train.labels).tolist() == [7, 7] and np.bincount(val.labels).tolist() == [3, 3]
    assert not set(names(train)) & set(names(val))
    assert names(read_split(DataSpec(root, val_fraction=0.3, split_seed=1))[1]) != names(val)


@pytest.mark.parametrize(
    ("settings", "train", "val"),
    [
        ({"select": "fold=0,1", "val_select": "fold=2"}, "abcd", "ef"),
        ({"select": "fold=1", "val_select": "fold=2"}, "cd", "ef"),
        ({"val_select": "fold=2"}, "abcdgh", "ef"),  # never trains on what it validates with
        ({"select": "fold=0,1", "val_fraction": 0.5, "group_column": "fold"}, "cd", "ab"),
    ],
)
def test_csv_rows_are_selected(tmp_path, settings, train, val):
    lines = [f"{name},{'xy'[i % 2]},{i // 2}\n" for i, name in enumerate("abcdefgh")]
    (tmp_path / "set.csv").write_text("path,label,fold\n" + "".join(lines))
    (tmp_path / "h").touch()  # one is enough for the paths to be taken for right
    parts = read_split(DataSpec(str(tmp_path / "set.csv"), **settings))
    assert ["".join(names(part)) for part in parts] == [train, val]
    assert parts[0].classes == parts[1].classes == ["x", "y"]


def test_class_names_from_a_file(tmp_path):
    (tmp_path / "train.txt").write_text("1.mp4 1\n2.mp4 0\n")
    (tmp_path / "val.txt").write_text("1.mp4 2\n")
    (tmp_path / "1.mp4").touch()
    (tmp_path / "classes.txt").write_text("run\nbox\nfall\n")
    spec = DataSpec(str(tmp_path / "train.txt"), str(tmp_path / "val.txt"), classes=str(tmp_path / "classes.txt"))
    train, val = read_split(spec)
    assert train.classes == val.classes == ["run", "box", "fall"]
    assert (train.labels.tolist(), val.labels.tolist()) == ([1, 0], [2])


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({}, "--data.train"),
        ({"train": "missing"}, "missing"),
        ({"train": "set.csv", "val": "missing.csv"}, "missing.csv"),
        ({"train": "set.csv", "classes": "missing.txt"}, "missing.txt"),
        ({"train": "set.csv", "val_select": "fold=9"}, "set.csv"),
        ({"train": "set.csv", "val_select": "fold=0,1"}, "set.csv"),  # nothing is left to train on
        ({"train": "set.csv", "val_fraction": 0.1}, "data.val_fraction 0.1"),
        ({"train": "set.csv", "root": "elsewhere"}, "set.csv"),  # where none of the videos is
    ],
)
def test_mistakes_name_their_place(tmp_path, monkeypatch, settings, where):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set.csv").write_text("path,label,fold\n1.mp4,x,0\n2.mp4,y,1\n")
    (tmp_path / "1.mp4").touch()
    with pytest.raises(SmallBigError) as caught:
        read_split(DataSpec(**settings))
    assert caught.value.where == where
