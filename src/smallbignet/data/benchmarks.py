"""Kinetics-400 and Something-Something V1 and V2, read from the files that their owners hand out.

A folder is a benchmark's if it holds one of its annotation files, by name and content, at the top or in a folder such as
`annotations`. The videos are searched in the whole folder, by the names that the annotations give them: in one folder or many
(a folder per class, train and val), with any suffix of a video (they may have been re-encoded), or as folders of frames.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smallbignet.data.annotations import Annotations, index_labels, read_annotations, read_classes, read_table, read_text
from smallbignet.data.video import VIDEO_EXTENSIONS
from smallbignet.errors import SmallBigError
from smallbignet.utils.console import console

Row = tuple[str, str, str]  # its place in the file, the video's name without suffix, the class


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as its owners hand it out.

    Attributes:
        name: as people say it.
        classes: the shipped class list, used where there is no file of labels.
        parts: names that the annotation files of "train" and "val" go by.
        labels: likewise, the file with the class names.
        head: how an annotation file starts, a regular expression.
        video: a video's name without suffix, likewise.
        read: the rows of an annotation file.
    """

    name: str
    classes: str
    parts: dict[str, tuple[str, ...]]
    labels: tuple[str, ...]
    head: str
    video: str
    read: Callable[[Path], Iterator[Row]]


def _read_kinetics(file: Path) -> Iterator[Row]:
    for line, row in read_table(file, ("label", "youtube_id", "time_start", "time_end")):
        try:
            start, end = (int(float(row[column])) for column in ("time_start", "time_end"))
        except ValueError as error:
            raise SmallBigError(f"line {line} has no times in seconds", file) from error
        yield f"line {line}", f"{row['youtube_id']}_{start:06d}_{end:06d}", row["label"]


def _read_something_v1(file: Path) -> Iterator[Row]:
    for number, line in enumerate(read_text(file).splitlines(), 1):
        name, semicolon, label = line.partition(";")
        if not semicolon:
            raise SmallBigError(f"line {number} is not `id;label`", file)
        yield f"line {number}", name.strip(), _without_brackets(label)


def _read_something_v2(file: Path) -> Iterator[Row]:
    for number, entry in enumerate(_read_json(file), 1):
        try:
            yield f"entry {number}", str(entry["id"]), _without_brackets(entry["template"])
        except (KeyError, TypeError) as error:
            raise SmallBigError(f"entry {number} has no id or no template", file) from error


def _without_brackets(label: str) -> str:
    """A label as the lists of classes have it: templates say "Opening [something]"."""
    return re.sub(r"[\[\]]", "", label).strip()


BENCHMARKS = [
    Benchmark(
        "Kinetics-400",
        classes="kinetics400",
        parts={"train": ("kinetics_train.csv", "train.csv"), "val": ("kinetics_val.csv", "val.csv", "validate.csv")},
        labels=(),
        head="(label,)?youtube_id,time_start,",
        video=r".{11}_\d{6}_\d{6}",
        read=_read_kinetics,
    ),
    Benchmark(
        "Something-Something V1",
        classes="ssv1",
        parts={"train": ("something-something-v1-train.csv",), "val": ("something-something-v1-validation.csv",)},
        labels=("something-something-v1-labels.csv",),
        head=r"\d+;",
        video=r"\d+",
        read=_read_something_v1,
    ),
    Benchmark(
        "Something-Something V2",
        classes="ssv2",
        parts={
            "train": ("something-something-v2-train.json", "train.json"),
            "val": ("something-something-v2-validation.json", "validation.json"),
        },
        labels=("something-something-v2-labels.json", "labels.json"),
        head=r'[^{]*{[^{}]*"template"',
        video=r"\d+",
        read=_read_something_v2,
    ),
]

# Folders that a benchmark's annotation files may lie in, within its own.
ANNOTATION_FOLDERS = re.compile("annot|label|list|kinetics|something", re.IGNORECASE)


def read_part(
    source: str | Path,
    part: str,
    root: str | Path | None = None,
    path_column: str = "path",
    label_column: str = "label",
    classes: Sequence[str] | None = None,
) -> Annotations:
    """Reads the part of a data set to train or to validate on: of a benchmark, or of a folder with `train` and `val` folders.

    An annotation file of a benchmark's is read as what it is, and any other data set, which has no parts, by
    `read_annotations`. Videos that a benchmark lists and that are not on disk are counted and named on standard error, since
    accuracies go by them.

    Args:
        part: "train" or "val".
        root: where a benchmark's videos are searched, and what the paths in a file are relative to; the folder of either if not
            given.
        path_column, label_column, classes: see `read_annotations`.

    Raises:
        SmallBigError: names the file, and the line where there is one; a benchmark's file for this part, or all videos, are
            missing.
    """
    file = find_part(source, part)
    if benchmark := _benchmark_of(file):
        return _read_benchmark(benchmark, file, Path(root or (source if Path(source).is_dir() else file.parent)), classes)
    if file.suffix.lower() == ".json":
        _read_json(file)
        what = "no annotations of Something-Something V2 (a list of entries with id and template), all of .json that is read"
        raise SmallBigError(what, file)
    found = read_annotations(file, root, path_column, label_column, classes)
    if not any(map(os.path.exists, found.paths)):  # one look at the disk, where all is well
        what = f"none of its {len(found)} videos is on disk, the first is {found.paths[0]}; root names their folder"
        raise SmallBigError(what, file)
    return found


