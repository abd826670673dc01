"""`smallbig prepare`: re-encodes videos to a shorter side with dense key frames, so that a few frames of each are read fast."""

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
from smallbignet.data.containers import VIDEO_EXTENSIONS
from smallbignet.data.encoding import Crf, Encoding, Gop, Prepared, ShortSide, prepare_video
from smallbignet.data.folders import find_videos, walk
from smallbignet.data.integrity import VideoReport, seconds_allowed
from smallbignet.data.options import DataSource, VideoOptions
from smallbignet.data.source import LIST_SUFFIXES, read_part
from smallbignet.errors import SmallBigError, WorkError
from smallbignet.utils.checks import Folder, Workers, checked
from smallbignet.utils.console import bar, console
from smallbignet.utils.files import fresh_name, write_text
from smallbignet.utils.processes import Failure, in_processes

SETTINGS = "prepare.json"  # in the target folder: what its videos were made with
SAMPLE = 8  # videos that are prepared first, to estimate what all of them will come to


@dataclass(frozen=True)
class PrepareReport:
    """What a target folder holds, and what it saves.

    Attributes:
        videos: number of videos prepared, in this run or before.
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

    @property
    def savings(self) -> str:
        """What the target folder saves, in words."""
        words = f"{decimal(self.bytes_before)} -> {decimal(self.bytes_after)}"
        if self.read_after:
            before, after = 1e3 * self.read_before, 1e3 * self.read_after
            words += f", 8 frames of a video read in {after:.1f} ms, not {before:.1f} ({before / after:.1f}x as fast)"
        return words


@checked
def prepare(
    data: str,
    target: Folder,
    *,
    short_side: ShortSide = 256,
    gop: Gop = 8,
    crf: Crf = 23,
    source: DataSource = DataSource(),
    workers: Workers = 0,
) -> PrepareReport:
    """Re-encodes videos (H.264 in .mp4, upright, no audio, every frame at its time) to be read fast; reports what that saves.

    Relative paths are kept, except for the suffix. A run that was stopped continues where it was. Videos that can't be read
    whole are left out and listed in the target's unreadable.csv (LIST_unreadable.csv for a list).

    Args:
        data: a folder, of which all videos are taken and .csv, .json and .txt files copied; or a data set's list (.csv with
            a header, or lines of `path label`), which is written to the target with the new paths.
        target: folder to fill: empty, or of an earlier run with the same settings.
        short_side: pixels of the shorter side, commonly 256 or 320; smaller videos keep their size.
        gop: frames from one key frame to the next, at most; fewer are faster to read and larger.
        crf: quality, 0 to 51; more is smaller and worse.
        source: how the list is read. The videos are always decoded by PyAV.
        workers: processes; 0 takes one for each core.

    Raises:
        SmallBigError: no such data, or no video files; a target with other settings; two videos that would get one name.
        WorkError: the target can't be written.
    """
    encoding = Encoding(short_side, gop, crf)
    given = Path(data)
    folder = Path(target)
    annotations = None if given.is_dir() else read_part(given, "train", source)
    if annotations is None:
        if folder.resolve().is_relative_to(given.resolve()):
            raise SmallBigError("the target is inside the source; take a folder outside", target)
        base = given
        videos = list(map(str, find_videos(given)))
    else:
        base = Path(source.root or given.parent)
        videos = annotations.paths.tolist()
    if not videos:
        raise SmallBigError("no videos in this folder", data)
    if all(map(os.path.isdir, videos)):
        raise SmallBigError("these are folders of frames, which are read as they are; only video files are prepared", data)
    targets = find_targets(videos, base, folder)
    claim(folder, {"root": str(base.resolve()), **asdict(encoding)})
    report = Preparation(targets, encoding, replace(source, backend="pyav", square_pixels=True), workers).run()
    if annotations is None:
        copy_lists(given, folder)
        write_bad(report.bad, folder / "unreadable.csv")
    else:
        write_list(annotations, targets, folder / f"{given.stem}.csv")
        write_bad(report.bad, folder / f"{given.stem}_unreadable.csv")
    return report


def show(report: PrepareReport) -> str:
    """One line for each video that was left out, and what the others save."""
    lines = [f"{video.status:10}  {video.path}: {video.reason}" for video in report.bad]
    return "\n".join([*lines, f"{report.videos} videos prepared, {len(report.bad)} left out: {report.savings}"])


def find_targets(videos: list[str], base: Path, folder: Path) -> dict[str, Path]:
    """The file that each video becomes.

    Raises:
        SmallBigError: a video is not in `base`, or two would become one file.
    """
    targets: dict[str, Path] = {}
    taken: dict[Path, str] = {}
    for video in videos:
        relative = Path(os.path.relpath(video, base))
        if relative.parts[0] == "..":
            raise SmallBigError(f"this video is not in {base}; name a folder that all are in with --data.root", video)
        stem = relative.stem if relative.suffix.lower() in VIDEO_EXTENSIONS else relative.name
        targets[video] = folder / relative.with_name(f"{stem}.mp4")
        if (other := taken.setdefault(targets[video], video)) != video:
            raise SmallBigError(f"it and {other} would both become {targets[video].name}; rename one of them", video)
    return targets


def claim(folder: Path, settings: dict) -> None:
    """Makes a folder the target of some settings.

    Raises:
        SmallBigError: it has other settings, or holds something else.
    """
    file = folder / SETTINGS
    text = json.dumps(settings, ensure_ascii=False) + "\n"
    if file.is_file():
        if (kept := file.read_text(encoding="utf-8")) != text:
            raise SmallBigError(f"this folder was prepared with other settings, {kept.strip()}; take another folder", folder)
    elif folder.exists() and any(folder.iterdir()):
        raise SmallBigError("this folder holds something else; take an empty or a new one", folder)
    else:
        write_text(file, text)


class Preparation:
    """The work on some videos in parallel processes, and what has become of each so far.

    A few videos, spread over all, come first: they are read before and after, and tell what all of them will come to.
    """

    def __init__(self, targets: dict[str, Path], encoding: Encoding, options: VideoOptions, workers: int = 0):
        videos = list(targets)
        self.targets = targets
        self.encoding = encoding
        self.options = options
        self.workers = workers or os.cpu_count() or 1
        self.sample = [videos[i] for i in sorted({int(i) for i in np.linspace(0, len(videos) - 1, SAMPLE)})]
        self.others = [video for video in videos if video not in self.sample and not targets[video].exists()]
        self.results: dict[str, Prepared] = {}

    def run(self) -> PrepareReport:
        """Prepares the videos that are not prepared yet.

        Raises:
            WorkError: a file can't be written.
        """
        videos = [*self.sample, *self.others]
        jobs = [
            (
                (video, str(self.targets[video]), self.encoding, video in self.sample, self.options),
                seconds_allowed(video, self.options, per_megabyte=10),
            )
            for video in videos
        ]
        bad = 0
        with bar("prepare", len(self.targets), "videos", done=len(self.targets) - len(jobs)) as progress:
            for video, result in zip(videos, in_processes(prepare_video, jobs, self.workers), strict=True):
                if isinstance(result, WorkError):
                    raise result
                if isinstance(result, Failure):
                    fresh_name(self.targets[video]).unlink(missing_ok=True)
                    result = Prepared(VideoReport(video, "unreadable", result.reason, 0))
                self.results[video] = result
                bad += result.report.status != "ok"
                progress.advance(note=f"{bad} left out")
                if self.others and len(self.results) == len(self.sample):
                    self._print_estimate()
        return self.report()

    def report(self) -> PrepareReport:
        """What the target folder holds by now."""
        done = [video for video in self.targets if self.targets[video].exists()]
        timed = [result for result in self.results.values() if result.after]
        in_order = [self.results[video].report for video in self.targets if video in self.results]
        return PrepareReport(
            videos=len(done),
            bad=[report for report in in_order if report.status != "ok"],
            bytes_before=sum(map(_size, done)),
            bytes_after=sum(_size(self.targets[video]) for video in done),
            read_before=sum(result.before for result in timed) / max(len(timed), 1),
            read_after=sum(result.after for result in timed) / max(len(timed), 1),
        )

    def _print_estimate(self) -> None:
        """Prints what all videos will come to, judged by those that are done."""
        now = self.report()
        encoded = [video for video, result in self.results.items() if result.seconds]
        if not now.bytes_before or not encoded:
            return
        left = sum(map(_size, self.others))
        before = now.bytes_before + left
        expected = replace(now, bytes_before=before, bytes_after=before * now.bytes_after // now.bytes_before)
        rate = sum(map(_size, encoded)) / sum(self.results[video].seconds for video in encoded) * self.workers
        console.print(f"estimate from {len(encoded)} videos: {expected.savings}; {left / rate / 60:.0f} minutes to go")


def copy_lists(source: Path, folder: Path) -> None:
    """Copies the files that may tell the videos' classes."""
    for place in walk(str(source)):
        for name in place.files:
            if Path(name).suffix.lower() not in LIST_SUFFIXES or name.startswith(".") or name == SETTINGS:
                continue
            file = Path(place.path, name)
            copy = folder / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, fresh_name(copy))
            os.replace(fresh_name(copy), copy)


def write_list(annotations: Annotations, targets: dict[str, Path], file: Path) -> None:
    """Writes the list of the prepared videos, without those that were left out."""
    paths = [targets[video] for video in annotations.paths.tolist()]
    moved = replace(annotations, paths=np.array(list(map(str, paths))))
    write_text(file, to_csv(moved.subset(np.array([path.exists() for path in paths])), file.parent))


def write_bad(videos: list[VideoReport], file: Path) -> None:
    """Writes a .csv file of the videos that were left out; if there are none, there is no such file."""
    file.unlink(missing_ok=True)
    if videos:
        text = io.StringIO()
        rows = csv.DictWriter(text, [field.name for field in fields(VideoReport)], lineterminator="\n")
        rows.writeheader()
        rows.writerows(map(asdict, videos))
        write_text(file, text.getvalue())


def _size(file: str | Path) -> int:
    return os.path.getsize(file) if os.path.exists(file) else 0
