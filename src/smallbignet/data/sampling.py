"""Which frames make up a clip: functions of the number of frames, a clip spec, the number of clips and a random generator."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch

from smallbignet.utils.checks import Must, Range, check_fields, read_as

VIEWS = re.compile(r"([1-9][0-9]{0,2}|1000)x([13])")
ViewsText = Annotated[str, Must("clips x crops, 1 to 1,000 clips and 1 or 3 crops, such as 10x3", VIEWS.fullmatch)]


@dataclass(frozen=True)
class ClipSpec:
    """How a clip is taken from a video.

    Attributes:
        sampling: "dense": clip_len frames, frame_interval apart, from one place (Kinetics-400); "uniform": one frame from each
            of clip_len equal segments of the whole video, which others call num_segments (Something-Something).
        clip_len: number of frames in a clip.
        frame_interval: distance from one frame to the next in dense clips. "8x8" means clip_len x frame_interval.
    """

    sampling: Literal["dense", "uniform"] = "dense"
    clip_len: Annotated[int, Range(ge=1, le=4096)] = 8
    frame_interval: Annotated[int, Range(ge=1, le=10_000)] = 8

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
