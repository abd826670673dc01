"""That a folder per class gives every video its class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smallbignet.data.annotations import Annotations, to_csv
from smallbignet.data.options import DataSource
from smallbignet.data.source import find_files, read_annotations, read_part
from smallbignet.errors import SmallBigError


def make(folder: Path, *names: str) -> None:
    """Empty files: annotations are read without opening a video."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def rows(annotations: Annotations) -> list[tuple[str, str]]:
    return [(Path(p).name, annotations.classes[i]) for p, i in zip(annotations.paths, annotations.labels, strict=True)]


def test_folder_per_class_takes_videos_at_any_depth_and_nothing_else(tmp_path):
    make(
        tmp_path, "run/b.mp4", "run/sub folder/a.AVI", "box/1.webm", "box/._1.webm", "box/notes.txt", "loose.mp4", "none/x.txt"
    )
    found = read_annotations(tmp_path)
    assert found.classes == ["box", "run"]
    assert rows(found) == [("1.webm", "box"), ("b.mp4", "run"), ("a.AVI", "run")]
    # arrays, not lists: Python objects would be copied into every forked worker by their reference counts
    assert found.paths.dtype.kind == "U" and found.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["10", "9", "2"], ["2", "9", "10"]),  # numerically, and no class for the numbers between
        (["02", "10", "01"], ["01", "02", "10"]),
        (["10", "9", "b"], ["10", "9", "b"]),
    ],
)
def test_folders_named_by_numbers(tmp_path, names, classes):
    make(tmp_path, *(f"{name}/{name}.mp4" for name in names))
    found = read_annotations(tmp_path)
    assert found.classes == classes
    assert all(path == f"{label}.mp4" for path, label in rows(found))


def test_folder_per_class_takes_folders_of_frames(tmp_path):
    make(tmp_path, "run/1/img_00001.jpg", "run/1/img_00002.jpg", "run/deep/2/000000.png", "box/3/frame_000001.jpg", "box/4.mp4")
    make(tmp_path, "box/00001.jpg", "none/poster.jpg")  # a picture beside videos, and one that is no frame
    assert rows(read_annotations(tmp_path)) == [("3", "box"), ("4.mp4", "box"), ("1", "run"), ("2", "run")]


def test_folders_of_frames_with_other_names(tmp_path):
    make(tmp_path, "run/1/f1.webp", "run/2/img_00001.jpg", "box/3/f0.webp", "box/4/g1.webp")
    found = read_annotations(tmp_path, DataSource(filename_tmpl="f{}.webp"))
    assert rows(found) == [("3", "box"), ("1", "run"), ("2", "run")]


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("", ["1.jpg", "10.jpg", "9.jpg"]),
        ("", ["IMG_0007.JPG", "IMG_0008.JPG"]),
        ("", ["frame_12.webp", "frame_13.webp"]),
        ("", ["00001.tif"]),
        ("f{}.jpg", ["f9.jpg", "f10.jpg"]),
        ("f{:03d}.jpg", ["F007.JPG", "F1000.JPG"]),
        ("shot 1 {:d} left.png", ["shot 1 0 left.png"]),
    ],
)
def test_folders_of_frames_with_odd_names(tmp_path, template, names):
    make(tmp_path, *(f"run/1/{name}" for name in names), *(f"box/deep/2/{name}" for name in names), "box/3/poster.jpg")
    found = read_annotations(tmp_path, DataSource(filename_tmpl=template))
    assert rows(found) == [("2", "box"), ("1", "run")]


SYSTEM_FOLDERS = [
    ".git",
    ".ipynb_checkpoints",
    "@eaDir",
    "lost+found",
    "__MACOSX",
    ".Trash-1000",
    "$RECYCLE.BIN",
    "System Volume Information",
    "#recycle",
    ".dvc",
    "Network Trash Folder",
    "FOUND.000",
    "~snapshot",
]


