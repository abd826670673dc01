"""`smallbig prepare`: videos re-encoded to a shorter side with dense key frames, so that a few frames of each are read fast."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
from rich.filesize import decimal

from smallbignet.data.annotations import Annotations, to_csv
from smallbignet.data.encoding import Encoding, Prepared, prepare_video
from smallbignet.data.folders import find_videos, walk
from smallbignet.data.integrity import VideoReport
from smallbignet.data.options import DataSource
from smallbignet.data.source import LIST_SUFFIXES, read_part
from smallbignet.data.video import VIDEO_EXTENSIONS
from smallbignet.errors import SmallBigError, WorkError
from smallbignet.utils.console import bar, console
from smallbignet.utils.files import fresh_name, write_text
from smallbignet.utils.processes import Failure, in_processes

SETTINGS = "prepare.json"  # in the target folder: what its videos were made with
SAMPLE = 8  # videos that are prepared first, to say what all of them will come to


@dataclass(frozen=True)
class PrepareReport:
    """What a target folder holds, and what it saves.

    Attributes:
        videos: how many were prepared, in this run or before.
        bad: the videos that were left out, damaged or unreadable.
        bytes_before, bytes_after: size of the prepared videos, as they were and as they are.
        read_before, read_after: seconds to read 8 frames spread over a video, the mean of a few; 0.0 if none was measured.
    """

    videos: int
    bad: list[VideoReport]
    bytes_before: int
    bytes_after: int
    read_before: float
    read_after: float

    @property
    def exit_status(self) -> int:
        """1 where a video was left out."""
        return int(bool(self.bad))


def prepare(
    data: str,
    target: str,
    *,
    short_side: int = 256,
    gop: int = 8,
    crf: int = 23,
    source: DataSource = DataSource(),
    workers: int = 0,
) -> PrepareReport:
    """Re-encodes videos (H.264 in .mp4, upright, no audio, every frame at its time) to be read fast; says what that saves.

    Relative paths are kept, but for the suffix. A run that was ended goes on where it was. Videos that can't be read whole are
    left out and listed in the target's unreadable.csv (LIST_unreadable.csv for a list).

    Args:
        data: a folder, of which all videos are taken and .csv, .json and .txt files copied; or a data set's list (.csv with
            a header, or lines of `path label`), which is written to the target anew.
        target: folder to fill, empty or of an earlier run with the same settings.
        short_side: pixels of the shorter side, commonly 256 or 320; smaller videos keep their size.
        gop: frames from one key frame to the next, at most; fewer are faster to read and larger.
        crf: quality, 0 to 51; more is smaller and worse.
        source: how the list is read.
        workers: processes; 0 takes one for each core.

    Raises:
        SmallBigError: no such source, one without video files, a target of other settings, two videos of one name.
        WorkError: the target can't be written.
    """
    encoding, folder, given = Encoding(short_side, gop, crf), Path(target), Path(data)
    annotations = None if given.is_dir() else read_part(given, "train", source)
    if annotations is None:
        base, videos, prefix = given, [str(path) for path in find_videos(given)], ""
        if folder.resolve().is_relative_to(given.resolve()):
            raise SmallBigError("the target is inside the source; take a folder outside", target)
        if not videos:
            raise SmallBigError("no videos in this folder", data)
    else:
        base, videos, prefix = Path(source.root or given.parent), annotations.paths.tolist(), f"{given.stem}_"
    if all(map(os.path.isdir, videos)):
        raise SmallBigError("these are folders of frames, which are read as they are; only video files are prepared", data)
    goals = find_goals(videos, base, folder)
    claim(folder, {"root": str(base.resolve()), **asdict(encoding)})
    report = prepare_videos(goals, encoding, workers)
    if annotations is None:
        copy_texts(given, folder)
    else:
        write_list(annotations, goals, folder / f"{given.stem}.csv")
    bad = folder / f"{prefix}unreadable.csv"
    bad.unlink(missing_ok=True)
    if report.bad:
        write_text(bad, bad_table(report.bad))
    return report


def show(report: PrepareReport) -> str:
    """A line for each video left out, and what the others save."""
    lines = [f"{video.status:10}  {video.path}: {video.reason}" for video in report.bad]
    return "\n".join([*lines, f"{report.videos} videos prepared, {len(report.bad)} left out: {savings(report)}"])


def savings(report: PrepareReport) -> str:
    """What it saves, in words."""
    words = f"{decimal(report.bytes_before)} -> {decimal(report.bytes_after)}"
    if report.read_after:
        before, after = report.read_before, report.read_after
        words += f", 8 frames of a video read in {1e3 * after:.1f} ms, not {1e3 * before:.1f} ({before / after:.1f}x as fast)"
    return words


def find_goals(videos: list[str], base: Path, folder: Path) -> dict[str, Path]:
    """For each video the file that it becomes.

    Raises:
        SmallBigError: it lies outside `base`, or two become one.
    """
    goals: dict[str, Path] = {}
    taken: dict[Path, str] = {}
    for video in videos:
        relative = Path(os.path.relpath(video, base))
        if relative.parts[0] == "..":
            raise SmallBigError(f"this video is not in {base}; name a folder that all are in with --data.root", video)
        stem = relative.stem if relative.suffix.lower() in VIDEO_EXTENSIONS else relative.name
        goals[video] = folder / relative.with_name(f"{stem}.mp4")
        if (other := taken.setdefault(goals[video], video)) != video:
            raise SmallBigError(f"it and {other} would both become {goals[video].name}; rename one of them", video)
    return goals


def claim(folder: Path, settings: dict) -> None:
    """Makes the folder one of these settings.

    Raises:
        SmallBigError: it is one of others, or holds something else.
    """
    file, text = folder / SETTINGS, json.dumps(settings, ensure_ascii=False) + "\n"
    if file.is_file():
        if (kept := file.read_text(encoding="utf-8")) != text:
            raise SmallBigError(f"this folder was prepared with other settings, {kept.strip()}; take another folder", folder)
    elif folder.exists() and any(folder.iterdir()):
        raise SmallBigError("this folder holds something else; take an empty or a new one", folder)
    else:
        write_text(file, text)


def copy_texts(source: Path, folder: Path) -> None:
    """Copies the files that tell the videos' classes, whatever their form."""
    for place in walk(str(source)):
        for name in place.files:
            if Path(name).suffix.lower() in LIST_SUFFIXES and not name.startswith(".") and name != SETTINGS:
                path = Path(place.path, name)
                copy = folder / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, fresh_name(copy))
                os.replace(fresh_name(copy), copy)


