"""Which videos can be read whole: every frame is decoded once, in processes that a broken file may crash or hang."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from smallbignet.data.frames import Video
from smallbignet.data.options import VideoOptions
from smallbignet.errors import VideoError
from smallbignet.utils.processes import Failure, in_processes


@dataclass(frozen=True)
class VideoReport:
    """How much of a video can be read.

    Attributes:
        status: "ok"; "damaged": some frames can be read, but not all that the file promises; "unreadable": none can.
        reason: one plain sentence, empty if the video is ok.
        num_frames: frames that can be read without damage.
    """

    path: str
    status: Literal["ok", "damaged", "unreadable"]
    reason: str
    num_frames: int


def check_video(path: str, options: VideoOptions = VideoOptions()) -> VideoReport:
    """Decodes every frame of a video once."""
    try:
        with options.open(path) as video:
            return judge(video, video.whole_frames())
    except VideoError as error:
        return VideoReport(path, "unreadable", error.what, 0)


def judge(video: Video, whole: int) -> VideoReport:
    """The report on a video of which `whole` frames can be read without damage."""
    promised = max(video.num_frames, video.claimed_frames)
    if whole == 0:
        return VideoReport(video.path, "unreadable", f"all of its {promised} frames are damaged or missing", 0)
    if whole < promised:
        missing = f"; {names}" if (names := video.missing_frames()) else ""
        return VideoReport(video.path, "damaged", f"{whole} of {promised} frames can be read without damage{missing}", whole)
    return VideoReport(video.path, "ok", "", whole)


def check_videos(paths: Iterable[str], workers: int = 0, options: VideoOptions = VideoOptions()) -> Iterator[VideoReport]:
    """Checks videos in parallel; the reports come in the order of `paths`, each as soon as it is there.

    A file that crashes its process, or takes too long (see `seconds_allowed`), is unreadable.

    Args:
        workers: processes; 0 takes one for each core.
    """
    paths = list(paths)
    jobs = [((path, options), seconds_allowed(path, options)) for path in paths]
    for path, result in zip(paths, in_processes(check_video, jobs, workers), strict=True):
        yield VideoReport(path, "unreadable", result.reason, 0) if isinstance(result, Failure) else result


def seconds_allowed(path: str, options: VideoOptions, per_megabyte: float = 1.0) -> float:
    """How long work on a video may take before it counts as hanging: longer than decoding, and longer for large files."""
    megabytes = os.path.getsize(path) / 1e6 if os.path.exists(path) else 0.0
    return 60 + options.max_seconds + per_megabyte * megabytes
