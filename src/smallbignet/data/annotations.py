"""Which videos a data set has, with which labels: one table, whatever form it was read from, and what is done with it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from smallbignet.errors import SmallBigError


@dataclass(frozen=True)
class Annotations:
    """Videos and their classes, in arrays, which forked workers share.

    Attributes:
        paths: (N,) of str: video files, or folders of frames.
        labels: (N,) int64, indices into `classes`.
        classes: class names, in the order of their indices.
        columns: further columns of the data set's file, each (N,) of str, to select and split by.
        missing: number of further videos that the data set lists and that are not on disk.
    """

    paths: np.ndarray
    labels: np.ndarray
    classes: list[str]
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    missing: int = 0

    def __len__(self) -> int:
        return len(self.paths)

    def subset(self, keep: np.ndarray) -> Annotations:
        """Some of the rows, by a mask or an array of indices; the classes stay."""
        columns = {name: values[keep] for name, values in self.columns.items()}
        return replace(self, paths=self.paths[keep], labels=self.labels[keep], columns=columns)

    def with_classes(self, classes: Sequence[str], where: object) -> Annotations:
        """The same videos with their labels as indices into other classes.

        A label is found by its name. Where all names are numbers, and no other class is named by one, they are indices.

        Raises:
            SmallBigError: names `where`: a video's class is not among the others.
        """
        names = [self.classes[label] for label in np.unique(self.labels)]
        index = {name: i for i, name in enumerate(classes)}
        if all(map(str.isdecimal, names)) and not any(map(str.isdecimal, classes)):
            index = {str(i): i for i in range(len(classes))}
        if unknown := sorted(set(names) - index.keys()):
            raise SmallBigError(f'class "{unknown[0]}" is not among the {len(classes)} known classes', where)
        indices = np.array([index.get(name, -1) for name in self.classes], np.int64)
        return replace(self, labels=indices[self.labels], classes=list(classes))


def read_classes(file: str | Path) -> list[str]:
    """Reads class names, one per line, in the order of their indices.

    Args:
        file: a text file, or the name of a shipped list: kinetics400, ssv1 or ssv2.

    Raises:
        SmallBigError: the file can't be read, has an empty line, or names a class twice.
    """
    shipped = Path(__file__).parent / "classes" / f"{file}.txt"
    path = shipped if shipped.is_file() and not Path(file).is_file() else Path(file)
    names = [line.strip() for line in read_text(path).strip().splitlines()]
    if not names:
        raise SmallBigError("no class names in this file", file)
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name:
            raise SmallBigError(f"line {number} is empty, where a class name belongs", file)
        if name in seen:
            raise SmallBigError(f'line {number} repeats the class name "{name}"', file)
        seen.add(name)
    return names


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
    wanted = [value.strip() for value in values.split(",")]
    found = annotations.columns[column]
    if missing := set(wanted).difference(found.tolist()):
        raise SmallBigError(f'no video has the {column} "{min(missing)}" that "{condition}" selects', where)
    return annotations.subset(np.isin(found, wanted))


def split(annotations: Annotations, fraction: float, seed: int, group_column: str = "") -> tuple[Annotations, Annotations]:
    """Splits videos at random in two parts, to train and to validate.

    Args:
        fraction: about this share of every class goes to the second part; with `group_column`, this share of all videos.
        seed: of the random draw.
        group_column: rows with the same value in this column (clips of one source video, say) stay in one part.

    Raises:
        SmallBigError: there is no such column, or a part would be empty.
    """
    rng = np.random.default_rng(seed)
    held = _draw_groups(annotations, fraction, rng, group_column) if group_column else _draw_rows(annotations, fraction, rng)
    if not 0 < fraction < 1 or not held.any() or held.all():
        what = "this split leaves no video to train or to validate on; change it, or name the videos to validate on in data.val"
        raise SmallBigError(what, f"data.val_fraction {fraction}")
    return annotations.subset(~held), annotations.subset(held)


def _draw_rows(annotations: Annotations, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """A mask of about a fraction of every class."""
    held = np.zeros(len(annotations), bool)
    for label in np.unique(annotations.labels):
        rows = np.flatnonzero(annotations.labels == label)
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
    """Annotations as the text of a .csv file that will be in `folder`: paths relative to it, and all columns."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "label", *annotations.columns])
    for path, label, *others in zip(annotations.paths, annotations.labels, *annotations.columns.values(), strict=True):
        rows.writerow([os.path.relpath(path, folder), annotations.classes[label], *others])
    return text.getvalue()