def write_list(annotations: Annotations, goals: dict[str, Path], file: Path) -> None:
    """Writes the list of the prepared videos; those left out are not in it."""
    paths = [goals[video] for video in annotations.paths.tolist()]
    kept = replace(annotations, paths=np.array([str(path) for path in paths]))
    write_text(file, to_csv(kept.subset(np.array([path.exists() for path in paths])), file.parent))


def bad_table(videos: list[VideoReport]) -> str:
    """The videos left out, as the text of a .csv file."""
    text = io.StringIO()
    rows = csv.DictWriter(text, [field.name for field in fields(VideoReport)], lineterminator="\n")
    rows.writeheader()
    rows.writerows(map(asdict, videos))
    return text.getvalue()


def prepare_videos(goals: dict[str, Path], encoding: Encoding, workers: int = 0) -> PrepareReport:
    """Prepares the videos that are not, in parallel; a few first, and then says what all of them will come to.

    Args:
        goals: for each video the file that it becomes.
        workers: processes; 0 takes one for each core.

    Raises:
        WorkError: a file can't be written.
    """
    workers, videos = workers or os.cpu_count() or 1, list(goals)
    sample = [videos[i] for i in sorted({int(i) for i in np.linspace(0, len(videos) - 1, SAMPLE)})]
    left = [video for video in videos if video not in sample and not goals[video].exists()]
    jobs = [((video, str(goals[video]), encoding, video in sample), 120 + 1e-5 * _size(video)) for video in sample + left]
    results: dict[str, Prepared] = {}
    bad = 0
    with bar("prepare", len(videos), "videos", done=len(videos) - len(jobs)) as progress:
        for video, result in zip(sample + left, in_processes(prepare_video, jobs, workers), strict=True):
            if isinstance(result, WorkError):
                raise result
            if isinstance(result, Failure):
                fresh_name(goals[video]).unlink(missing_ok=True)
                result = Prepared(VideoReport(video, "unreadable", result.reason, 0))
            results[video] = result
            bad += result.report.status != "ok"
            progress.advance(note=f"{bad} left out")
            if left and len(results) == len(sample):
                _say_estimate(goals, results, sum(map(_size, left)), workers)
    return _summary(goals, results)


def _say_estimate(goals: dict[str, Path], results: dict[str, Prepared], bytes_left: int, workers: int) -> None:
    now = _summary(goals, results)
    encoded = [video for video, result in results.items() if result.seconds]
    if now.bytes_before and encoded:
        total = now.bytes_before + bytes_left
        expected = replace(now, bytes_before=total, bytes_after=total * now.bytes_after // now.bytes_before)
        rate = sum(map(_size, encoded)) / sum(results[video].seconds for video in encoded) * workers
        console.print(f"estimate from {len(encoded)} videos: {savings(expected)}; {bytes_left / rate / 60:.0f} minutes to go")


def _summary(goals: dict[str, Path], results: dict[str, Prepared]) -> PrepareReport:
    done = [video for video in goals if goals[video].exists()]
    timed = [result for result in results.values() if result.after]
    return PrepareReport(
        videos=len(done),
        bad=[results[video].report for video in goals if video in results and results[video].report.status != "ok"],
        bytes_before=sum(map(_size, done)),
        bytes_after=sum(_size(goals[video]) for video in done),
        read_before=sum(result.before for result in timed) / max(len(timed), 1),
        read_after=sum(result.after for result in timed) / max(len(timed), 1),
    )


def _size(file: str | Path) -> int:
    return os.path.getsize(file) if os.path.exists(file) else 0