@pytest.mark.parametrize("name", SYSTEM_FOLDERS)
def test_hidden_and_system_folders_are_never_data(tmp_path, name):
    make(tmp_path, "run/a.mp4", "walk/b.mp4", "walk/2/img_00001.jpg", "run/._a.mp4", "walk/Thumbs.db")
    make(tmp_path, f"{name}/a.mp4", f"run/{name}/a.mp4", f"walk/2/{name}/img_00001.jpg", f"{name}/x/3/img_00001.jpg")
    make(tmp_path, f"walk/deep/{name}/d/b.mp4", f"{name}/train/a.mp4", f"{name}/test/a.mp4", "run/f/._img_00001.jpg")
    found = read_annotations(tmp_path)
    assert found.classes == ["run", "walk"]
    assert rows(found) == [("a.mp4", "run"), ("2", "walk"), ("b.mp4", "walk")]
    assert find_files([str(tmp_path)]) == found.paths.tolist()
    by_pattern = find_files([f"{tmp_path}/**/*.mp4"])
    assert by_pattern == [path for path in found.paths.tolist() if path.endswith(".mp4")]


def test_a_hidden_folder_that_is_named_is_read(tmp_path):
    make(tmp_path, ".data/run/a.mp4", ".data/walk/b.mp4")
    assert len(read_annotations(tmp_path / ".data")) == len(find_files([f"{tmp_path}/.data/*/*.mp4"])) == 2


@pytest.mark.parametrize(
    "suffix", "qt 3g2 f4v mxf m1v mpe divx rm rmvb y4m h264 hevc ogm wtv m2t MP4 dv ivf mk3d mod tod lrv insv mp4v trp".split()
)
def test_every_suffix_of_a_video_makes_a_class(tmp_path, suffix):
    make(tmp_path, f"run/a.{suffix}", "walk/b.mp4")
    assert rows(read_annotations(tmp_path)) == [(f"a.{suffix}", "run"), ("b.mp4", "walk")]


def test_folders_without_videos_and_loose_videos_are_named(tmp_path, capsys):
    make(tmp_path, "run/a.mp4", "walk/b.mp4", "odd/x.braw", "odd/sub/y.braw", "loose.mp4")
    (tmp_path / "empty").mkdir()
    assert read_annotations(tmp_path).classes == ["run", "walk"]
    err = capsys.readouterr().err.splitlines()
    assert err == [
        f"{tmp_path}: left out 1 videos that are in no class folder, such as {tmp_path}/loose.mp4",
        f"{tmp_path}: 2 folders hold no videos and are no classes: empty (no files), odd (2 files, such as x.braw)",
    ]


@pytest.mark.parametrize("names", [["a.mp4", "b.mp4"], ["clip1/img_00001.jpg", "clip2/img_00001.jpg"]])
def test_videos_without_class_folders(tmp_path, names):
    make(tmp_path, *names)
    with pytest.raises(SmallBigError, match="its 2 videos are in no class folder"):
        read_annotations(tmp_path)


def test_class_names_of_folders_have_one_spelling(tmp_path):
    make(tmp_path, "caf\u00e9/a.mp4", "cafe\u0301/b.mp4", "run /c.mp4", "run/d.mp4")
    assert read_annotations(tmp_path).classes == ["caf\u00e9", "run"]


@pytest.mark.parametrize(
    "frame", ["img_{}.jpg", "{}.JPG", "{:05d}.webp", "frame{:06d}.jpeg", "IMG_{:04d}.PNG", "image_{:05d}.bmp", "img{:03d}.jpg"]
)
@pytest.mark.parametrize("first", [0, 1, 37])
def test_frames_of_any_usual_name_are_found(tmp_path, frame, first):
    make(tmp_path, *(f"{label}/clip/{frame.format(first + i)}" for label in ("run", "walk") for i in range(2)))
    assert rows(read_annotations(tmp_path)) == [("clip", "run"), ("clip", "walk")]
    assert find_files([str(tmp_path)]) == [str(tmp_path / "run/clip"), str(tmp_path / "walk/clip")]


