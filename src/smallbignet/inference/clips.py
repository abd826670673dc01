"""The one road from a video's path to what a network sees of it: open, sample, decode, scale, crop.

Every verb that scores videos reads them here, so they all give a video the same scores. A reader never raises for a video that
can't be read: it returns an `Unreadable` in its place, and goes on with the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from smallbignet.data.frames import USUAL_RATE, Unreadable, Video
from smallbignet.data.options import VideoOptions
from smallbignet.data.sampling import ClipSpec, Places, Views, find_places, sample_test_clips
from smallbignet.data.transforms import InputSpec, view_crops
from smallbignet.errors import VideoError

CLIPS_AT_ONCE = 16  # of one video, decoded and in memory together
UNIFORM_WINDOW = 2.0  # seconds: a uniform clip covers a whole video, so it has no length of its own
T = TypeVar("T")


@dataclass(frozen=True)
class VideoClips:
    """Views of one video: all of them or, of a long video, the next few.

    Attributes:
        path: the video.
        clips: uint8 NTHWC (views, clip_len, S, S, 3), the crops of one clip after the other.
        is_last: whether the video has no more views after these.
        share: how much of the video's views has been read with these, 0 to 1.
    """

    path: str
    clips: Tensor
    is_last: bool
    share: float = field(default=1.0, kw_only=True)

    def pin_memory(self) -> VideoClips:
        """The same in memory that a GPU copies from while it computes. PyTorch's loader calls this."""
        return replace(self, clips=self.clips.pin_memory())


@dataclass(frozen=True)
class Window:
    """A stretch of a video that is scored as a video of its length would be.

    Attributes:
        first_frame, last_frame: the numbers of its first and its last frame, from 0.
        start, end: seconds from the video's first frame to the window's first frame, and to the end of its last frame.
    """

    first_frame: int
    last_frame: int
    start: float
    end: float


