"""The walk that every verb finds its videos by."""

from __future__ import annotations

import os
from pathlib import Path

from smallbignet.data.folders import find_videos, walk


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_links_to_folders_are_followed_and_loops_end(tmp_path):
    make(tmp_path, "elsewhere/run/a.mp4", "data/box/b.mp4")
    (tmp_path / "data/run").symlink_to(tmp_path / "elsewhere/run")
    (tmp_path / "data/box/all").symlink_to(tmp_path / "data")  # leads to a folder that it lies in
    (tmp_path / "elsewhere/run/boxes").symlink_to(tmp_path / "data/box")  # and these two to each other
    (tmp_path / "data/gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "data/self").symlink_to(tmp_path / "data/self")
    data = tmp_path / "data"
    found = [path.relative_to(data).as_posix() for path in find_videos(data)]
    assert found == ["box/b.mp4", "run/a.mp4", "run/boxes/b.mp4"]
    assert find_videos(tmp_path / "nowhere") == []


def test_folders_that_are_not_entered_are_not_listed(tmp_path, monkeypatch):
    make(tmp_path, "a/1.mp4", "b/2.mp4")
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(Path(path).name) or scandir(path))
    folders = list(walk(str(tmp_path), enter=lambda name: name != "b"))
    assert [folder.files for folder in folders] == [[], ["1.mp4"]] and folders[0].folders == ["a", "b"]
    assert listed == [tmp_path.name, "a"]


def test_links_to_a_folder_that_they_lie_in_are_no_folders(tmp_path):
    make(tmp_path, "set/run/a.mp4", "elsewhere/walk/b.mp4", "elsewhere/c.mp4")
    (tmp_path / "set/walk").symlink_to(tmp_path / "elsewhere/walk")
    (tmp_path / "set/up").symlink_to("..")  # out of the folder that is read
    (tmp_path / "set/all").symlink_to(tmp_path / "set")
    (tmp_path / "elsewhere/walk/up").symlink_to("..")  # by its real place
    data = tmp_path / "set"
    assert [path.relative_to(data).as_posix() for path in find_videos(data)] == ["run/a.mp4", "walk/b.mp4"]
    assert [folder.folders for folder in walk(str(data))] == [["run", "walk"], [], []]
