"""A folder with one folder of videos for each class, which may stand in `train` and `val` folders."""

from __future__ import annotations

from pathlib import Path

from smallbignet.data.annotations import Annotations
from smallbignet.data.folders import find_videos
from smallbignet.data.formats.base import Format, annotate, sort_names
from smallbignet.data.options import DataSource


class ClassFolders(Format):
    """The videos, files or folders of frames, lie at any depth in the folder of their class."""

    def recognises(self, path: Path, source: DataSource) -> bool:
        return path.is_dir()

    def read(self, path: Path, source: DataSource) -> Annotations:
        folders = sorted(entry for entry in path.iterdir() if entry.is_dir())
        pairs = [(str(video), folder.name) for folder in folders for video in find_videos(folder, source.filename_tmpl)]
        names = [name for _, name in pairs]
        return annotate([video for video, _ in pairs], names, sort_names(names))

    def find_part(self, folder: Path, part: str) -> Path | None:
        return folder / part if (folder / "train").is_dir() and (folder / "val").is_dir() else None
