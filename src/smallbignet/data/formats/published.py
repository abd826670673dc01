"""Data sets as their owners publish them: annotation files that name videos, and the videos somewhere in a folder.

A folder holds such a data set if it holds one of its annotation files, by name and content, at the top or in a folder such as
`annotations`. The videos are searched in the whole folder by their names: in one folder or many (a folder per class, train and
val), with any suffix of a video (they may have been re-encoded), or as folders of frames.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smallbignet.data.annotations import Annotations, read_classes, read_text
from smallbignet.data.folders import is_video, walk
from smallbignet.data.formats.base import Format, annotate
from smallbignet.data.options import DataSource
from smallbignet.errors import SmallBigError
from smallbignet.utils.console import note

# Folders that annotation files may lie in, within the data set's own.
ANNOTATION_FOLDERS = re.compile("annot|label|list|kinetics|something", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """What an annotation file says of one video.

    Attributes:
        place: where in the file, such as "line 7".
        video: the video's name without suffix.
        label: its class.
    """

    place: str
    video: str
    label: str


@dataclass(frozen=True)
class PublishedDataSet(Format):
    """One of these data sets.

    Attributes:
        name: as people say it.
        classes: the shipped class list, used where there is no file of labels.
        parts: the names that annotation files of "train" and of "val" have.
        head: how an annotation file starts, a regular expression.
        video: a video's name without suffix, likewise.
        read_entries: reads an annotation file.
        labels: the names that the file of class names has.
        read_labels: reads that file: the class names in the order of their indices.
    """

    name: str
    classes: str
    parts: dict[str, tuple[str, ...]]
    head: str
    video: str
    read_entries: Callable[[Path], Iterator[Entry]]
    labels: tuple[str, ...] = field(default=())
    read_labels: Callable[[Path], list[str]] = read_classes

    def recognises(self, path: Path, source: DataSource) -> bool:
        return self._wrote(path)

    def find_part(self, folder: Path, part: str) -> Path | None:
        inner = sorted(entry.name for entry in os.scandir(folder) if ANNOTATION_FOLDERS.search(entry.name) and entry.is_dir())
        found = {name: self._find_files(folder, ["", *inner], files) for name, files in self.parts.items()}
        if not any(found.values()):
            return None
        if not found[part]:
            raise SmallBigError(f"this is {self.name} without its {' or '.join(self.parts[part])}, which belongs here", folder)
        return found[part][0]

    def read(self, path: Path, source: DataSource) -> Annotations:
        """Reads an annotation file. Listed videos that are not on disk change accuracies, so they are counted and named."""
        classes, listed_in = self._read_classes(path.parent)
        known = set(classes)
        root = source.root or str(path.parent)
        videos = self._find_videos(root)
        paths, labels, missing = [], [], []
        for entry in self.read_entries(path):
            if entry.label not in known:
                what = f'{entry.place}, video {entry.video}: "{entry.label}" is none of the {len(known)} classes of {listed_in}'
                raise SmallBigError(what, path)
            if entry.video in videos:
                paths.append(videos[entry.video])
                labels.append(entry.label)
            else:
                missing.append(entry.video)
        listed = len(paths) + len(missing)
        names = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        if not paths:
            raise SmallBigError(f"none of its {listed} videos is below {root} ({names})", path)
        if missing:
            note(f"{path.name}: {len(paths)} of {listed} videos found, {len(missing)} missing: {names}")
        return annotate(paths, labels, classes, missing=len(missing))

    def _wrote(self, file: Path) -> bool:
        """Whether a file is one of this data set's annotation files, by how it or its name starts."""
        if file.suffix.lower() not in (".csv", ".json") or not file.is_file():
            return False
        own_name = self.name.lower().replace(" ", "-")  # "something-something-v2", which tells a broken file, too
        return bool(re.match(self.head, read_text(file)[:10_000])) or file.name.startswith(own_name)

    def _find_files(self, folder: Path, inner: Sequence[str], names: Sequence[str]) -> list[Path]:
        """Annotation files of some names in some folders within one."""
        files = [folder / place / name for name in names for place in inner]
        return [file for file in files if self._wrote(file)]

    def _read_classes(self, folder: Path) -> tuple[list[str], str]:
        """The classes in the order of their indices, and where they stand: a file beside the annotations, or a shipped list."""
        for name in self.labels:
            if (folder / name).is_file():
                return self.read_labels(folder / name), str(folder / name)
        return read_classes(self.classes), f"the shipped list {self.classes}"

    def _find_videos(self, root: str) -> dict[str, str]:
        """The paths below a folder by their names without suffix: video files, and folders of frames."""
        is_frames = re.compile(self.video).fullmatch
        found: dict[str, str] = {}
        for folder in walk(root, enter=lambda name: not is_frames(name)):
            for name in [*filter(is_video, folder.files), *filter(is_frames, folder.folders)]:
                found.setdefault(os.path.splitext(name)[0], os.path.join(folder.path, name))
        return found


def without_brackets(label: str) -> str:
    """A label as the lists of classes have it, from a template such as "Opening [something]"."""
    return re.sub(r"[\[\]]", "", label).strip()


def read_json(file: Path) -> Any:
    """The content of a .json file.

    Raises:
        SmallBigError: it is none; names the line.
    """
    try:
        return json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise SmallBigError(f"line {error.lineno}, column {error.colno} is no JSON: {error.msg}", file) from error
