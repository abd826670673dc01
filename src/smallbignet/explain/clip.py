"""The clip that is explained: the middle one of a video, its centre crop, and when its frames are shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from smallbignet.data.options import VideoOptions
from smallbignet.data.sampling import Views, find_places, sample_test_clips
from smallbignet.inference.clips import read_views
from smallbignet.weights.directory import ModelConfig

ONE_VIEW = Views(1, 1)


@dataclass(frozen=True)
class SampledClip:
    """The view that `smallbig predict --views 1x1` scores.

    Attributes:
        path: the video.
        pixels: uint8 (T, S, S, 3), what the network is shown, before it is normalised.
        frames: (T,) numbers of the frames in the video, from 0.
        times: (T,) seconds from the video's first frame.
    """

    path: str
    pixels: Tensor
    frames: np.ndarray
    times: np.ndarray

    def caption(self, index: int) -> str:
        """The frame number and the time of one of the clip's frames."""
        return f"frame {self.frames[index]}, {self.times[index]:.2f} s"


def read_clip(path: str, config: ModelConfig, options: VideoOptions = VideoOptions()) -> SampledClip:
    """Read the middle clip of a video as a model samples it.

    Raises:
        VideoError: the video can't be read.
    """
    with options.open(path) as video:
        places = find_places(video, config.clip, options)
        indices = places.frames(sample_test_clips(places.count, places.spec, 1))
        [pixels] = read_views(video, indices, config.input, ONE_VIEW)
        return SampledClip(path, pixels, indices[0], video.times[indices[0]])


def shown_frames(clip_len: int, count: int) -> list[int]:
    """Return the clip's frames that stand for `count` equal parts of it: evenly spaced, from the first to the last."""
    return [i * (clip_len - 1) // max(count - 1, 1) for i in range(count)]
