"""One walk over a folder of videos, which every command uses, and what it takes for a video."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from smallbignet.data.containers import VIDEO_EXTENSIONS
from smallbignet.data.frames import frame_pattern

# What operating systems and tools leave beside one's own files, besides the names that begin with a dot; in lower case.
SYSTEM_NAMES = frozenset(
    {
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "@tmp",
        "__macosx",
        "__pycache__",
        "desktop.ini",
        "ehthumbs.db",
        "lost+found",
        "network trash folder",
        "recycled",
        "recycler",
        "system volume information",
        "temporary items",
        "thumbs.db",
        "~snapshot",
    }
)
RECOVERED = re.compile(r"found\.[0-9]{3}", re.IGNORECASE)  # what Windows' check of a disk leaves


@dataclass(frozen=True)
class Folder:
    """A folder, with the names of the folders and of the other files in it, sorted, without the hidden ones."""

    path: str
    folders: list[str]
    files: list[str]


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name belongs to the system or to a tool, and so is never data."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES or bool(RECOVERED.fullmatch(name))


def walk(path: str, enter: Callable[[str], bool] = lambda name: True) -> Iterator[Folder]:
    """Yields every folder below a path, the path itself first. Hidden files and folders are left out.

    Links to folders are followed, unless they lead to a folder that they lie in. Folders that can't be read are left out. Only
    folders are listed and no file is opened: 100,000 folders of 40 frames each take as long as 100,000 files.

    Args:
        enter: whether to look into a folder of this name.
    """
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [(path, frozenset())]  # each with the folders that it lies in
    while waiting:
        path, above = waiting.pop()
        try:
            status = os.stat(path)
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                continue
            entries = sorted((entry for entry in os.scandir(path) if _is_data(entry)), key=lambda entry: entry.name)
        except OSError:
            continue
        folders = [entry.name for entry in entries if _is_folder(entry)]
        yield Folder(path, folders, [entry.name for entry in entries if not _is_folder(entry)])
        waiting += [(os.path.join(path, name), above | {identity}) for name in reversed(folders) if enter(name)]


def _is_data(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is neither hidden nor a link to a folder that it lies in, which holds everything once more."""
    if is_hidden(entry.name):
        return False
    if not entry.is_symlink():
        return True
    place = Path(os.path.realpath(os.path.dirname(entry.path)))
    return not place.is_relative_to(os.path.realpath(entry.path))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def is_video(name: str) -> bool:
    """Whether a file is a video by its name."""
    return os.path.splitext(name)[1].lower() in VIDEO_EXTENSIONS and not is_hidden(name)


def each_video(path: str | Path, filename_tmpl: str = "") -> Iterator[Path]:
    """Yields the video files below a folder, and the folders of frames that hold no video file.

    Args:
        filename_tmpl: name of the frames in a folder, such as "img_{:05d}.jpg", where it is none of the usual ones.

    Raises:
        SmallBigError: the template is malformed.
    """
    patterns = {frame_pattern(), frame_pattern(filename_tmpl)}
    for folder in walk(str(path)):
        videos = list(filter(is_video, folder.files))
        yield from (Path(folder.path, name) for name in videos)
        if not videos and any(pattern.fullmatch(name) for name in folder.files for pattern in patterns):
            yield Path(folder.path)


def find_videos(path: str | Path, filename_tmpl: str = "") -> list[Path]:
    """All that `each_video` yields, sorted."""
    return sorted(each_video(path, filename_tmpl))


def file_identities(paths: Iterable[str]) -> list[str]:
    """What tells whether paths are of the same file, by any spelling or link. Looks at each file once.

    Files that are not there are told apart by their real paths.
    """
    return list(map(_identity, paths))


def _identity(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return f"{status.st_dev}:{status.st_ino}" if status.st_ino else os.path.realpath(path)