@dataclass(frozen=True)
class WindowClips(VideoClips):
    """The views of some windows of one video, those of one window after the other.

    Attributes:
        frames: the numbers of the frames in the clips, (num_clips, clip_len); the crops of a clip have the same frames.
        windows: the windows, in their order.
        number: that of the first of them, from 0.
        num_windows: number of windows in the whole video.
        fps: mean frames per second of the video; 25 where it has no rate.
    """

    frames: np.ndarray
    windows: list[Window]
    number: int
    num_windows: int
    fps: float


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
                    yield VideoClips(path, clips, stop >= len(indices), share=min(stop / len(indices), 1.0))
        except VideoError as error:
            yield Unreadable(path, error.what)

    def read_windows(self, path: str, window: float = 0.0, stride: float = 0.0) -> Iterator[WindowClips | Unreadable]:
        """Reads windows that cover one video without gaps, with at most `CLIPS_AT_ONCE` clips in memory.

        The windows start evenly from the first frame to the last possible one. A video that is shorter than a window is one
        window. The clips of a window are those of a video of its length, so they are what `read` returns where it takes as many
        clips as there are windows. A frame is decoded once, although windows overlap, as long as at most `CLIPS_AT_ONCE` clips
        lie over an instant.

        Args:
            window: seconds of a window; 0 for as long as a dense clip of the model, or `UNIFORM_WINDOW` for uniform clips.
            stride: seconds from one window to the next, at most, and never more than a window; 0 for half a window.
        """
        try:
            with self.options.open(path) as video:
                places = find_places(video, self.clip, self.options)
                edges = frame_edges(video)
                seconds = edges[-1] / places.count
                span = _window_span(places, seconds, window)
                step = min(max(round(stride / seconds), 1), span) if stride else max(span // 2, 1)
                starts = place_windows(places.count, span, step)
                clips = sample_test_clips(span, places.spec, self.views.num_clips)
                windows = _find_windows(places, starts, span, edges)
                at_once = max(CLIPS_AT_ONCE // self.views.num_clips, 1)

                def frames_of(first: int) -> np.ndarray:
                    """Of the clips that are read together, from a window on: (num_clips, clip_len)."""
                    return places.frames(starts[first : first + at_once, None, None] + clips).reshape(-1, self.clip.clip_len)

                views = ViewReader(video, self.input_spec, self.views)
                for first in range(0, len(windows), at_once):
                    stop = first + at_once
                    frames = frames_of(first)
                    yield WindowClips(
                        path=path,
                        clips=views.read(frames, following=frames_of(stop)),
                        is_last=stop >= len(windows),
                        share=min(stop / len(windows), 1.0),
                        frames=frames,
                        windows=windows[first:stop],
                        number=first,
                        num_windows=len(windows),
                        fps=video.fps or USUAL_RATE,
                    )
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


def place_windows(count: int, span: int, stride: int) -> np.ndarray:
    """Returns the first places of windows of `span` of `count` places: evenly spaced, and at most `stride` apart."""
    last = count - span
    steps = -(-last // stride)
    return np.arange(steps + 1) * last // max(steps, 1)


def frame_edges(video: Video) -> np.ndarray:
    """Returns when each frame begins, and when the last one ends, in seconds from the first: (num_frames + 1,) float64.

    The last frame is shown as long as the others are on average.
    """
    times = video.times
    mean = times[-1] / (len(times) - 1) if len(times) > 1 else 1 / (video.fps or USUAL_RATE)
    return np.append(times, times[-1] + mean)


def _window_span(places: Places, seconds: float, window: float) -> int:
    """The places in a window of some seconds, which are `seconds` apart."""
    is_own = places.spec.sampling == "dense" and not window
    span = places.spec.span if is_own else max(round((window or UNIFORM_WINDOW) / seconds), 1)
    return min(span, places.count)


def _find_windows(places: Places, starts: np.ndarray, span: int, edges: np.ndarray) -> list[Window]:
    """The windows from some places on. Together they have every frame, also where some lie between two places."""
    firsts = places.frames(starts)
    firsts[0] = 0
    ends = places.frames(starts + span)
    ends[-1] = len(edges) - 1
    ends = np.maximum(ends, firsts + 1)  # a frame that is shown throughout several windows is in each
    return [Window(int(a), int(b) - 1, float(edges[a]), float(edges[b])) for a, b in zip(firsts, ends, strict=True)]


class ViewReader:
    """Reads the crops of clips; every frame is decoded and scaled once, also where the clips that are read next need it again.

    Args:
        video: an open video.
    """

    def __init__(self, video: Video, input_spec: InputSpec, views: Views):
        self.video, self.input_spec, self.views = video, input_spec, views
        self.kept: dict[int, Tensor] = {}  # the crops of frames that are needed next, (num_crops, S, S, 3), by number

    def read(self, indices: np.ndarray, following: np.ndarray | None = None) -> Tensor:
        """Reads the crops of some clips.

        Args:
            indices: of the video's frames, (num_clips, clip_len).
            following: those that will be asked for next. The ones before the end of these clips are read now, because going
                back to them would mean to decode again from the last key frame before them.

        Returns:
            uint8 NTHWC (num_clips * num_crops, clip_len, S, S, 3), the crops of one clip after the other.

        Raises:
            VideoError: one of these frames is damaged or missing.
        """
        num_clips, clip_len = indices.shape
        side = self.input_spec.size if self.views.num_crops == 1 else self.input_spec.short_side
        clips = torch.empty(num_clips, self.views.num_crops, clip_len, side, side, 3, dtype=torch.uint8)
        wanted = set(indices.flat)
        needed_next = set() if following is None else set(following.flat)
        wanted |= {number for number in needed_next if number < max(wanted)}
        kept = self.kept
        self.kept = {}
        for number, crops in chain(kept.items(), self._read(wanted - kept.keys())):
            for clip, place in np.argwhere(indices == number):
                clips[clip, :, place] = crops
            if number in needed_next:
                self.kept[number] = crops
        return clips.flatten(0, 1)

    def _read(self, numbers: set[int]) -> Iterator[tuple[int, Tensor]]:
        """Reads the crops of frames one at a time, so that frames of full size, eighty for ten clips, are never in memory."""
        for number, frame in self.video.each(numbers):
            yield number, view_crops(frame[None], self.input_spec, self.views)[:, 0]


def read_views(video: Video, indices: np.ndarray, input_spec: InputSpec, views: Views) -> Tensor:
    """Reads the crops of a video's clips, as `ViewReader.read` does."""
    return ViewReader(video, input_spec, views).read(indices)


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yields the items, each made by a thread while the one before it is used. None ends them, so none of them is None."""
    with ThreadPoolExecutor(1) as executor:
        following = executor.submit(next, items, None)
        while (item := following.result()) is not None:
            following = executor.submit(next, items, None)
            yield item
