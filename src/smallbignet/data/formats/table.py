"""A .csv file with a header: a column of paths, a column of labels, and any others, to select and split by.

Videos that may have several classes have labels such as "run;jump", or one column for each class, with 0 and 1.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smallbignet.data.annotations import LINE_BREAKS, SEPARATOR, Annotations, clean_name, read_text
from smallbignet.data.formats.base import Format, annotate, annotate_indices, annotate_sets, full_paths, sort_names
from smallbignet.data.options import DataSource
from smallbignet.errors import SmallBigError

NO_CLASSES = ("fold", "split")  # columns that are no classes, even if they hold only 0 and 1


class Table(Format):
    """Labels are class names, also where they are numbers; a column whose name ends in `_index` holds class indices.

    A semicolon separates several labels, but not in the column `label_name`.
    """

    def recognises(self, path: Path, source: DataSource) -> bool:
        return path.suffix.lower() == ".csv" and path.is_file()

    def read(self, path: Path, source: DataSource) -> Annotations:
        header = _read_header(path)
        label_column = source.label_column
        if label_column not in header:
            label_column = next((name for name in ("label_index", "label_name") if name in header), label_column)
        if label_column == "label" not in header and (classes := _class_columns(path, source.path_column, header)):
            return _read_class_columns(path, source, classes)
        rows = read_table(path, (source.path_column, label_column))
        for line, row in rows:
            if any(LINE_BREAKS.search(value) for name, value in row.items() if name != source.path_column):
                raise SmallBigError(f"line {line} ends a value with a line break; perhaps a quote is not closed", path)
        columns = {name: [clean_name(row[name]) for _, row in rows] for name in header if name != source.path_column}
        paths = full_paths([row[source.path_column] for _, row in rows], path, source)
        labels = columns.pop(label_column)
        if label_column != "label_name" and any(SEPARATOR in label for label in labels):
            sets = [list(filter(None, map(str.strip, label.split(SEPARATOR)))) for label in labels]
            return annotate_sets(paths, sets, columns)
        if not label_column.endswith("_index"):
            return annotate(paths, labels, sort_names(labels), columns)
        for (line, _), label in zip(rows, labels, strict=True):
            if not label.isdecimal():
                raise SmallBigError(f'line {line}: "{label}" in the column {label_column} is no class index', path)
        return annotate_indices(paths, list(map(int, labels)), path, columns)


def _class_columns(file: Path, path_column: str, header: list[str]) -> list[str]:
    """The columns that hold nothing but 0 and 1, if there are at least two; a fold or a split is no class."""
    rows = read_table(file, (path_column,))
    named = [name for name in header if name not in (path_column, *NO_CLASSES)]
    found = [name for name in named if {row[name] for _, row in rows} <= {"0", "1"}]
    return found if rows and len(found) > 1 else []


def _read_class_columns(file: Path, source: DataSource, classes: list[str]) -> Annotations:
    rows = [row for _, row in read_table(file, (source.path_column,))]
    others = [name for name in rows[0] if name not in (source.path_column, *classes)]
    paths = full_paths([row[source.path_column] for row in rows], file, source)
    labels = np.array([[int(row[name]) for name in classes] for row in rows], np.uint8)
    columns = {name: np.array([clean_name(row[name]) for row in rows], str) for name in others}
    return Annotations(np.array(paths, str), labels, classes, columns)


def _read_header(file: Path) -> list[str]:
    first = next(csv.reader(io.StringIO(read_text(file)), skipinitialspace=True), [])
    return [name.strip() for name in first]


def read_table(file: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a .csv file with a header, each with its line number. Blanks around values are left out.

    Raises:
        SmallBigError: names the file, and the line: a needed column is missing or empty, a column appears twice, or a row has
            more or fewer fields.
    """
    reader = csv.DictReader(io.StringIO(read_text(file)), skipinitialspace=True)
    try:
        reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise SmallBigError(f"line {reader.line_num} can't be read: {error}", file) from error
    header = reader.fieldnames
    for column in needed:
        if header.count(column) != 1:
            problem = "two columns" if column in header else "no column"
            raise SmallBigError(f'{problem} "{column}" in the header ({", ".join(header)})', file)
    for number, row in rows:
        if None in row or None in row.values():
            raise SmallBigError(f"line {number} has not {len(header)} fields", file)
        row.update({name: value.strip() for name, value in row.items()})
        if not all(map(row.get, needed)):
            raise SmallBigError(f"line {number} has no {' or no '.join(needed)}", file)
    return rows
