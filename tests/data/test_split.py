"""Which videos a run trains on and which it validates on. No video is read, so empty files do."""

from __future__ import annotations

import os

import numpy as np
import pytest

from smallbignet.data.annotations import Annotations
from smallbignet.data.split import DataSpec, note_imbalance, read_split
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
    (tmp_path / "val.txt").write_text("3.mp4 2\n")
    for name in "123":
        (tmp_path / f"{name}.mp4").touch()
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


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("train", "val"),
        ("Train", "TEST"),
        ("training", "validation"),
        ("videos_train", "videos_val"),
        ("train_256", "val_256"),
        ("trainset", "test set"),
        ("TRAINING", "Dev"),
    ],
)
def test_folders_for_the_parts_are_no_classes(tmp_path, train, val):
    root = make_folders(
        tmp_path, f"{train}/run/1.mp4", f"{train}/walk/2.mp4", f"{val}/run/3.mp4", f"{val}/walk/4.mp4", "notes/readme.md"
    )
    parts = read_split(DataSpec(root))
    assert parts[0].classes == parts[1].classes == ["run", "walk"]
    assert [names(part) for part in parts] == [["1.mp4", "2.mp4"], ["3.mp4", "4.mp4"]]


def test_val_goes_before_test(tmp_path):
    root = make_folders(tmp_path, *(f"{part}/{label}/{part}.mp4" for part in ("train", "test", "valid") for label in "ab"))
    assert names(read_split(DataSpec(root))[1]) == ["valid.mp4"] * 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["train/a/1.mp4", "test/a/2.mp4", "walk/3.mp4"],
            r"parts of a data set \(test, train\) and others like classes \(walk",
        ),
        (["train/a/1.mp4", "train/b/2.mp4"], r"\(train\), and none is to validate on"),
        (["test/a/1.mp4", "val/b/2.mp4"], r"\(test, val\), and none is to train on"),
        (["train/a/1.mp4", "Training/a/2.mp4", "val/a/3.mp4"], "several are to train on"),
        (["train/a/1.mp4", "val/a/3.mp4", "dev/a/4.mp4"], "several are to validate on"),
        (["train/1.mp4", "test/2.mp4"], r"its 1 videos are in no class folder, such as 1\.mp4"),
        (["videos/train/a/1.mp4", "videos/test/a/2.mp4"], r"parts of a data set \(test, train\)"),
        (["a/train/1.mp4", "a/test/2.mp4", "b/train/3.mp4", "b/test/4.mp4"], r"parts of a data set \(test, train\)"),
    ],
)
def test_levels_of_folders_that_are_not_understood_are_told(tmp_path, files, message):
    with pytest.raises(SmallBigError, match=message):
        read_split(DataSpec(make_folders(tmp_path, *files)))


@pytest.mark.parametrize("second", ["a.mp4", "./a.mp4", "sub/../a.mp4", "link.mp4", "linked/a.mp4", "hard_a.mp4"])
def test_a_file_is_never_on_both_sides(tmp_path, capsys, second):
    make_folders(tmp_path / "data", "a.mp4", "b.mp4", "c.mp4", "sub/x")
    (tmp_path / "data/link.mp4").symlink_to("a.mp4")
    (tmp_path / "data/hard_a.mp4").hardlink_to(tmp_path / "data/a.mp4")
    (tmp_path / "data/linked").symlink_to(tmp_path / "data")
    (tmp_path / "data/train.csv").write_text("path,label\na.mp4,x\nb.mp4,y\n")
    (tmp_path / "data/val.csv").write_text(f"path,label\n{second},x\nc.mp4,y\n")
    train, val = read_split(DataSpec(str(tmp_path / "data/train.csv"), str(tmp_path / "data/val.csv")))
    assert (names(train), len(val)) == (["b.mp4"], 2)
    err = capsys.readouterr().err
    [left_out, without_videos] = err.splitlines()
    assert "left 1 videos out of training" in left_out and "a.mp4" in left_out
    assert 'no video to train on, so every answer for them will be wrong: "x"' in without_videos


@pytest.mark.parametrize("spelling", ["{}", "./{}", "link_{}"])
def test_a_list_with_each_video_twice_is_split_by_files(tmp_path, capsys, spelling):
    videos = [f"{label}{i}.mp4" for label in "xy" for i in range(10)]
    make_folders(tmp_path, *videos)
    for video in videos:
        (tmp_path / f"link_{video}").symlink_to(video)
    rows = "".join(f"{video},{video[0]}\n{spelling.format(video)},{video[0]}\n" for video in videos)
    (tmp_path / "all.csv").write_text(f"path,label\n{rows}")
    train, val = read_split(DataSpec(str(tmp_path / "all.csv")))
    files = [{os.path.realpath(path) for path in part.paths} for part in (train, val)]
    assert (len(train), len(val)) == (16, 4) and not files[0] & files[1]
    assert "left out 20 rows" in capsys.readouterr().err


def test_training_on_what_is_validated_with_is_refused(tmp_path):
    make_folders(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "all.csv").write_text("path,label\na.mp4,x\nb.mp4,y\n")
    with pytest.raises(SmallBigError, match="all videos to train on are also among"):
        read_split(DataSpec(str(tmp_path / "all.csv"), str(tmp_path / "all.csv")))


