"""`smallbig check`: which videos can't be read, and why. Every file is decoded once, in processes that it may crash or hang."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from smallbignet.data.annotations import Annotations, find_files, to_csv
from smallbignet.data.benchmarks import find_part, read_part
from smallbignet.data.video import Video, open_video
from smallbignet.errors import SmallBigError, VideoError
from smallbignet.files import write_text
from smallbignet.pool import in_processes
from smallbignet.progress import bar


@dataclass(frozen=True)
class VideoReport:
    """What decoding one video came to.

    Attributes:
        status: "ok"; "damaged": some frames can be read, but not all that the file promises; "unreadable": none can.
        reason: one plain sentence, empty if ok.
        num_frames: frames that can be read without damage.
    """

    path: str
    status: Literal["ok", "damaged", "unreadable"]
    reason: str
    num_frames: int


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


def check_video(path: str, filename_tmpl: str = "") -> VideoReport:
    """Decode every frame of a video file or frame folder once."""
    try:
        with open_video(path, filename_tmpl=filename_tmpl) as video:
            return judge(video, video.whole_frames())
    except VideoError as error:
        return VideoReport(path, "unreadable", error.what, 0)


def judge(video: Video, whole: int) -> VideoReport:
    """What it comes to that `whole` frames of a video can be read without damage."""
    path, promised = video.path, max(video.num_frames, video.claimed_frames)
    if whole == 0:
        return VideoReport(path, "unreadable", f"all of its {promised} frames are damaged or missing", 0)
    if whole < promised:
        return VideoReport(path, "damaged", f"{whole} of {promised} frames can be read without damage", whole)
    return VideoReport(path, "ok", "", whole)


def check_videos(paths: Iterable[str], workers: int = 0, filename_tmpl: str = "") -> Iterator[VideoReport]:
    """Check videos in parallel; reports come in the order of `paths`, as soon as they are there.

    A file that crashes its process, or takes more than two minutes and a second for each of its megabytes, is unreadable.
    The processes are spawned: a script that calls this does so under `if __name__ == "__main__":`.

    Args:
        workers: processes; 0 takes one for each core.
    """
    paths = list(paths)
    jobs = [((path, filename_tmpl), 120 + _megabytes(path)) for path in paths]
    for path, result in zip(paths, in_processes(check_video, jobs, workers), strict=True):
        yield result if isinstance(result, VideoReport) else VideoReport(path, "unreadable", result, 0)


def _megabytes(path: str) -> float:
    return os.path.getsize(path) / 1e6 if os.path.exists(path) else 0.0
