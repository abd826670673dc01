"""`smallbig check`: which videos can't be read, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smallbignet.data.annotations import Annotations, find_files, to_csv
from smallbignet.data.benchmarks import find_part, read_part
from smallbignet.data.integrity import VideoReport, check_videos
from smallbignet.errors import SmallBigError
from smallbignet.utils.console import bar
from smallbignet.utils.files import write_text


@dataclass(frozen=True)
class CheckReport:
    """One report a video, in the data set's order."""

    videos: list[VideoReport]

    @property
    def bad(self) -> list[VideoReport]:
        return [video for video in self.videos if video.status != "ok"]

    @property
    def exit_status(self) -> int:
        """1 where a video is not ok."""
        return int(bool(self.bad))


def check(
    data: list[str],
    *,
    clean: str = "",
    root: str = "",
    path_column: str = "path",
    label_column: str = "label",
    filename_tmpl: str = "",
    workers: int = 0,
) -> CheckReport:
    """Decodes every frame of every video once and names those that can't be read, in whole or in part.

    Args:
        data: a data set (a .csv file with a header, a list, a folder), or video files, folders, glob patterns.
        clean: file (.csv) to write the data set to without the damaged and unreadable videos; `train` reads it.
        root: folder that listed paths are relative to; the list's own if not given.
        path_column: of a .csv.
        label_column: of a .csv.
        filename_tmpl: names of the frames in a frame folder, such as img_{:05d}.jpg; found out if not given.
        workers: processes; 0 takes one for each core.

    Raises:
        SmallBigError: no such data set; a clean list of videos without labels.
    """
    annotations, paths = find_data(data, root, path_column, label_column, bool(clean))
    if clean and (annotations is None or not clean.endswith(".csv")):
        raise SmallBigError(
            "a clean list is a .csv file, and takes a data set with labels: a list or a folder per class", clean
        )
    reports, bad = [], 0
    with bar("check", len(paths), "videos") as progress:
        for report in check_videos(paths, workers, filename_tmpl):
            reports.append(report)
            bad += report.status != "ok"
            progress.advance(note=f"{bad} not ok")
    if annotations is not None and clean:
        well = annotations.subset(np.array([report.status == "ok" for report in reports]))
        write_text(Path(clean), to_csv(well, Path(clean).parent))
    return CheckReport(reports)


def find_data(
    data: list[str], root: str, path_column: str, label_column: str, with_labels: bool
) -> tuple[Annotations | None, list[str]]:
    """The annotations, of a list or where labels are wanted, and the paths of the videos."""
    source = Path(data[0])
    if len(data) > 1 or not (source.suffix.lower() in (".csv", ".txt", ".json") or (source.is_dir() and with_labels)):
        return None, find_files(data)
    if source.is_dir() and (part := find_part(source, "train")) != source:
        raise SmallBigError(f"a clean list is of one part: check {part.name} and its like each by itself", source)
    annotations = read_part(source, "train", root or None, path_column, label_column)
    return annotations, annotations.paths.tolist()


def show(report: CheckReport) -> str:
    """A line for each video that is not ok, and how many there are."""
    lines = [f"{video.status:10}  {video.path}: {video.reason}" for video in report.bad]
    return "\n".join([*lines, f"{len(report.videos)} videos, {len(report.bad)} not ok"])
