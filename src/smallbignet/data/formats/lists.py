"""The lists of mmaction2, TSM and SlowFast: `path label` or `path num_frames label` (a folder of frames) on each line.

The label is a class index; blanks or commas stand between. SlowFast's lists are .csv files, without a header.
"""

from __future__ import annotations

import re
from pathlib import Path

from smallbignet.data.annotations import Annotations, read_text
from smallbignet.data.formats.base import Format, annotate, full_paths, sort_labels
from smallbignet.data.options import DataSource
from smallbignet.errors import SmallBigError


class PathList(Format):
    """Any text file that no other format recognises, but no .json file; a .csv file if its first line is one of a list."""

    def recognises(self, path: Path, source: DataSource) -> bool:
        suffix = path.suffix.lower()
        if suffix == ".json" or not path.is_file():
            return False
        return suffix != ".csv" or _has_no_header(path, source.path_column)

    def read(self, path: Path, source: DataSource) -> Annotations:
        paths = []
        labels = []
        for number, line in enumerate(read_text(path).splitlines(), 1):
            words = _split_line(line)
            if not words:
                continue
            if len(words) < 2 or not words[-1].isdecimal():
                raise SmallBigError(f"line {number} is not `path label` or `path num_frames label` with a class index", path)
            paths.append(words[0])
            labels.append(str(int(words[-1])))
        return annotate(full_paths(paths, path, source), labels, sort_labels(labels))


def _has_no_header(file: Path, path_column: str) -> bool:
    """Whether the first line of a .csv file gives a path its class index already."""
    first = next(iter(read_text(file).strip().splitlines()), "")
    words = _split_line(first)
    return path_column not in first.split(",") and len(words) > 1 and words[-1].isdecimal()


def _split_line(line: str) -> list[str]:
    """Path and label of a list's line. A path may hold blanks; a number of frames after it is left out."""
    separator = "," if re.search(r",\s*\d+\s*$", line) else None
    words = [word.strip() for word in line.rsplit(separator, 2)]
    if len(words) == 3 and words[1].isdecimal():
        return [words[0], words[2]]
    return [word.strip() for word in line.rsplit(separator, 1)]
