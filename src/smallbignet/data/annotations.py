"""Which videos a data set has, with which labels: one table, whatever form it was read from, and what is done with it."""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from smallbignet.errors import SmallBigError

LINE_BREAKS = re.compile(r"[\n\r]")
SEPARATOR = ";"  # between the classes of a video in a list


@dataclass(frozen=True)
class Annotations:
    """Videos and their classes, in arrays, which forked workers share.

    Attributes:
        paths: (N,) of str: video files, or folders of frames.
        labels: (N,) int64, indices into `classes`; or, where a video may have several classes or none, (N, num_classes) uint8,
            which is 1 for the classes that it has.
        classes: class names, in the order of their indices.
        columns: further columns of the data set's file, each (N,) of str, to select and split by.
        missing: number of further videos that the data set lists and that are not on disk.
        indexed: whether the data set gives class indices and no names, so that the classes are "0", "1", ...
    """

    paths: np.ndarray
    labels: np.ndarray
    classes: list[str]
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    missing: int = 0
    indexed: bool = False

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def is_multilabel(self) -> bool:
        """Whether a video may have several classes, or none."""
        return self.labels.ndim == 2

    def as_multilabel(self) -> Annotations:
        """The same videos with labels as for several classes each."""
        if self.is_multilabel:
            return self
        return replace(self, labels=np.eye(len(self.classes), dtype=np.uint8)[self.labels])

    def counts(self) -> np.ndarray:
        """Number of videos of each class: (num_classes,) int64."""
        if self.is_multilabel:
            return self.labels.sum(0, dtype=np.int64)
        return np.bincount(self.labels, minlength=len(self.classes))

    def names(self, row: int) -> list[str]:
        """The names of a video's classes."""
        label = self.labels[row]
        return [self.classes[i] for i in (np.flatnonzero(label) if self.is_multilabel else [label])]

    def subset(self, keep: np.ndarray) -> Annotations:
        """Some of the rows, by a mask or an array of indices; the classes stay."""
        columns = {name: values[keep] for name, values in self.columns.items()}
        return replace(self, paths=self.paths[keep], labels=self.labels[keep], columns=columns)

    def with_classes(self, classes: Sequence[str], where: object) -> Annotations:
        """The same videos with their labels as indices into other classes.

        A label is found by its name. Class indices, and names that are all numbers where no other class is named by a number,
        are positions among the other classes.

        Raises:
            SmallBigError: names `where`: a video's class is not among the others; or the labels are indices and the other
                classes are named by other numbers, so that it isn't known which are meant.
        """
        names = [self.classes[label] for label in np.flatnonzero(self.counts())]
        wanted = list(map(clean_name, classes))
        positions = [str(i) for i in range(len(wanted))]
        has_numbers = any(map(str.isdecimal, wanted))
        by_position = not has_numbers and all(map(str.isdecimal, names))
        index = {name: i for i, name in enumerate(positions if by_position else wanted)}
        if unknown := sorted(set(names) - index.keys()):
            raise SmallBigError(f'class "{unknown[0]}" is not among the {len(classes)} known classes', where)
        if self.indexed and has_numbers and wanted != positions:
            what = (
                f'the labels are class indices, and the {len(classes)} known classes are named by numbers ("{wanted[0]}", ...)'
            )
            raise SmallBigError(f"{what}; give the names, in a .csv file with the columns path and label", where)
        indices = np.array([index.get(name, -1) for name in self.classes], np.int64)
        labels = indices[self.labels]
        if self.is_multilabel:
            labels = np.zeros((len(self), len(classes)), np.uint8)
            labels[:, indices[indices >= 0]] = self.labels[:, indices >= 0]
        return replace(self, labels=labels, classes=list(classes), indexed=wanted == positions and self.indexed)


def clean_name(name: str) -> str:
    """A class name without blanks around it, and with one spelling of accented letters, whatever system wrote it."""
    return unicodedata.normalize("NFC", name.strip())


def read_classes(file: str | Path) -> list[str]:
    """Reads class names, one per line, in the order of their indices.

    Args:
        file: a text file, or the name of a shipped list: kinetics400, ssv1 or ssv2. Where its lines are numbered, such as
            "1 ApplyEyeMakeup", the numbers are left out.

    Raises:
        SmallBigError: the file can't be read, has an empty line, or names a class twice.
    """
    return read_numbered_classes(file)[0]


def read_numbered_classes(file: str | Path) -> tuple[list[str], int]:
    """Reads class names as `read_classes` does, and the number that the first class has: 1 if the file says so, else 0."""
    shipped = Path(__file__).parent / "classes" / f"{file}.txt"
    path = shipped if shipped.is_file() and not Path(file).is_file() else Path(file)
    names = list(map(clean_name, read_text(path).strip().splitlines()))
    if not names:
        raise SmallBigError("no class names in this file", file)
    first = 0
    pairs = [match.groups() for match in map(re.compile(r"(\d+)[\s,;:]+(\S.*)").fullmatch, names) if match]
    numbers = [int(number) for number, _ in pairs]
    if len(pairs) == len(names) and numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(names))):
        first = numbers[0]
        names = [name for _, name in pairs]
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name:
            raise SmallBigError(f"line {number} is empty, where a class name belongs", file)
        if name in seen:
            raise SmallBigError(f'line {number} repeats the class name "{name}"', file)
        seen.add(name)
    return names, first


