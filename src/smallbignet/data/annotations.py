"""Which videos, with which labels: the field's annotation formats in, one table of paths and class indices out."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from glob import glob
from pathlib import Path

import numpy as np

from smallbignet.data.frames import FIRST_FRAMES
from smallbignet.data.video import VIDEO_EXTENSIONS
from smallbignet.errors import SmallBigError


@dataclass(frozen=True)
class Annotations:
    """Videos and their classes, held in arrays so that forked workers share them.

    Attributes:
        paths: (N,) of str: video files, or folders of frames.
        labels: (N,) int64, indices into `classes`.
        classes: class names, in the order of their indices.
        columns: further columns of the source, each (N,) of str, to select and split by.
        missing: how many videos more a benchmark lists that are not on disk.
    """

    paths: np.ndarray
    labels: np.ndarray
    classes: list[str]
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    missing: int = 0

    def __len__(self) -> int:
        return len(self.paths)

    def subset(self, keep: np.ndarray) -> Annotations:
        """The rows that a mask or an index array keeps; all classes stay."""
        columns = {name: values[keep] for name, values in self.columns.items()}
        return replace(self, paths=self.paths[keep], labels=self.labels[keep], columns=columns)


def read_annotations(
    source: str | Path,
    root: str | Path | None = None,
    path_column: str = "path",
    label_column: str = "label",
    classes: Sequence[str] | None = None,
) -> Annotations:
    """Reads a data set in any of the field's forms; `benchmarks.read_part` knows those of the benchmarks besides.

    - a folder with one folder of videos per class, files or folders of frames;
    - a `.csv` file with a header, of which `path_column` and `label_column` are used;
    - any other text file, or a `.csv` file without a header, as the lists of mmaction2, TSM and SlowFast: `path label` or
      `path num_frames label` (a folder of frames), label a class index, blanks or commas between.

    Args:
        root: what the paths in a file are relative to; the file's own folder if not given.
        classes: class names in their order; else the sorted names found (numbers in numerical order), or, where the labels
            of a file are numbers, all from 0 to the highest.

    Raises:
        SmallBigError: names the file, and the line where there is one.
    """
    source = Path(source)
    columns: dict[str, list[str]] = {}
    if source.is_dir():
        paths, names = _read_folder(source)
    elif source.suffix.lower() == ".csv" and not _is_list(source, path_column):
        paths, names, columns = _read_csv(source, path_column, label_column)
    elif source.is_file():
        paths, names = _read_list(source)
    else:
        raise SmallBigError("no such data set: expected a folder with a folder per class, a .csv file or a list", source)
    if not paths:
        raise SmallBigError("no videos in this data set", source)
    if not source.is_dir():
        base = Path(root) if root else source.parent
        paths = [str(base / path) for path in paths]
    if classes is None:
        classes = _sort_classes(set(names), are_indices=not source.is_dir())
    labels = index_labels(names, classes, source)
    return Annotations(np.array(paths), labels, list(classes), {name: np.array(values) for name, values in columns.items()})


def read_classes(file: str | Path) -> list[str]:
    """Class names, one a line, in the order of their indices; of a file, or a shipped list: kinetics400, ssv1 or ssv2.

    Raises:
        SmallBigError: the file can't be read, or a line is empty or a repetition.
    """
    shipped = Path(__file__).parent / "classes" / f"{file}.txt"
    path = shipped if shipped.is_file() and not Path(file).is_file() else Path(file)
    names = [line.strip() for line in read_text(path).strip().splitlines()]
    if not names:
        raise SmallBigError("no class names in this file", file)
    seen = {""}
    for number, name in enumerate(names, 1):
        if name in seen:
            raise SmallBigError(f'line {number} is no further class name: "{name}"', file)
        seen.add(name)
    return names


def select_rows(annotations: Annotations, condition: str, source: object = "") -> Annotations:
    """The rows whose column has one of some values, written "fold=0,1,2"; all of them for an empty condition.

    Raises:
        SmallBigError: no such column, no row with one of the values, or not of this form.
    """
    if not condition:
        return annotations
    column, equals, values = condition.partition("=")
    if not equals:
        raise SmallBigError('a selection is COLUMN=VALUE,VALUE, such as "fold=0,1,2"', condition)
    column = column.strip()
    if column not in annotations.columns:
        known = ", ".join(annotations.columns) or "none"
        raise SmallBigError(f'no column "{column}" to select on (columns: {known})', source)
    wanted = [value.strip() for value in values.split(",")]
    found = annotations.columns[column]
    if missing := set(wanted).difference(found.tolist()):
        raise SmallBigError(f'no video has the {column} "{min(missing)}" that "{condition}" selects', source)
    return annotations.subset(np.isin(found, wanted))


def split(annotations: Annotations, fraction: float, seed: int, group_column: str = "") -> tuple[Annotations, Annotations]:
    """Two parts, to train and to validate: about `fraction` of every class goes to the second.

    With `group_column`, rows that share its value stay together (clips of one source video, say) and whole groups are drawn.

    Raises:
        SmallBigError: no such column, or a part would be empty.
    """
    rng = np.random.default_rng(seed)
    held = np.zeros(len(annotations), bool)
    if group_column:
        if group_column not in annotations.columns:
            raise SmallBigError(
                f"no such column to group by (columns: {', '.join(annotations.columns) or 'none'})", group_column
            )
        _, group_of, sizes = np.unique(annotations.columns[group_column], return_inverse=True, return_counts=True)
        drawn, room = np.zeros(len(sizes), bool), round(fraction * len(held))
        for group in rng.permutation(len(sizes)):
            if sizes[group] <= room:
                drawn[group], room = True, room - sizes[group]
        held = drawn[group_of]
    else:
        for label in np.unique(annotations.labels):
            rows = np.flatnonzero(annotations.labels == label)
            held[rng.permutation(rows)[: round(fraction * len(rows))]] = True
    if not 0 < fraction < 1 or not held.any() or held.all():
        what = "this split leaves no video to train or to validate on; change it, or name the videos to validate on in data.val"
        raise SmallBigError(what, f"data.val_fraction {fraction}")
    return annotations.subset(~held), annotations.subset(held)


def to_csv(annotations: Annotations, folder: Path) -> str:
    """Annotations as the text of a .csv file in `folder`: paths relative to it, all columns kept."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "label", *annotations.columns])
    for path, label, *others in zip(annotations.paths, annotations.labels, *annotations.columns.values(), strict=True):
        rows.writerow([os.path.relpath(path, folder), annotations.classes[label], *others])
    return text.getvalue()


