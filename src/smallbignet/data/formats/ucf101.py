"""UCF101's own lists, trainlist01.txt and the like: `Class/v_Class_g01_c01.avi`, with a label from 1 or with none."""

from __future__ import annotations

import re
from pathlib import Path

from smallbignet.data.annotations import Annotations, clean_name, read_classes, read_text
from smallbignet.data.formats.base import Format, annotate, full_paths, sort_names
from smallbignet.data.options import DataSource
from smallbignet.errors import SmallBigError

_LINE = re.compile(r"(?P<path>(?:.*/)?(?P<name>[^/]+)/v_(?i:(?P=name))_g\d+_c\d+\.\w+)(?:\s+(?P<number>[1-9]\d*))?")


class Ucf101(Format):
    """The class is the folder that a path names; the numbers are checked. classInd.txt, beside the list, orders the classes."""

    def recognises(self, path: Path, source: DataSource) -> bool:
        if path.suffix.lower() != ".txt" or not path.is_file():
            return False
        lines = _lines(path)
        return bool(lines) and all(map(_LINE.fullmatch, lines))

    def read(self, path: Path, source: DataSource) -> Annotations:
        """Reads a list.

        Raises:
            SmallBigError: names the file: a number or a class contradicts the others, or classInd.txt.
        """
        rows = [match for match in map(_LINE.fullmatch, _lines(path)) if match]
        names = [clean_name(row["name"]) for row in rows]
        order = path.with_name("classInd.txt")
        classes = read_classes(order) if order.is_file() else []
        number_of = {name: str(i) for i, name in enumerate(classes, 1)}
        for row, name in zip(rows, names, strict=True):
            if classes and name not in number_of:
                raise SmallBigError(f'class "{name}" is not in classInd.txt', path)
            number = row["number"]
            if number and number_of.setdefault(name, number) != number:
                raise SmallBigError(f'class "{name}" has the numbers {number_of[name]} and {number}', path)
        if len(set(number_of.values())) != len(number_of):
            raise SmallBigError("two classes have the same number", path)
        if not classes and len(number_of) == len(set(names)):
            classes = sorted(number_of, key=lambda name: int(number_of[name]))
        return annotate(full_paths([row["path"] for row in rows], path, source), names, classes or sort_names(names))


def _lines(file: Path) -> list[str]:
    return [line.strip() for line in read_text(file).splitlines() if line.strip()]
