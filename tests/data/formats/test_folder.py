"""That a folder per class gives every video its class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smallbignet.data.annotations import Annotations
from smallbignet.data.options import DataSource
from smallbignet.data.source import read_annotations


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
