"""Which frames make up a clip.

Clips are sampled from places, which are the frames of a video or lie evenly in its time (`find_places`); the functions that
sample know only their number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch

from smallbignet.data.frames import Video
from smallbignet.data.limits import Limits
from smallbignet.utils.checks import Must, Range, check_fields, read_as

VIEWS = re.compile(r"([1-9][0-9]{0,2}|1000)x([13])")
ViewsText = Annotated[str, Must("clips x crops, 1 to 1,000 clips and 1 or 3 crops, such as 10x3", VIEWS.fullmatch)]
LONGEST_INTERVAL = 10_000


@dataclass(frozen=True)
class ClipSpec:
    """How a clip is taken from a video.

    Attributes:
        sampling: "dense": clip_len frames, frame_interval apart, from one place (Kinetics-400); "uniform": one frame from each
            of clip_len equal segments of the whole video, which others call num_segments (Something-Something).
        clip_len: number of frames in a clip.
        frame_interval: distance from one frame to the next in dense clips. "8x8" means clip_len x frame_interval.
        fps: frames per second that frame_interval counts in dense clips, whatever the rate of the video; 0 counts the frames of
            the video.
        by_time: make the segments of uniform clips equally long in time, where a file has time stamps that can be trusted;
            false gives segments with equally many frames. Only videos with a variable frame rate differ.
    """

    sampling: Literal["dense", "uniform"] = "dense"
    clip_len: Annotated[int, Range(ge=1, le=4096)] = 8
    frame_interval: Annotated[int, Range(ge=1, le=LONGEST_INTERVAL)] = 8
    fps: Annotated[float, Range(ge=0, le=1000)] = 0.0
    by_time: bool = False  # as in the model directories and recipes that don't say

    def __post_init__(self) -> None:
        check_fields(self, "clip")

    @property
    def span(self) -> int:
        """Number of video frames that a dense clip covers, with those between its frames and after its last one."""
        return self.clip_len * self.frame_interval


@dataclass(frozen=True)
class Views:
    """The views of a video that are averaged: clips along time, and crops of each: 1 (centre) or 3 (along the longer side)."""

    num_clips: int = 1
    num_crops: int = 1

    @classmethod
    def parse(cls, text: str) -> Views:
        """Reads "10x3".

        Raises:
            SmallBigError: the text isn't 1 to 1,000 clips x 1 or 3 crops.
        """
        num_clips, num_crops = read_as(ViewsText, text, "views").split("x")
        return cls(int(num_clips), int(num_crops))

    def __str__(self) -> str:
        return f"{self.num_clips}x{self.num_crops}"


@dataclass(frozen=True)
class Places:
    """Places in a video that clips are sampled from.

    Attributes:
        count: number of places.
        spec: how clips are sampled from them.
        start, step: seconds from the first frame to the first place, and from one place to the next.
        edges: seconds at which each frame but the first begins to be the one that is taken; None: the places are the frames.
    """

    count: int
    spec: ClipSpec
    start: float = 0.0
    step: float = 0.0
    edges: np.ndarray | None = None

    def frames(self, places: np.ndarray) -> np.ndarray:
        """The numbers of the frames at some places."""
        if self.edges is None:
            return places
        return np.searchsorted(self.edges, self.start + places * self.step, side="right")


def find_places(video: Video, spec: ClipSpec, limits: Limits) -> Places:
    """The places in a video that clips are sampled from: its frames, or places that lie evenly in its time.

    Uniform clips, by time: as many places as frames, each the middle of an equal part of the time, and the frame that is shown
    then. At a constant rate, also with time stamps off by less than half a frame, the places are the frames.

    Dense clips at a frame rate: places at this rate, or at a multiple of it that is near the video's own rate, and the frame
    nearest in time, as in the data sets of SlowFast.

    Raises:
        VideoError: there are too many places.
    """
    count = video.num_frames
    is_by_time = spec.by_time if spec.sampling == "uniform" else spec.fps > 0 and video.fps > 0
    if not is_by_time or count == 1:
        return Places(count, spec)
    times = video.times
    duration = times[-1] * count / (count - 1)  # the last frame is shown as long as the others are on average
    if spec.sampling == "uniform":
        step = duration / count
        return Places(count, spec, start=step / 2, step=step, edges=times[1:])
    most = LONGEST_INTERVAL // spec.frame_interval
    parts = max(1, round(min(count / duration / spec.fps, most)))
    step = 1 / (spec.fps * parts)
    count = max(1, round(duration / step))
    limits.check_frames(count, video.path)
    middles = (times[1:] + times[:-1]) / 2
    spec = replace(spec, frame_interval=spec.frame_interval * parts)
    return Places(count, spec, start=step / 1000, step=step, edges=middles)  # in the middle of two frames, the second


def sample_train_clip(num_frames: int, spec: ClipSpec, generator: torch.Generator) -> np.ndarray:
    """Draws a random clip: a random start (dense), or a random frame of each segment (uniform).

    A video shorter than a dense clip is looped: the clip starts at any of its frames, and continues at the first after the
    last. One with fewer frames than segments repeats frames.

    Returns:
        Frame indices (clip_len,).
    """
    if spec.sampling == "dense":
        starts = num_frames - spec.span + 1 if num_frames >= spec.span else num_frames
        return _dense(num_frames, spec, int(torch.randint(starts, (), generator=generator)))
    return _uniform(num_frames, spec, torch.rand(spec.clip_len, generator=generator, dtype=torch.float64).numpy())


def sample_test_clips(num_frames: int, spec: ClipSpec, num_clips: int) -> np.ndarray:
    """Chooses clips that cover the video.

    Dense: starts evenly spaced from the first possible to the last; a single clip starts in the middle. A video shorter than a
    dense clip is looped: its first clip starts at frame 0, and K clips 1/K of the video apart. Uniform: the first clip takes
    the middle of each segment. With K clips, each next one lies 1/K of a segment later, and continues at the start of the
    segment when it passes its end; the second of two clips is TSM's shifted sample.

    Returns:
        Frame indices (num_clips, clip_len).
    """
    # All in whole numbers: a rounded fraction may fall on the frame before.
    clips = np.arange(num_clips)
    if spec.sampling == "dense":
        last = num_frames - spec.span
        if last < 0:
            starts = clips * num_frames // num_clips
        elif num_clips == 1:
            starts = np.array([last // 2])
        else:
            starts = clips * last // (num_clips - 1)
        return np.stack([_dense(num_frames, spec, int(start)) for start in starts])
    parts = 2 * num_clips
    places = (num_clips + 2 * clips) % parts
    return np.stack([_uniform(num_frames, spec, np.full(spec.clip_len, place), parts) for place in places])


def _dense(num_frames: int, spec: ClipSpec, start: int) -> np.ndarray:
    return (start + np.arange(spec.clip_len) * spec.frame_interval) % num_frames


def _uniform(num_frames: int, spec: ClipSpec, places: np.ndarray, parts: int = 1) -> np.ndarray:
    """One frame of each segment, at its place in the segment: 0 to `parts`."""
    frames = (np.arange(spec.clip_len) * parts + places) * num_frames // (spec.clip_len * parts)
    return np.minimum(frames, num_frames - 1).astype(np.int64)  # 7 and a fraction just below 1 are 8.0
