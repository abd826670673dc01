"""A .csv file with a header: a column of paths, a column of labels, and any others, to select and split by."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from smallbignet.data.annotations import LINE_BREAKS, Annotations, clean_name, read_text
from smallbignet.data.formats.base import Format, annotate, annotate_indices, full_paths, sort_names
from smallbignet.data.options import DataSource
from smallbignet.errors import SmallBigError


class Table(Format):
    """Labels are class names, also where they are numbers; a column whose name ends in `_index` holds class indices."""

    def recognises(self, path: Path, source: DataSource) -> bool:
        return path.suffix.lower() == ".csv" and path.is_file()

    def read(self, path: Path, source: DataSource) -> Annotations:
        header = _read_header(path)
        label_column = source.label_column
        if label_column not in header and "label_index" in header:
            label_column = "label_index"
        rows = read_table(path, (source.path_column, label_column))
        for line, row in rows:
            if any(LINE_BREAKS.search(value) for name, value in row.items() if name != source.path_column):
                raise SmallBigError(f"line {line} ends a value with a line break; perhaps a quote is not closed", path)
        columns = {name: [clean_name(row[name]) for _, row in rows] for name in header if name != source.path_column}
        paths = full_paths([row[source.path_column] for _, row in rows], path, source)
        labels = columns.pop(label_column)
        if not label_column.endswith("_index"):
            return annotate(paths, labels, sort_names(labels), columns)
        for (line, _), label in zip(rows, labels, strict=True):
            if not label.isdecimal():
                raise SmallBigError(f'line {line}: "{label}" in the column {label_column} is no class index', path)
        return annotate_indices(paths, list(map(int, labels)), path, columns)


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
