"""What a path stands for, and which videos are there: every command reads its data through this module."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from glob import glob
from pathlib import Path

import numpy as np

from smallbignet.data.annotations import Annotations, read_numbered_classes
from smallbignet.data.folders import file_identities, find_videos, is_hidden
from smallbignet.data.formats import FORMATS
from smallbignet.data.formats.published import read_json
from smallbignet.data.options import DataSource, VideoOptions
from smallbignet.errors import SmallBigError
from smallbignet.utils.console import note

LIST_SUFFIXES = frozenset({".csv", ".json", ".txt"})  # of the files that tell the classes of videos


def read_part(
    path: str | Path, part: str, source: DataSource = DataSource(), classes: Sequence[str] | None = None
) -> Annotations:
    """Reads the part of a data set to train or to validate on; one without parts is read whole.

    Each file has one row: further rows, by any spelling or link, are left out, and their number is printed.

    Args:
        path: Kinetics-400 or Something-Something as their owners publish them; a folder with a folder of videos for each class,
            or with folders for its parts, such as `train` and `val`; a .csv file with a header; or a list (see `formats`).
        part: "train" or "val".
        classes: class names in the order that labels are wanted in, such as a model's; else the data set's own.

    Raises:
        SmallBigError: names the file, and the line where there is one: it can't be read, it has no such part, a class is not
            among those wanted, a file has two classes, or none of the videos is on disk.
    """
    if not source.root and Path(path).is_dir():
        source = replace(source, root=str(path))
    place = find_part(path, part)
    found = read_annotations(place, source, classes)
    if not any(map(os.path.exists, found.paths)):  # one look at the disk, where all is well
        what = f"none of its {len(found)} videos is on disk, the first is {found.paths[0]}; root names their folder"
        raise SmallBigError(what, place)
    _note_similar_classes(found, place)
    return _one_row_for_each(found, place)


def _note_similar_classes(found: Annotations, where: Path) -> None:
    """Names two classes that look like one with two spellings."""
    known: dict[str, str] = {}
    for label in np.flatnonzero(found.counts()):
        name = found.classes[label]
        visible = "".join(sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) != "Cf")
        other = known.setdefault(" ".join(visible.casefold().split()), name)
        if other != name:
            note(f'{where}: "{other}" and "{name}" are two classes whose names are nearly the same')


def _one_row_for_each(found: Annotations, where: Path) -> Annotations:
    """The annotations with one row for each file."""
    files = file_identities(found.paths.tolist())
    first: dict[str, int] = {}
    firsts = np.array([first.setdefault(file, row) for row, file in enumerate(files)])
    repeated = np.flatnonzero(firsts != np.arange(len(firsts)))
    if not len(repeated):
        return found
    for row in repeated:
        one, other = (";".join(found.names(which)) for which in (int(firsts[row]), int(row)))
        if one != other:
            what = f'{found.paths[firsts[row]]} and {found.paths[row]} are one file with two classes, "{one}" and "{other}"'
            raise SmallBigError(what, where)
    note(f"{where}: left out {len(repeated)} rows with a file that another row has, such as {found.paths[repeated[0]]}")
    return found.subset(np.array(sorted(first.values())))


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
        frames = f", and no folders with frames named {source.filename_tmpl}" if source.filename_tmpl else ""
        raise SmallBigError(f"no videos in this data set{frames}", path)
    if source.classes:
        names, first = read_numbered_classes(source.classes)
        if first == 1 and not any(map(str.isdecimal, names)):
            found = _count_from_zero(found, len(names), path)
        found = found.with_classes(names, path)
    return found if classes is None else found.with_classes(classes, path)


def _count_from_zero(found: Annotations, count: int, where: Path) -> Annotations:
    """Numbers from 0 for labels whose class names are numbered from 1, unless they are from 0 already, or no numbers."""
    used = [found.classes[label] for label in np.flatnonzero(found.counts())]
    if not all(map(str.isdecimal, used)) or min(map(int, used)) == 0:
        return found
    if max(map(int, used)) != count:
        what = f"the class names are numbered from 1 to {count}, and these labels could be counted from 0 or from 1"
        raise SmallBigError(f"{what}; give the names, in a .csv file with the columns path and label", where)
    classes = [str(int(name) - 1) if name.isdecimal() else name for name in found.classes]
    return replace(found, classes=classes)


def find_files(names: Iterable[str], options: VideoOptions = VideoOptions()) -> list[str]:
    """The videos that names stand for: files themselves, folders (all videos below), and glob patterns; each once.

    A name that stands for nothing is kept among the others; opening it says that there is no such file.

    Raises:
        SmallBigError: all of the names stand for nothing.
    """
    found: dict[str, str] = {}
    names = list(names)
    nothing = []
    for name in names:
        places = [name] if os.path.exists(name) else _match(name)
        matches = [video for place in places for video in _videos_at(place, options)]
        if not matches:
            nothing.append(name)
        for video in matches or [name]:
            folder, file = os.path.split(video)
            found.setdefault(os.path.join(os.path.realpath(folder), file), video)
    if nothing and nothing == names:
        raise SmallBigError("no video of this name", ", ".join(nothing))
    return list(found.values())


def _match(pattern: str) -> list[str]:
    """The files and folders that a glob pattern stands for, without hidden ones that it does not name."""
    named = Path(pattern).parts
    return [
        path
        for path in sorted(glob(pattern, recursive=True))
        if not any(is_hidden(p) and p not in named for p in Path(path).parts)
    ]


def _videos_at(place: str, options: VideoOptions) -> list[str]:
    if os.path.isdir(place):
        return [str(video) for video in find_videos(place, options.filename_tmpl)]
    return [place]