def find_videos(folder: Path) -> list[Path]:
    """Video files below a folder, by their suffix, and folders of frames without video files, sorted.

    Files named "._x.mp4" and the like, which macOS leaves, are none.
    """
    found: list[Path] = []
    for path, _, names in os.walk(folder):
        videos = [name for name in names if Path(name).suffix.lower() in VIDEO_EXTENSIONS and not name.startswith(".")]
        found += [Path(path, name) for name in videos]
        if not videos and not FIRST_FRAMES.isdisjoint(names):
            found.append(Path(path))
    return sorted(found)


def find_files(names: Iterable[str]) -> list[str]:
    """The files that names stand for: files themselves, folders (all videos below), glob patterns; each once.

    A name among others that stands for nothing stands for itself, and is met again where its file is opened.

    Raises:
        SmallBigError: names that all stand for nothing.
    """
    found: dict[str, None] = {}
    names, nothing = list(names), []
    for name in names:
        if Path(name).is_file():
            matches = [name]
        elif Path(name).is_dir():
            matches = [str(path) for path in find_videos(Path(name))]
        else:
            matches = sorted(path for path in glob(name, recursive=True) if Path(path).is_file())
        if not matches:
            nothing.append(name)
        found |= dict.fromkeys(matches or [name])
    if nothing and nothing == names:
        raise SmallBigError("no video of this name", ", ".join(nothing))
    return list(found)


