"""What all formats of data sets have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from smallbignet.data.annotations import Annotations
from smallbignet.data.options import DataSource


class Format(ABC):
    """A form in which a data set says which videos it has, and of which classes."""

    @abstractmethod
    def recognises(self, path: Path, source: DataSource) -> bool:
        """Whether a file or folder has this form."""

    @abstractmethod
    def read(self, path: Path, source: DataSource) -> Annotations:
        """Reads a file or folder of this form; the classes are in the order of its own.

        Raises:
            SmallBigError: names the file, and the line where there is one.
        """

    def find_part(self, folder: Path, part: str) -> Path | None:
        """Where a folder of this form keeps its part "train" or "val"; None for a folder of another form.

        Raises:
            SmallBigError: the folder has this form, but not this part.
        """
        return None


def annotate(
    paths: Sequence[str],
    names: Sequence[str],
    classes: list[str],
    columns: dict[str, list[str]] | None = None,
    missing: int = 0,
) -> Annotations:
    """Annotations of some paths and the class names of each, all of which are among the classes."""
    index = {name: i for i, name in enumerate(classes)}
    labels = np.array([index[name] for name in names], np.int64)
    arrays = {name: np.array(values) for name, values in (columns or {}).items()}
    return Annotations(np.array(paths, str), labels, classes, arrays, missing)


def sort_names(names: Iterable[str]) -> list[str]:
    """The names, each once, in alphabetical order; in numerical order where all of them are numbers."""
    found = set(names)
    return sorted(found, key=lambda name: (int(name), name)) if all(map(str.isdecimal, found)) else sorted(found)


def sort_labels(labels: Iterable[str]) -> list[str]:
    """The classes that the labels in a file stand for: sorted names; or, of numbers, all indices from 0 to the highest."""
    found = set(labels)
    if found and all(label.isdecimal() and label == str(int(label)) for label in found):  # an index may have no video
        return [str(i) for i in range(max(map(int, found)) + 1)]
    return sort_names(found)


def full_paths(paths: Iterable[str], file: Path, source: DataSource) -> list[str]:
    """The paths that a file lists, which are relative to the root, or to the file's folder where there is no root."""
    base = Path(source.root) if source.root else file.parent
    return [str(base / path) for path in paths]
