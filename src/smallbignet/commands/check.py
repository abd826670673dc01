"""`smallbig check`: which videos can't be read, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smallbignet.data.annotations import Annotations, to_csv
from smallbignet.data.integrity import VideoReport, check_videos
from smallbignet.data.options import DataSource
from smallbignet.data.source import LIST_SUFFIXES, find_files, find_part, read_part
from smallbignet.errors import SmallBigError
from smallbignet.utils.checks import FileOrNone, Workers, checked
from smallbignet.utils.console import bar
from smallbignet.utils.files import write_text


@dataclass(frozen=True)
class CheckReport:
    """One report for each video, in the order of the data set."""

    videos: list[VideoReport]

    @property
    def bad(self) -> list[VideoReport]:
        """The videos that can't be read whole."""
        return [video for video in self.videos if video.status != "ok"]

    @property
    def exit_status(self) -> int:
        """1 where a video can't be read whole."""
        return int(bool(self.bad))


@checked
def check(data: list[str], *, clean: FileOrNone = "", source: DataSource = DataSource(), workers: Workers = 0) -> CheckReport:
    """Decodes every frame of every video once, and names the videos that can't be read, in whole or in part.

    Args:
        data: a data set (a .csv file with a header, a list, a folder), or video files, folders, glob patterns.
        clean: file (.csv) to write the data set to without the damaged and unreadable videos; `train` reads it.
        source: how the data set is read.
        workers: processes; 0 takes one for each core.

    Raises:
        SmallBigError: no such data set; or a clean list is wanted of videos without labels.
    """
    annotations = _read_labelled(data, clean, source) if clean else None
    if annotations is not None:
        paths = annotations.paths.tolist()
    elif _is_list(data):
        paths = read_part(data[0], "train", source).paths.tolist()
    else:
        paths = find_files(data, source)
    report = CheckReport([])
    with bar("check", len(paths), "videos") as progress:
        for video in check_videos(paths, workers, source):
            report.videos.append(video)
            progress.advance(note=f"{len(report.bad)} not ok")
    if annotations is not None:
        whole = annotations.subset(np.array([video.status == "ok" for video in report.videos]))
        write_text(Path(clean), to_csv(whole, Path(clean).parent))
    return report


def _is_list(data: list[str]) -> bool:
    return len(data) == 1 and Path(data[0]).suffix.lower() in LIST_SUFFIXES


def _read_labelled(data: list[str], clean: str, source: DataSource) -> Annotations:
    """The data set that a clean list is written of."""
    path = Path(data[0])
    if not clean.endswith(".csv") or not (_is_list(data) or (len(data) == 1 and path.is_dir())):
        what = "a clean list is a .csv file, and takes a data set with labels: a list or a folder per class"
        raise SmallBigError(what, clean)
    if path.is_dir() and (part := find_part(path, "train")) != path:
        raise SmallBigError(f"a clean list is of one part: check {part.name} and each other part by itself", path)
    return read_part(path, "train", source)


def show(report: CheckReport) -> str:
    """One line for each video that is not ok, and how many there are."""
    lines = [f"{video.status:10}  {video.path}: {video.reason}" for video in report.bad]
    return "\n".join([*lines, f"{len(report.videos)} videos, {len(report.bad)} not ok"])
