"""The one road from a video's path to what a network sees of it: open, sample, decode, scale, crop.

Every verb that scores videos reads them here, so they all give a video the same scores. A reader never raises for a video that
can't be read: it returns an `Unreadable` in its place, and goes on with the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from smallbignet.data.frames import Unreadable, Video
from smallbignet.data.options import VideoOptions
from smallbignet.data.sampling import ClipSpec, Views, find_places, sample_test_clips
from smallbignet.data.transforms import InputSpec, view_crops
from smallbignet.errors import VideoError

CLIPS_AT_ONCE = 16  # of one video, decoded and in memory together
T = TypeVar("T")


@dataclass(frozen=True)
class VideoClips:
    """Views of one video: all of them or, of a long video, the next few.

    Attributes:
        path: the video.
        clips: uint8 NTHWC (views, clip_len, S, S, 3), the crops of one clip after the other.
        is_last: whether the video has no more views after these.
    """

    path: str
    clips: Tensor
    is_last: bool

    def pin_memory(self) -> VideoClips:
        """The same in memory that a GPU copies from while it computes. PyTorch's loader calls this."""
        return replace(self, clips=self.clips.pin_memory())


@dataclass(frozen=True)
class ClipReader:
    """Reads the views of videos for one network.

    Attributes:
        clip: how clips are sampled.
        input_spec: how frames are scaled and cropped.
        views: how many clips and crops a video has.
        covering: take more clips where dense ones would leave gaps in a long video.
        options: how videos are opened.
    """

    clip: ClipSpec
    input_spec: InputSpec
    views: Views
    covering: bool = False
    options: VideoOptions = VideoOptions()

    def read(self, path: str) -> Iterator[VideoClips | Unreadable]:
        """Reads one video, with at most `CLIPS_AT_ONCE` clips in memory, however long it is."""
        try:
            with self.options.open(path) as video:
                places = find_places(video, self.clip, self.options)
                views = covering_views(places.count, places.spec, self.views) if self.covering else self.views
                indices = places.frames(sample_test_clips(places.count, places.spec, views.num_clips))
                for start in range(0, len(indices), CLIPS_AT_ONCE):
                    stop = start + CLIPS_AT_ONCE
                    clips = read_views(video, indices[start:stop], self.input_spec, views)
                    yield VideoClips(path, clips, is_last=stop >= len(indices))
        except VideoError as error:
            yield Unreadable(path, error.what)

    def read_all(self, paths: Iterable[str]) -> Iterator[VideoClips | Unreadable]:
        """Reads videos one after the other."""
        return chain.from_iterable(map(self.read, paths))

    def read_batch(self, paths: list[str]) -> list[VideoClips | Unreadable]:
        """Reads a few videos whole; a worker process of `make_loader` calls this."""
        return list(self.read_all(paths))


def covering_views(num_frames: int, clip: ClipSpec, views: Views) -> Views:
    """The given views, with as many clips more as dense clips need to leave no gap in a long video."""
    gapless = -(-num_frames // clip.span) if clip.sampling == "dense" else 1
    return Views(max(views.num_clips, gapless), views.num_crops)


def read_views(video: Video, indices: np.ndarray, input_spec: InputSpec, views: Views) -> Tensor:
    """Reads the crops of a video's clips; every frame is decoded and scaled once.

    Args:
        video: an open video.
        indices: of its frames, (num_clips, clip_len).

    Returns:
        uint8 NTHWC (num_clips * num_crops, clip_len, S, S, 3), the crops of one clip after the other.

    Raises:
        VideoError: one of these frames is damaged or missing.
    """
    num_clips, clip_len = indices.shape
    side = input_spec.size if views.num_crops == 1 else input_spec.short_side
    clips = torch.empty(num_clips, views.num_crops, clip_len, side, side, 3, dtype=torch.uint8)
    # One frame at a time, so that frames of full size, eighty for ten clips, are never in memory together.
    for number, frame in video.each(indices.flat):
        crops = view_crops(frame[None], input_spec, views)  # (num_crops, 1, S, S, 3)
        for clip, place in np.argwhere(indices == number):
            clips[clip, :, place] = crops[:, 0]
    return clips.flatten(0, 1)


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yields the items, each made by a thread while the one before it is used. None ends them, so none of them is None."""
    with ThreadPoolExecutor(1) as executor:
        following = executor.submit(next, items, None)
        while (item := following.result()) is not None:
            following = executor.submit(next, items, None)
            yield item
