"""`smallbig timeline`: what happens when in videos of any length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from rich.table import Column, Table

from smallbignet.data.options import VideoOptions
from smallbignet.data.source import find_files
from smallbignet.errors import SmallBigError
from smallbignet.inference.classifier import VideoClassifier
from smallbignet.inference.clips import WindowClips
from smallbignet.inference.timeline import Rules, Seconds, Timeline, make_timelines
from smallbignet.inference.timeline_files import TimelineFile, write_timelines
from smallbignet.inference.timeline_picture import PictureFile, draw_timeline
from smallbignet.utils.checks import Range, checked
from smallbignet.utils.console import bar, console
from smallbignet.utils.memory import keep_memory


@dataclass(frozen=True)
class Timelines:
    """One timeline for each video, in the order given, and the file they were written to, if any."""

    timelines: list[Timeline]
    out: str = ""

    @property
    def exit_status(self) -> int:
        """1 where a video could not be read."""
        return int(any(timeline.error for timeline in self.timelines))

    def report(self) -> list[dict[str, Any]]:
        """The timelines as plain data."""
        return [timeline.report() for timeline in self.timelines]


@checked
def timeline(
    model: str,
    videos: list[str],
    *,
    out: TimelineFile = "",
    format: Literal["auto", "labelstudio", "fiftyone"] = "auto",
    picture: PictureFile = "",
    threshold: Annotated[float, Range(ge=0, le=1)] = 0.0,
    unknown: bool = False,
    shortest: Seconds = 0.0,
    window: Seconds = 0.0,
    stride: Seconds = 0.0,
    views: str = "1x1",
    source: VideoOptions = VideoOptions(),
    device: str = "",
    precision: str = "fp32",
) -> Timelines:
    """Says what happens when in videos of any length: segments with a label, times and frames.

    Args:
        model: a model or run directory, a published network such as slow_r50, or org/name on the Hugging Face hub.
        videos: files, folders (all videos below, by suffix) or glob patterns.
        out: file for the segments: .csv, .json, or .vtt (subtitles of one video); a table is printed where it is empty.
        format: form of a .json file for another program, labelstudio or fiftyone; auto for our own.
        picture: file (.png) for a picture of one video: frames of it, its segments, and the scores of the classes over time.
        threshold: score below which a segment is "unknown"; the last two formats and .vtt leave such segments out.
        unknown: the same below the thresholds that training fitted (`run.wanted_precision`).
        shortest: seconds; a shorter segment becomes part of the longer of its neighbours.
        window: seconds that are scored together; 0 for as long as a dense clip of the model, or 2 for uniform clips.
        stride: seconds from one window to the next, at most; 0 for half a window.
        views: clips x crops of each window.
        source: how the videos are opened.
        device: cpu, cuda, ...; a GPU where there is one if not given.
        precision: fp32; bf16, faster where the device supports it; int8, fastest on a CPU, after measuring value ranges on up
            to 32 of the videos (`pip install 'smallbignet[int8]'`).

    Raises:
        SmallBigError: no such model, `unknown` and a model without thresholds, none of the names is a video's, or a file that
            can't hold these timelines.
    """
    rules = Rules(window, stride, threshold, unknown, shortest)
    paths = find_files(videos, source)
    if format != "auto" and not out.endswith(".json"):
        raise SmallBigError(f"the format {format} needs a file that ends in .json", f"--out {out}")
    if out.endswith(".vtt") and len(paths) > 1:
        raise SmallBigError(f"a .vtt file has the subtitles of one video, and there are {len(paths)}; take .csv or .json", out)
    if picture and len(paths) > 1:
        raise SmallBigError(f"a picture shows one video, and there are {len(paths)}", f"--picture {picture}")
    keep_memory()
    classifier = VideoClassifier(model, device=device or None, precision=precision)
    timelines: list[Timeline] = []
    with bar("timeline", 0, "windows") as progress:

        def advance(item: WindowClips) -> None:
            if item.number == 0:
                progress.extend(item.num_windows)
            progress.advance(len(item.windows), f"of video {len(timelines) + 1} of {len(paths)}")

        classifier.calibrate(paths, views, source)
        for made in make_timelines(classifier, paths, rules, views, source, advance):
            timelines.append(made)
            if made.error:
                console.print(f"unreadable: {made.path}: {made.error}")
    if out:
        write_timelines(timelines, out, format)
    if picture and not timelines[0].error:
        draw_timeline(timelines[0], classifier.config.classes, picture, source)
    return Timelines(timelines, out)


def show(result: Timelines) -> Table | str:
    """A table of the segments, or one line about the file with them."""
    if result.out:
        num_segments = sum(len(timeline.segments) for timeline in result.timelines)
        return f"{result.out}: {num_segments} segments of {sum(not made.error for made in result.timelines)} videos"
    table = Table(Column("video", overflow="fold"), "label", "score", "start", "end", "frames")
    for made in result.timelines:
        for i, segment in enumerate(made.segments):
            times = [f"{seconds:.2f}" for seconds in (segment.start, segment.end)]
            frames = f"{segment.first_frame}-{segment.last_frame}"
            table.add_row(made.path if i == 0 else "", segment.label, f"{segment.score:.3f}", *times, frames)
        if made.error:
            table.add_row(made.path, f"unreadable: {made.error}", "", "", "", "")
        table.add_section()
    return table
