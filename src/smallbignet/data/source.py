"""The front door of the data: what a path stands for, and which videos are there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from glob import glob
from pathlib import Path

from smallbignet.data.annotations import Annotations, read_classes
from smallbignet.data.folders import find_videos
from smallbignet.data.formats import FORMATS
from smallbignet.data.formats.published import read_json
from smallbignet.data.options import DataSource, VideoOptions
from smallbignet.errors import SmallBigError

LIST_SUFFIXES = frozenset({".csv", ".json", ".txt"})  # of the files that tell the classes of videos


def read_part(
    path: str | Path, part: str, source: DataSource = DataSource(), classes: Sequence[str] | None = None
) -> Annotations:
    """Reads the part of a data set to train or to validate on; one without parts is read whole.

    Args:
        path: Kinetics-400 or Something-Something as their owners publish them; a folder with a folder of videos for each class,
            or with `train` and `val` folders of this kind; a .csv file with a header; or a list (see `formats`).
        part: "train" or "val".
        classes: class names in the order that labels are wanted in, such as a model's; else the data set's own.

    Raises:
        SmallBigError: names the file, and the line where there is one: it can't be read, it has no such part, a class is not
            among those wanted, or none of the videos is on disk.
    """
    if not source.root and Path(path).is_dir():
        source = replace(source, root=str(path))
    place = find_part(path, part)
    found = read_annotations(place, source, classes)
    if not any(map(os.path.exists, found.paths)):  # one look at the disk, where all is well
        what = f"none of its {len(found)} videos is on disk, the first is {found.paths[0]}; root names their folder"
        raise SmallBigError(what, place)
    return found


def find_part(path: str | Path, part: str) -> Path:
    """The file or folder that holds a part of a data set; the path itself if the data set has no parts.

    Raises:
        SmallBigError: the data set has parts, but not this one.
    """
    path = Path(path)
    parts = (form.find_part(path, part) for form in FORMATS) if path.is_dir() else ()
    return next(filter(None, parts), path)


def read_annotations(path: str | Path, source: DataSource = DataSource(), classes: Sequence[str] | None = None) -> Annotations:
    """Reads one file or folder in the form that it has; arguments and errors as of `read_part`."""
    path = Path(path)
    form = next((form for form in FORMATS if form.recognises(path, source)), None)
    if form is None and path.suffix.lower() == ".json" and path.is_file():
        read_json(path)  # a broken file is told as such
        what = "no annotations of Something-Something V2 (a list of entries with id and template), all of .json that is read"
        raise SmallBigError(what, path)
    if form is None:
        raise SmallBigError("no such data set: expected a folder with a folder per class, a .csv file or a list", path)
    found = form.read(path, source)
    if not len(found):
        raise SmallBigError("no videos in this data set", path)
    if source.classes:
        found = found.with_classes(read_classes(source.classes), path)
    return found if classes is None else found.with_classes(classes, path)


def find_files(names: Iterable[str], options: VideoOptions = VideoOptions()) -> list[str]:
    """The videos that names stand for: files themselves, folders (all videos below), glob patterns; each once.

    A name that stands for nothing is kept beside the others; opening it says that there is no such file.

    Raises:
        SmallBigError: all of the names stand for nothing.
    """
    found: dict[str, None] = {}
    names = list(names)
    nothing = []
    for name in names:
        if Path(name).is_file():
            matches = [name]
        elif Path(name).is_dir():
            matches = [str(path) for path in find_videos(name, options.filename_tmpl)]
        else:
            matches = sorted(path for path in glob(name, recursive=True) if Path(path).is_file())
        if not matches:
            nothing.append(name)
        found |= dict.fromkeys(matches or [name])
    if nothing and nothing == names:
        raise SmallBigError("no video of this name", ", ".join(nothing))
    return list(found)