@pytest.mark.parametrize("linked_root", [False, True])
def test_linked_class_folders(tmp_path, linked_root):
    make(tmp_path, "elsewhere/run/a.mp4", "elsewhere/walk/c.mp4", "data/fall/b.mp4")
    for name in ("run", "walk"):
        (tmp_path / "data" / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "data/fall/loop").symlink_to(tmp_path / "data")
    (tmp_path / "root").symlink_to(tmp_path / "data")
    root = tmp_path / ("root" if linked_root else "data")
    found = read_annotations(root)
    assert rows(found) == [("b.mp4", "fall"), ("a.mp4", "run"), ("c.mp4", "walk")]
    assert find_files([str(root)]) == found.paths.tolist()


def test_a_file_with_two_classes_by_links(tmp_path):
    make(tmp_path, "run/a.mp4", "walk/b.mp4")
    (tmp_path / "walk/c.mp4").symlink_to(tmp_path / "run/a.mp4")
    with pytest.raises(SmallBigError, match='are one file with two classes, "run" and "walk"'):
        read_part(tmp_path, "train")


def test_a_folder_around_the_class_folders_is_named(tmp_path, capsys):
    make(tmp_path, "UCF-101/run/a.mp4", "UCF-101/walk/b.mp4")
    assert read_annotations(tmp_path).classes == ["UCF-101"]
    assert "if its 2 folders are the classes (run, ...), name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("one", "other"), [("Run", "run"), ("no  fight", "no fight"), ("no\u00a0fight", "no fight"), ("run\u200b", "run")]
)
def test_classes_with_nearly_the_same_name_are_named(tmp_path, capsys, one, other):
    make(tmp_path, f"{one}/a.mp4", f"{other}/b.mp4", "box/c.mp4")
    assert len(read_part(tmp_path, "train").classes) == 3
    assert "are two classes whose names are nearly the same" in capsys.readouterr().err


@pytest.mark.parametrize("names", [("fold1", "fold2"), ("Split_1", "Split_2"), ("cv-01", "cv-02")])
def test_folds_are_no_classes(tmp_path, names):
    make(tmp_path, *(f"{fold}/{label}/{fold}.mp4" for fold in names for label in ("run", "walk")))
    with pytest.raises(SmallBigError, match=f"look like folds of a data set \\({', '.join(names)}\\), which hold the classes"):
        read_annotations(tmp_path)


def test_classes_may_have_the_names_of_folds(tmp_path):
    make(tmp_path, "fold1/a.mp4", "fold2/b.mp4", "fold2/clip/img_00001.jpg")
    assert read_annotations(tmp_path).classes == ["fold1", "fold2"]


@pytest.mark.parametrize(
    ("files", "is_noted"),
    [
        (["ann/run/1.mp4", "ann/walk/2.mp4", "bob/run/3.mp4", "bob/walk/4.mp4"], True),
        (["run/v1/img_00001.jpg", "run/v2/img_00001.jpg", "walk/v1/img_00001.jpg", "walk/v2/img_00001.jpg"], False),
        (["run/ann/1.mp4", "run/bob/2.mp4", "walk/cid/3.mp4", "walk/dee/4.mp4"], False),
    ],
)
def test_folders_of_the_same_names_in_every_class_are_named(tmp_path, capsys, files, is_noted):
    make(tmp_path, *files)
    assert len(read_annotations(tmp_path).classes) == 2
    assert ("ann, bob are the classes, and each holds the folders run, walk" in capsys.readouterr().err) == is_noted


def test_a_class_with_a_semicolon_in_its_name_is_one_class(tmp_path):
    make(tmp_path, "run;jump/a.mp4", "walk/b.mp4")
    given = read_annotations(tmp_path)
    (tmp_path / "clean.csv").write_text(to_csv(given, tmp_path))
    found = read_annotations(tmp_path / "clean.csv")
    assert found.classes == ["run;jump", "walk"] and rows(found) == rows(given)
