"""The lists of mmaction2, TSM and SlowFast: `path label` or `path num_frames label` (a folder of frames) on each line.

The label is a class index; blanks or commas stand between. A path in quotes is read as in a .csv file. SlowFast's lists are
.csv files, without a header.
"""

from __future__ import annotations

import re
from pathlib import Path

from smallbignet.data.annotations import Annotations, read_text
from smallbignet.data.folders import is_video
from smallbignet.data.formats.base import Format, annotate_indices, full_paths
from smallbignet.data.options import DataSource
from smallbignet.errors import SmallBigError
from smallbignet.utils.console import note

_QUOTED = re.compile(r'"(?P<path>(?:[^"]|"")*)"(?P<rest>[\s,].*)')
_NUMBERS_AFTER = re.compile(r"(?P<path>.*?)[\s,;]+\d+[\d\s,;]*")


class PathList(Format):
    """Any text file that no other format recognises, but no .json file; a .csv file if its first line is one of a list."""

    def recognises(self, path: Path, source: DataSource) -> bool:
        suffix = path.suffix.lower()
        if suffix == ".json" or not path.is_file():
            return False
        return suffix != ".csv" or _has_no_header(path, source.path_column)

    def read(self, path: Path, source: DataSource) -> Annotations:
        if re.search(r"_test_split\d+$", path.stem):
            what = "this looks like a split of HMDB51, which lists one class and says what is to train (1) and to test (2) on"
            raise SmallBigError(f"{what}; list the videos in a .csv file with the columns path and label", path)
        paths = []
        indices = []
        frames = []  # the numbers of frames of video files
        counts: dict[int, int] = {}  # how many numbers follow a video file: the line that shows it first
        for number, line in enumerate(read_text(path).splitlines(), 1):
            if not line.strip():
                continue
            video, *numbers = _split_line(line)
            if not video or not numbers or not numbers[-1].isdecimal():
                raise SmallBigError(f"line {number} is not `path label` or `path num_frames label` with a class index", path)
            if is_video(video):
                counts.setdefault(len(numbers), number)
            if is_video(video) and len(numbers) > 1:
                frames.append(int(numbers[0]))
            has_no_frames = 0 in frames  # so 0 is a label, too
            if has_no_frames or _has_more_labels(video, path, source) or len(counts) > 1:
                what = f"line {number} seems to have several labels, and each video has one"
                raise SmallBigError(f"{what}: `path label` or `path num_frames label`", path)
            paths.append(video)
            indices.append(int(numbers[-1]))
        if frames and max(frames) <= max(indices):
            what = "the first number after each video file is read as its number of frames, and could be a class index as well"
            note(f"{path}: {what}; each video has one label, the last number")
        return annotate_indices(full_paths(paths, path, source), indices, path)


def _has_no_header(file: Path, path_column: str) -> bool:
    """Whether the first line of a .csv file gives a path its class index already."""
    first = next(iter(read_text(file).strip().splitlines()), "")
    words = _split_line(first)
    return path_column not in first.split(",") and len(words) > 1 and words[-1].isdecimal()


def _split_line(line: str) -> list[str]:
    """Path, number of frames where there is one, and label of a list's line. A path may hold blanks and commas."""
    line = re.sub(r'(?<=[\s,])"(\d+)"', r"\1", line.strip())
    if quoted := _QUOTED.fullmatch(line):
        words = re.split(r"[\s,]+", quoted["rest"].strip(" \t,"))
        return [quoted["path"].replace('""', '"').strip(), *words]
    separator = "," if re.search(r",\s*\d+\s*$", line) else None
    words = [word.strip() for word in line.rsplit(separator, 2)]
    if len(words) == 3 and words[1].isdecimal():
        return words
    return [word.strip() for word in line.rsplit(separator, 1)]


def _has_more_labels(video: str, file: Path, source: DataSource) -> bool:
    """Whether what was read as a path is one with further numbers after it."""
    match = _NUMBERS_AFTER.fullmatch(video)
    if not match:
        return False
    longer, shorter = full_paths([video, match["path"]], file, source)
    return is_video(match["path"]) or (Path(shorter).exists() and not Path(longer).exists())
