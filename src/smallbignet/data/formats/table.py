"""A .csv file with a header: a column of paths, a column of labels, and any others, to select and split by."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from smallbignet.data.annotations import Annotations, read_text
from smallbignet.data.formats.base import Format, annotate, full_paths, sort_labels
from smallbignet.data.options import DataSource
from smallbignet.errors import SmallBigError


class Table(Format):
    """Labels are class names, or class indices where all of them are numbers."""

    def recognises(self, path: Path, source: DataSource) -> bool:
        return path.suffix.lower() == ".csv" and path.is_file()

    def read(self, path: Path, source: DataSource) -> Annotations:
        needed = (source.path_column, source.label_column)
        rows = [row for _, row in read_table(path, needed)]
        columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else needed)}
        paths = full_paths(columns.pop(source.path_column), path, source)
        labels = columns.pop(source.label_column)
        return annotate(paths, labels, sort_labels(labels), columns)


def read_table(file: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a .csv file with a header, each with its line number.

    Raises:
        SmallBigError: names the file, and the line: a needed column is missing or empty, or a row has more or fewer fields.
    """
    reader = csv.DictReader(io.StringIO(read_text(file)), skipinitialspace=True)
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise SmallBigError(f"line {reader.line_num} can't be read: {error}", file) from error
    header = reader.fieldnames or []
    for column in needed:
        if column not in header:
            raise SmallBigError(f'no column "{column}" in the header ({", ".join(header)})', file)
    for number, row in rows:
        if None in row or None in row.values():
            raise SmallBigError(f"line {number} has not {len(header)} fields", file)
        if not all(map(row.get, needed)):
            raise SmallBigError(f"line {number} has no {' or no '.join(needed)}", file)
    return rows