def read_text(file: Path) -> str:
    """Reads a text file.

    Raises:
        SmallBigError: it can't be read, or is no text.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SmallBigError(f"can't read this file: {error.strerror}", file) from error
    except UnicodeDecodeError as error:
        raise SmallBigError("this file is no UTF-8 text, as lists and tables are", file) from error


def select_rows(annotations: Annotations, condition: str, where: object = "") -> Annotations:
    """Selects the rows that have one of some values in a column, written "fold=0,1,2"; all rows for an empty condition.

    Raises:
        SmallBigError: names `where`: there is no such column, or no row with one of the values; or the condition is malformed.
    """
    if not condition:
        return annotations
    column, equals, values = condition.partition("=")
    if not equals:
        raise SmallBigError('a selection is COLUMN=VALUE,VALUE, such as "fold=0,1,2"', condition)
    column = column.strip()
    if column not in annotations.columns:
        known = ", ".join(annotations.columns) or "none"
        raise SmallBigError(f'no column "{column}" to select on (columns: {known})', where)
    wanted = list(map(clean_name, values.split(",")))
    found = annotations.columns[column]
    if missing := set(wanted).difference(found.tolist()):
        raise SmallBigError(f'no video has the {column} "{min(missing)}" that "{condition}" selects', where)
    return annotations.subset(np.isin(found, wanted))


def split(annotations: Annotations, fraction: float, seed: int, group_column: str = "") -> tuple[Annotations, Annotations]:
    """Splits videos at random into two parts, to train and to validate.

    Args:
        fraction: about this share of every class goes to the second part; with `group_column`, this share of all videos.
        seed: of the random draw.
        group_column: rows with the same value in this column (clips of one source video, say) stay in one part.

    Raises:
        SmallBigError: there is no such column, or a part would be empty.
    """
    rng = np.random.default_rng(seed)
    held = _draw_groups(annotations, fraction, rng, group_column) if group_column else _draw_rows(annotations, fraction, rng)
    largest = annotations.counts().max()
    if 0 < fraction < 1 and not group_column and not held.any():
        counted = f"the largest class has {largest} videos" if largest > 1 else "each class has one video"
        what = f"this split leaves no video to validate on, because {counted}; add videos, or hold out a larger share"
        raise SmallBigError(what, f"data.val_fraction {fraction}")
    if not 0 < fraction < 1 or not held.any() or held.all():
        what = "this split leaves no video to train or to validate on; change it, or name the videos to validate on in data.val"
        raise SmallBigError(what, f"data.val_fraction {fraction}")
    return annotations.subset(~held), annotations.subset(held)


def _draw_rows(annotations: Annotations, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """A mask of about a fraction of every class; of all videos, where they may have several classes."""
    held = np.zeros(len(annotations), bool)
    strata = np.zeros(len(annotations)) if annotations.is_multilabel else annotations.labels
    for label in np.unique(strata):
        rows = np.flatnonzero(strata == label)
        held[rng.permutation(rows)[: round(fraction * len(rows))]] = True
    return held


def _draw_groups(annotations: Annotations, fraction: float, rng: np.random.Generator, column: str) -> np.ndarray:
    """A mask of whole groups, which together are about a fraction of the rows."""
    if column not in annotations.columns:
        raise SmallBigError(f"no such column to group by (columns: {', '.join(annotations.columns) or 'none'})", column)
    _, group_of, sizes = np.unique(annotations.columns[column], return_inverse=True, return_counts=True)
    drawn = np.zeros(len(sizes), bool)
    room = round(fraction * len(annotations))
    for group in rng.permutation(len(sizes)):
        if sizes[group] <= room:
            drawn[group] = True
            room -= sizes[group]
    return drawn[group_of]


def to_csv(annotations: Annotations, folder: Path) -> str:
    """Annotations as the text of a .csv file that will be in `folder`, which is read back as the same annotations.

    Paths are relative to the folder. The column `label` holds class names; where the classes have none, `label_index` holds
    their indices. Where videos may have several classes, a semicolon follows each; where they have one, and a name holds a
    semicolon, the column is `label_name`. Columns whose names are taken by these are
    left out.

    Raises:
        SmallBigError: a path is no UTF-8 text, or a name could not be read back.
    """
    label = "label_index" if annotations.indexed else "label"
    if not annotations.is_multilabel and any(SEPARATOR in name for name in annotations.classes):
        label = "label_name"
    taken = ("path", "label", "label_index", "label_name")
    columns = {name: values for name, values in annotations.columns.items() if name not in taken}
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", label, *columns])
    folders: dict[str, str] = {}
    for row, (path, *others) in enumerate(zip(annotations.paths.tolist(), *columns.values(), strict=True)):
        parent, name = os.path.split(path)
        if parent not in folders:
            folders[parent] = _relative(parent, folder)
        names = annotations.names(row)
        place = os.path.normpath(os.path.join(folders[parent], name))
        if place != place.strip() or "\r" in place:
            raise SmallBigError("a list holds no name with a carriage return or a blank at an end; rename it", ascii(path))
        if any(map(LINE_BREAKS.search, names)):
            raise SmallBigError("the name of its class has a line break; rename it", ascii(path))
        rows.writerow([place, (";".join([*names, ""]) or ";") if annotations.is_multilabel else names[0], *others])
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise SmallBigError("this file's name is no UTF-8 text, as lists are; rename it", ascii(path)) from error
    return text.getvalue()


def _relative(path: str, folder: Path) -> str:
    """The way from one folder to another. Where a way up leads out of a linked folder, it is the way between the real ones."""
    way = os.path.relpath(path or ".", folder)
    target = os.path.realpath(path)
    if os.path.realpath(os.path.join(folder, way)) == target:
        return way
    return os.path.relpath(target, os.path.realpath(folder))
