"""`smallbig check`: which videos can't be read, and why. Every file is decoded once, in processes that it may crash or hang."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

import numpy as np

from smallbignet.data.annotations import Annotations, find_files, read_annotations, to_csv
from smallbignet.data.video import open_video
from smallbignet.errors import SmallBigError, VideoError
from smallbignet.files import write_text
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
    filename_tmpl: str = "img_{:05d}.jpg",
    workers: int = 0,
) -> CheckReport:
    """Decodes every frame of every video once and names those that can't be read, in whole or in part.

    Args:
        data: a data set (a .csv file with a header, a list, a folder), or video files, folders, glob patterns.
        clean: file (.csv) to write the data set to without the damaged and unreadable videos; `train` reads it.
        root: folder that listed paths are relative to; the list's own if not given.
        path_column: of a .csv.
        label_column: of a .csv.
        filename_tmpl: names of the frames in a frame folder, counted from 1.
        workers: processes; 0 takes one for each core.

    Raises:
        SmallBigError: no such data set; a clean list of videos without labels.
    """
    annotations, paths = find_data(data, root, path_column, label_column, bool(clean))
    if clean and (annotations is None or not clean.endswith(".csv")):
        raise SmallBigError(
            "a clean list is a .csv file, and takes a data set with labels: a list or a folder per class", clean
        )
    reports = []
    with bar("check", len(paths), "videos") as progress:
        for report in check_videos(paths, workers, filename_tmpl):
            reports.append(report)
            progress.advance(note=f"{sum(r.status != 'ok' for r in reports)} not ok")
    if annotations is not None and clean:
        well = annotations.subset(np.array([report.status == "ok" for report in reports]))
        write_text(Path(clean), to_csv(well, Path(clean).parent))
    return CheckReport(reports)


def find_data(
    data: list[str], root: str, path_column: str, label_column: str, with_labels: bool
) -> tuple[Annotations | None, list[str]]:
    """The annotations, of a list or where labels are wanted, and the paths of the videos."""
    source = Path(data[0])
    if len(data) > 1 or not (source.suffix.lower() in (".csv", ".txt") or (source.is_dir() and with_labels)):
        return None, find_files(data)
    if (source / "train").is_dir() and (source / "val").is_dir():
        raise SmallBigError("a clean list is of one part: check its train and its val folder each by itself", source)
    annotations = read_annotations(source, root or None, path_column, label_column)
    return annotations, annotations.paths.tolist()


def show(report: CheckReport) -> str:
    """A line for each video that is not ok, and how many there are."""
    lines = [f"{video.status:10}  {video.path}: {video.reason}" for video in report.bad]
    return "\n".join([*lines, f"{len(report.videos)} videos, {len(report.bad)} not ok"])


def check_video(path: str, filename_tmpl: str = "img_{:05d}.jpg") -> VideoReport:
    """Decode every frame of a video file or frame folder once."""
    try:
        with open_video(path, filename_tmpl=filename_tmpl) as video:
            promised = max(video.num_frames, video.claimed_frames)
            whole = video.whole_frames()
    except VideoError as error:
        return VideoReport(path, "unreadable", error.what, 0)
    if whole == 0:
        return VideoReport(path, "unreadable", f"all of its {promised} frames are damaged or missing", 0)
    if whole < promised:
        return VideoReport(path, "damaged", f"{whole} of {promised} frames can be read without damage", whole)
    return VideoReport(path, "ok", "", whole)


def check_videos(paths: Iterable[str], workers: int = 0, filename_tmpl: str = "img_{:05d}.jpg") -> Iterator[VideoReport]:
    """Check videos in parallel; reports come in the order of `paths`, as soon as they are there.

    A file that crashes its process, or takes more than two minutes and a second for each of its megabytes, is unreadable.
    The processes are spawned: a script that calls this does so under `if __name__ == "__main__":`.

    Args:
        workers: processes; 0 takes one for each core.
    """
    paths = list(paths)
    jobs = [((path, filename_tmpl), 120 + _megabytes(path)) for path in paths]
    for path, result in zip(paths, _in_processes(check_video, jobs, workers or os.cpu_count() or 1), strict=True):
        yield result if isinstance(result, VideoReport) else VideoReport(path, "unreadable", result, 0)


def _megabytes(path: str) -> float:
    return os.path.getsize(path) / 1e6 if os.path.exists(path) else 0.0


def _in_processes(function: Callable, jobs: list[tuple[tuple, float]], workers: int) -> Iterator[Any]:
    """Call `function` for each (arguments, seconds allowed) in order; where that fails, yield a sentence that says how.

    An executor would do but for two things: one dead process breaks all of it, and it can't end a call that hangs.
    """
    context = multiprocessing.get_context("spawn")
    waiting = deque(enumerate(jobs))
    results: dict[int, Any] = {}
    busy: dict[Connection, tuple[int, float, Any]] = {}  # to each process: its job, when it must be done, the process
    idle: list[tuple[Connection, Any]] = []
    following = 0
    try:
        while following < len(jobs):
            while waiting and len(busy) < workers:
                idle = [(connection, process) for connection, process in idle if process.is_alive()]
                connection, process = idle.pop() if idle else _spawn(context, function)
                job, (arguments, seconds) = waiting.popleft()
                connection.send(arguments)
                busy[connection] = job, time.monotonic() + seconds, process
            nearest = min(deadline for _, deadline, _ in busy.values())
            ready = wait(list(busy), max(0.0, nearest - time.monotonic()))
            for connection, (job, deadline, process) in list(busy.items()):
                if connection in ready:
                    try:
                        results[job] = connection.recv()
                        idle.append((connection, process))
                    except (EOFError, OSError):
                        results[job] = "the decoder crashed"
                elif time.monotonic() >= deadline:
                    results[job] = f"the decoder was not done after {jobs[job][1]:.0f} seconds"
                    process.kill()
                else:
                    continue
                del busy[connection]
            while following in results:
                yield results.pop(following)
                following += 1
    finally:
        for _, _, process in busy.values():
            process.kill()
        for connection, _ in idle:  # which ends its process
            connection.close()


def _spawn(context: Any, function: Callable) -> tuple[Connection, Any]:
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(function, theirs), daemon=True)
    process.start()
    theirs.close()  # so that ours ends when the process does
    return ours, process


def _serve(function: Callable, connection: Connection) -> None:
    while True:
        try:
            arguments = connection.recv()
        except EOFError:
            return
        connection.send(function(*arguments))
