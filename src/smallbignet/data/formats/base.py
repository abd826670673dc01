"""What all formats of data sets have in common."""

from __future__ import annotations

import os
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from smallbignet.data.annotations import Annotations, clean_name
from smallbignet.data.options import DataSource
from smallbignet.errors import SmallBigError

MOST_CLASSES = 100_000  # an index above is taken for a mistake


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
    index = {clean_name(name): i for i, name in enumerate(classes)}
    labels = np.array([index[clean_name(name)] for name in names], np.int64)
    return Annotations(np.array(paths, str), labels, classes, _arrays(columns), missing)


def annotate_sets(paths: Sequence[str], sets: Sequence[Sequence[str]], columns: dict[str, list[str]]) -> Annotations:
    """Annotations of some paths and the class names that each of them has, which may be several or none."""
    classes = sort_names(name for names in sets for name in names)
    labels = np.array([[name in map(clean_name, names) for name in classes] for names in sets], np.uint8)
    return Annotations(np.array(paths, str), labels.reshape(len(paths), len(classes)), classes, _arrays(columns))


def annotate_indices(
    paths: Sequence[str], indices: Sequence[int], where: object, columns: dict[str, list[str]] | None = None
) -> Annotations:
    """Annotations of some paths and the class index of each; the classes are all from 0 to the highest index.

    Raises:
        SmallBigError: names `where`: an index is too high to be one.
    """
    highest = max(indices, default=-1)
    if highest >= MOST_CLASSES:
        raise SmallBigError(f"class indices are below {MOST_CLASSES}, and this one is {highest}", where)
    classes = [str(i) for i in range(highest + 1)]
    return Annotations(np.array(paths, str), np.array(indices, np.int64), classes, _arrays(columns), indexed=True)


def _arrays(columns: dict[str, list[str]] | None) -> dict[str, np.ndarray]:
    return {name: np.array(values, str) for name, values in (columns or {}).items()}


def sort_names(names: Iterable[str]) -> list[str]:
    """The class names, each once, in alphabetical order; in numerical order where all of them are numbers."""
    found = set(map(clean_name, names))
    return sorted(found, key=lambda name: (int(name), name)) if all(map(str.isdecimal, found)) else sorted(found)


def full_paths(paths: Iterable[str], file: Path, source: DataSource) -> list[str]:
    """The paths that a file lists, which are relative to the root, or to the file's folder where there is no root.

    Accented letters are written in two ways: where a file isn't there by the way in the list, the other is looked for.
    """
    base = Path(source.root) if source.root else file.parent
    return [_find_spelling(str(base / path)) for path in paths]


def _find_spelling(path: str) -> str:
    if path.isascii() or os.path.exists(path):
        return path
    others = (unicodedata.normalize(form, path) for form in ("NFC", "NFD"))
    return next(filter(os.path.exists, others), path)