def find_part(source: str | Path, part: str) -> Path:
    """Where a part of a data set is: a benchmark's annotation file, or a folder; the source itself if it has no parts.

    Raises:
        SmallBigError: a benchmark's folder has no file for this part.
    """
    source = Path(source)
    if not source.is_dir():
        return source
    inner = sorted(entry.name for entry in os.scandir(source) if ANNOTATION_FOLDERS.search(entry.name) and entry.is_dir())
    for benchmark in BENCHMARKS:
        found = {name: _find_files(source, ["", *inner], benchmark, files) for name, files in benchmark.parts.items()}
        if found[part]:
            return found[part][0]
        if any(found.values()):
            missing = " or ".join(benchmark.parts[part])
            raise SmallBigError(f"this is {benchmark.name} without its {missing}, which belongs here", source)
    return source / part if (source / "train").is_dir() and (source / "val").is_dir() else source


def _find_files(source: Path, folders: list[str], benchmark: Benchmark, names: Sequence[str]) -> list[Path]:
    """A benchmark's annotation files of some names in some of the source's folders."""
    files = [source / folder / name for name in names for folder in folders]
    return [file for file in files if _benchmark_of(file) is benchmark]


def _benchmark_of(file: Path) -> Benchmark | None:
    """The benchmark that an annotation file is of, by how it or its name starts."""
    if file.suffix.lower() not in (".csv", ".json") or not file.is_file():
        return None
    head = read_text(file)[:10_000]
    for benchmark in BENCHMARKS:
        own_name = benchmark.name.lower().replace(" ", "-")  # "something-something-v2", which says it of a broken file, too
        if re.match(benchmark.head, head) or file.name.startswith(own_name):
            return benchmark
    return None


def _read_benchmark(benchmark: Benchmark, file: Path, root: Path, classes: Sequence[str] | None) -> Annotations:
    own_classes, listed_in = _read_labels(benchmark, file.parent)
    known, videos = set(own_classes), _find_videos(root, re.compile(benchmark.video))
    paths, labels, missing = [], [], []
    for place, name, label in benchmark.read(file):
        if label not in known:
            raise SmallBigError(f'{place}, video {name}: "{label}" is none of the {len(known)} classes of {listed_in}', file)
        if path := videos.get(name):
            paths.append(path)
            labels.append(label)
        else:
            missing.append(name)
    listed, names = len(paths) + len(missing), ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    if not paths:
        raise SmallBigError(f"none of its {listed} videos is below {root} ({names})", file)
    if missing and os.environ.get("RANK", "0") == "0":  # one of several processes says it
        console.print(f"{file.name}: {len(paths)} of {listed} videos found, {len(missing)} missing: {names}")
    classes = own_classes if classes is None else classes
    return Annotations(np.array(paths), index_labels(labels, classes, file), list(classes), missing=len(missing))


def _read_labels(benchmark: Benchmark, folder: Path) -> tuple[list[str], str]:
    """The classes in the order of their indices, and where they are: a file beside the annotations, or shipped."""
    file = next((folder / name for name in benchmark.labels if (folder / name).is_file()), None)
    if file is None:
        return read_classes(benchmark.classes), f"the shipped list {benchmark.classes}"
    if file.suffix == ".csv":
        return [_without_brackets(label) for label in read_classes(file)], str(file)
    index = _read_json(file)
    try:
        return [_without_brackets(label) for label in sorted(index, key=lambda label: int(index[label]))], str(file)
    except (TypeError, ValueError) as error:
        raise SmallBigError('not of the form {"class": "index", ...}', file) from error


def _read_json(file: Path) -> Any:
    try:
        return json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise SmallBigError(f"line {error.lineno}, column {error.colno} is no JSON: {error.msg}", file) from error


def _find_videos(root: Path, video: re.Pattern) -> dict[str, str]:
    """Paths below a folder by the name without suffix: video files, and folders of frames, into which it doesn't look.

    Only folders are listed, no file is asked for: 100,000 folders of 40 frames each take as long as 100,000 files.
    """
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(root, followlinks=True):
        for file in files:
            name, suffix = os.path.splitext(file)
            if suffix.lower() in VIDEO_EXTENSIONS:
                found.setdefault(name, os.path.join(folder, file))
        for name in filter(video.fullmatch, folders):
            found.setdefault(name, os.path.join(folder, name))
        folders[:] = sorted(name for name in folders if not video.fullmatch(name))
    return found