def test_selections_that_overlap(tmp_path, capsys):
    make_folders(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    (tmp_path / "all.csv").write_text("path,label,fold\na.mp4,x,0\nb.mp4,y,1\nc.mp4,x,2\n")
    train, val = read_split(DataSpec(str(tmp_path / "all.csv"), select="fold=0,1", val_select="fold=1,2"))
    assert (names(train), names(val)) == (["a.mp4"], ["b.mp4", "c.mp4"])
    assert "left 1 videos out of training" in capsys.readouterr().err


def test_indices_that_count_from_1(tmp_path):
    make_folders(tmp_path, *(f"{i}.mp4" for i in range(1, 7)))
    (tmp_path / "list.txt").write_text("".join(f"{i}.mp4 {(i + 1) // 2}\n" for i in range(1, 7)))
    with pytest.raises(SmallBigError, match="class indices count from 1 to 3"):
        read_split(DataSpec(str(tmp_path / "list.txt")))
    (tmp_path / "classInd.txt").write_text("1 run\n2 walk\n3 fall\n")
    spec = DataSpec(str(tmp_path / "list.txt"), classes=str(tmp_path / "classInd.txt"), val_fraction=0.5)
    train, val = read_split(spec)
    assert train.classes == ["run", "walk", "fall"] and train.labels.tolist() == val.labels.tolist() == [0, 1, 2]


def test_a_group_is_one_by_any_spelling(tmp_path):
    make_folders(tmp_path, *(f"{i}.mp4" for i in range(8)))
    groups = ["caf\u00e9", "cafe\u0301 ", "b", "b ", "c", "c", "d", "d"]
    rows = "".join(f"{i}.mp4,{'xy'[i % 2]},{group}\n" for i, group in enumerate(groups))
    (tmp_path / "set.csv").write_text(f"path,label,source\n{rows}", encoding="utf-8")
    for seed in range(4):
        train, val = read_split(DataSpec(str(tmp_path / "set.csv"), val_fraction=0.3, group_column="source", split_seed=seed))
        assert not set(train.columns["source"]) & set(val.columns["source"]) and len(val) == 2
    assert len(read_split(DataSpec(str(tmp_path / "set.csv"), val_select="source=cafe\u0301"))[1]) == 2


@pytest.mark.parametrize(("videos", "expected"), [(10, ""), (11, '"a" has 11 training videos, and "b" has 1')])
def test_more_than_ten_to_one_is_a_warning(capfd, videos, expected):
    labels = np.array([0] * videos + [1] + [3] * 5)
    note_imbalance(Annotations(np.array([f"{i}.mp4" for i in range(len(labels))]), labels, ["a", "b", "empty", "c"]))
    said = capfd.readouterr().err
    assert (expected in said) if expected else not said


@pytest.mark.parametrize(
    ("files", "settings", "expected"),
    [
        (
            ["train/a/1.mp4", "train/b/2.mp4", "train/c/3.mp4", "val/c/4.mp4"],
            {},
            '2 of 3 classes have no video to validate on, so nothing will be known of how well they are recognised: "a", "b"',
        ),
        (["a/1.mp4", *(f"b/{i}.mp4" for i in range(5))], {"val_fraction": 0.4}, "no video to validate on"),
        (["train/a/1.mp4", "val/a/2.mp4"], {}, ""),
    ],
)
def test_classes_that_one_part_lacks_are_named(tmp_path, capfd, files, settings, expected):
    read_split(DataSpec(make_folders(tmp_path, *files), **settings))
    said = capfd.readouterr().err
    assert (expected in said) if expected else not said


def test_a_class_that_only_the_held_out_rows_have_is_named(tmp_path, capfd):
    make_folders(tmp_path, "1.mp4", "2.mp4", "3.mp4")
    (tmp_path / "list.csv").write_text("path,label,fold\n1.mp4,a,0\n2.mp4,b,0\n3.mp4,c,1\n")
    read_split(DataSpec(str(tmp_path / "list.csv"), val_select="fold=1"))
    said = capfd.readouterr().err
    assert '1 of 3 classes have no video to train on, so every answer for them will be wrong: "c"' in said


def test_one_clip_a_class_is_too_few_to_hold_some_out(tmp_path):
    root = make_folders(tmp_path, "a/1.mp4", "b/2.mp4", "c/3.mp4")
    with pytest.raises(SmallBigError, match="leaves no video to validate on, because each class has one video") as caught:
        read_split(DataSpec(root))
    assert caught.value.where == "data.val_fraction 0.2"


def test_an_empty_class_folder_is_named_and_is_no_class(tmp_path, capfd):
    root = make_folders(tmp_path, *(f"{label}/{i}.mp4" for label in "ab" for i in range(5)))
    (tmp_path / "empty").mkdir()
    train, _ = read_split(DataSpec(root))
    assert train.classes == ["a", "b"]
    assert "1 folders hold no videos and are no classes: empty (no files)" in capfd.readouterr().err