def _read_folder(folder: Path) -> tuple[list[str], list[str]]:
    pairs = [(str(video), entry.name) for entry in sorted(folder.iterdir()) if entry.is_dir() for video in find_videos(entry)]
    return [path for path, _ in pairs], [name for _, name in pairs]


def read_table(source: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a .csv file with a header, each with its line.

    Raises:
        SmallBigError: names the file, and the line: a column isn't there or empty, or a row has more or fewer fields.
    """
    reader = csv.DictReader(io.StringIO(read_text(source)), skipinitialspace=True)
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise SmallBigError(f"line {reader.line_num} can't be read: {error}", source) from error
    header = reader.fieldnames or []
    for column in needed:
        if column not in header:
            raise SmallBigError(f'no column "{column}" in the header ({", ".join(header)})', source)
    for number, row in rows:
        if None in row or None in row.values():
            raise SmallBigError(f"line {number} has not {len(header)} fields", source)
        if not all(map(row.get, needed)):
            raise SmallBigError(f"line {number} has no {' or no '.join(needed)}", source)
    return rows


def _read_csv(source: Path, path_column: str, label_column: str) -> tuple[list[str], list[str], dict[str, list[str]]]:
    rows = [row for _, row in read_table(source, (path_column, label_column))]
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else (path_column, label_column))}
    return columns.pop(path_column), columns.pop(label_column), columns


def _is_list(source: Path, path_column: str) -> bool:
    """Whether a .csv file has no header: its first line is the class index of a path already."""
    first = next(iter(read_text(source).strip().splitlines()), "")
    words = _list_words(first)
    return path_column not in first.split(",") and len(words) > 1 and words[-1].isdecimal()


def _read_list(source: Path) -> tuple[list[str], list[str]]:
    paths, names = [], []
    for number, line in enumerate(read_text(source).splitlines(), 1):
        words = _list_words(line)
        if not words:
            continue
        if len(words) < 2 or not words[-1].isdecimal():
            raise SmallBigError(f"line {number} is not `path label` or `path num_frames label` with a class index", source)
        paths.append(words[0])
        names.append(str(int(words[-1])))
    return paths, names


def _list_words(line: str) -> list[str]:
    """Path and label of a list's line; a path may hold blanks. Between them may be a number of frames, which is left out."""
    separator = "," if re.search(r",\s*\d+\s*$", line) else None
    words = [word.strip() for word in line.rsplit(separator, 2)]
    if len(words) == 3 and words[1].isdecimal():
        return [words[0], words[2]]
    return [word.strip() for word in line.rsplit(separator, 1)]


def read_text(source: Path) -> str:
    """A file's text; a SmallBigError where there is none."""
    try:
        return source.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SmallBigError(f"can't read this file: {error.strerror}", source) from error
    except UnicodeDecodeError as error:
        raise SmallBigError("this file is no UTF-8 text, as lists and tables are", source) from error


def _sort_classes(found: set[str], are_indices: bool) -> list[str]:
    if not all(map(str.isdecimal, found)):
        return sorted(found)
    if are_indices and all(name == str(int(name)) for name in found):  # some may have no video
        return [str(i) for i in range(max(map(int, found)) + 1)]
    return sorted(found, key=lambda name: (int(name), name))


def index_labels(names: list[str], classes: Sequence[str], source: Path) -> np.ndarray:
    index = {name: i for i, name in enumerate(classes)}
    if all(map(str.isdecimal, names)) and not any(map(str.isdecimal, classes)):  # indices into the given names
        index = {str(i): i for i in range(len(classes))}
    if unknown := sorted(set(names) - index.keys()):
        raise SmallBigError(f'class "{unknown[0]}" is not among the {len(classes)} known classes', source)
    return np.array([index[name] for name in names], np.int64)
