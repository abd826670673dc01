"""What happens when in a video of any length: scores along its time, and segments with one label each.

classifier = VideoClassifier("runs/mine")
[timeline] = make_timelines(classifier, ["film.mp4"], Rules(threshold=0.6))
timeline.segments  # [Segment(label="dancing", score=0.93, start=0.0, end=4.2, first_frame=0, last_frame=104), ...]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, groupby
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from smallbignet.data.frames import Unreadable
from smallbignet.data.options import VideoOptions
from smallbignet.inference.classifier import UNKNOWN, VideoClassifier
from smallbignet.inference.clips import Window, WindowClips, ahead
from smallbignet.inference.shared import WindowScorer
from smallbignet.utils.checks import Range, check_fields

Seconds = Annotated[float, Range(ge=0, le=86_400)]
NONE = -1  # the class of an unknown segment


@dataclass(frozen=True)
class Rules:
    """How windows are laid over a video, and how scores become segments.

    Attributes:
        window: seconds of a window; 0 for as long as a clip of the model, see `ClipReader.read_windows`.
        stride: seconds from one window to the next, at most; 0 for half a window.
        threshold: the score below which a label becomes "unknown".
        unknown: the same below the model's own thresholds.
        shortest: seconds; a shorter segment becomes part of the longer of its neighbours.
    """

    window: Seconds = 0.0
    stride: Seconds = 0.0
    threshold: Annotated[float, Range(ge=0, le=1)] = 0.0
    unknown: bool = False
    shortest: Seconds = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "")


@dataclass(frozen=True)
class Segment:
    """A stretch of a video with one label.

    Attributes:
        label: a class name, or "unknown".
        score: the mean score of this class over the segment; of "unknown", that of the best class at each instant.
        start, end: seconds from the video's first frame to the segment's first frame, and to the end of its last frame.
        first_frame, last_frame: their numbers, from 0.
    """

    label: str
    score: float
    start: float
    end: float
    first_frame: int
    last_frame: int


@dataclass(frozen=True)
class Curve:
    """The scores at each instant of a video: the mean of the windows over it. They change only where a window begins or ends.

    Attributes:
        frames: the frames at which the scores change, from 0 to the number of frames, (M + 1,) int64.
        seconds: the times at which these frames begin, (M + 1,) float64.
        scores: in between, (M, num_classes) float32.
    """

    frames: np.ndarray
    seconds: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Timeline:
    """The segments of one video, without gaps from its first frame to its last; or the reason why it could not be read.

    Attributes:
        fps: mean frames per second of the video; 25 where it has no rate.
    """

    path: str
    segments: list[Segment]
    fps: float = 0.0
    curve: Curve | None = None
    error: str = ""

    def report(self) -> dict[str, Any]:
        """The timeline as plain data, without the curve."""
        segments = [asdict(segment) for segment in self.segments]
        return {"path": self.path, "fps": self.fps, "segments": segments, "error": self.error}


def make_timelines(
    classifier: VideoClassifier,
    paths: Iterable[str],
    rules: Rules = Rules(),
    views: str = "1x1",
    options: VideoOptions = VideoOptions(),
    progress: Callable[[WindowClips], object] = lambda item: None,
) -> Iterator[Timeline]:
    """Makes the timeline of each video, while the next windows are read; few clips are in memory, however long a video is.

    Args:
        views: clips x crops of each window.
        options: how the videos are opened.
        progress: called after some windows are scored.

    Raises:
        SmallBigError: views of another form, or `rules.unknown` and a model without thresholds.
    """
    config = classifier.config
    thresholds = np.full(len(config.classes), rules.threshold)
    if rules.unknown:
        classifier.check_thresholds()
        own = [config.scores.threshold(label) for label in range(len(config.classes))]
        thresholds = np.maximum(thresholds, own)
    reader = classifier.reader(views, options)
    scorer = WindowScorer(classifier)
    items = chain.from_iterable(reader.read_windows(path, rules.window, rules.stride) for path in paths)
    windows: list[Window] = []  # of the video that is being read
    scores: list[Tensor] = []
    for item in ahead(items):
        if isinstance(item, Unreadable):
            windows, scores = [], []
            yield Timeline(item.path, [], error=item.reason)
            continue
        windows += item.windows
        scores.append(classifier.average(scorer.scores(item).unflatten(0, (len(item.windows), -1))))
        progress(item)
        if item.is_last:
            curve = make_curve(windows, torch.cat(scores).numpy())
            yield Timeline(item.path, find_segments(curve, config.classes, thresholds, rules.shortest), item.fps, curve)
            windows, scores = [], []


def make_curve(windows: Sequence[Window], scores: np.ndarray) -> Curve:
    """Averages the scores of windows over each instant.

    Args:
        windows: of one video, in their order, without gaps.
        scores: (len(windows), num_classes).
    """
    firsts = np.array([window.first_frame for window in windows])
    ends = np.array([window.last_frame + 1 for window in windows])
    times = {window.first_frame: window.start for window in windows}
    times |= {window.last_frame + 1: window.end for window in windows}
    frames = np.array(sorted(times))
    lows = np.searchsorted(ends, frames[:-1], side="right")  # the first window that has not ended
    highs = np.searchsorted(firsts, frames[:-1], side="right")  # the first window that has not begun
    means = [scores[low:high].mean(0) for low, high in zip(lows, highs, strict=True)]
    return Curve(frames, np.array([times[frame] for frame in frames.tolist()]), np.stack(means))


@dataclass(frozen=True)
class _Run:
    """Neighbouring parts of a curve, from `first` to before `stop`, with one class or `NONE`."""

    label: int
    first: int
    stop: int


def find_segments(curve: Curve, classes: Sequence[str], thresholds: np.ndarray, shortest: float = 0.0) -> list[Segment]:
    """Joins neighbouring instants with the same best class into segments.

    Args:
        thresholds: (num_classes,), the scores below which a class is "unknown".
        shortest: seconds; as long as a segment is shorter, the shortest one becomes part of the longer of its neighbours, or of
            the earlier one where they are equally long.
    """
    best = curve.scores.argmax(1)
    labels = np.where(curve.scores.max(1) >= thresholds[best], best, NONE)
    runs = _joined([_Run(label, i, i + 1) for i, label in enumerate(labels.tolist())])
    while len(runs) > 1:
        lengths = [curve.seconds[run.stop] - curve.seconds[run.first] for run in runs]
        i = int(np.argmin(lengths))
        if lengths[i] > shortest - 1e-6:  # times are rounded
            break
        neighbour = max((j for j in (i - 1, i + 1) if 0 <= j < len(runs)), key=lambda j: lengths[j])
        runs[i] = _Run(runs[neighbour].label, runs[i].first, runs[i].stop)
        runs = _joined(runs)
    return [_segment(run, curve, classes) for run in runs]


def _joined(runs: Sequence[_Run]) -> list[_Run]:
    groups = [list(group) for _, group in groupby(runs, key=lambda run: run.label)]
    return [_Run(group[0].label, group[0].first, group[-1].stop) for group in groups]


def _segment(run: _Run, curve: Curve, classes: Sequence[str]) -> Segment:
    parts = slice(run.first, run.stop)
    scores = curve.scores[parts].max(1) if run.label == NONE else curve.scores[parts, run.label]
    score = np.average(scores, weights=np.diff(curve.seconds[run.first : run.stop + 1]))
    start, end = curve.seconds[[run.first, run.stop]].tolist()
    label = UNKNOWN if run.label == NONE else classes[run.label]
    return Segment(label, float(score), start, end, int(curve.frames[run.first]), int(curve.frames[run.stop]) - 1)
