"""One walk over a folder of videos, for every verb, and what it takes for a video."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from smallbignet.data.frames import first_frames
from smallbignet.data.video import VIDEO_EXTENSIONS


@dataclass(frozen=True)
class Folder:
    """A folder, with the names of the folders and of the other files in it, sorted."""

    path: str
    folders: list[str]
    files: list[str]


def walk(
    path: str, enter: Callable[[str], bool] = lambda name: True, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[Folder]:
    """Every folder below a path, itself first. Links to folders are followed, unless they lead to a folder that they lie in.

    What can't be read, such as lost+found, is left out. Only folders are listed, no file is looked at: 100,000 folders of 40
    frames each take as long as 100,000 files.

    Args:
        enter: whether to look into a folder of this name.
        above: device and inode of the folders that this one lies in.
    """
    try:
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            return
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError:
        return
    folders = [entry.name for entry in entries if _is_folder(entry)]
    yield Folder(path, folders, [entry.name for entry in entries if not _is_folder(entry)])
    for name in filter(enter, folders):
        yield from walk(os.path.join(path, name), enter, above | {identity})


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def is_video(name: str) -> bool:
    """Whether a file is a video by its name. Files named "._x.mp4" and the like, which macOS leaves, are none."""
    return os.path.splitext(name)[1].lower() in VIDEO_EXTENSIONS and not name.startswith(".")


def find_videos(path: str | Path, filename_tmpl: str = "") -> list[Path]:
    """The video files below a folder, and the folders of frames that hold no video file, sorted.

    Args:
        filename_tmpl: name of the frames in a folder, such as "img_{:05d}.jpg", where it is none of the usual ones.
    """
    first = first_frames(filename_tmpl)
    found: list[Path] = []
    for folder in walk(str(path)):
        videos = list(filter(is_video, folder.files))
        found += [Path(folder.path, name) for name in videos]
        if not videos and not first.isdisjoint(folder.files):
            found.append(Path(folder.path))
    return sorted(found)
