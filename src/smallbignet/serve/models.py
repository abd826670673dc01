"""The models of a server, and how one of them answers a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from smallbignet.data.frames import Unreadable
from smallbignet.data.options import VideoOptions
from smallbignet.data.transforms import InputSpec, to_input
from smallbignet.errors import SmallBigError, VideoError
from smallbignet.explain.clip import SampledClip, read_clip
from smallbignet.explain.contributions import contributions
from smallbignet.explain.explanation import to_scores
from smallbignet.inference.classifier import VideoClassifier
from smallbignet.inference.clips import ClipReader, VideoClips, WindowClips
from smallbignet.inference.exported import load_network
from smallbignet.inference.timeline import Rules, Timeline, make_timelines
from smallbignet.models.network import VideoNetwork
from smallbignet.serve.engine import Engine
from smallbignet.serve.forms import AnswerForm, CurveForm, ExplainForm, ModelForm, Region, TimelineForm
from smallbignet.serve.readers import Reader
from smallbignet.utils.machine import pick_device
from smallbignet.weights.directory import ModelConfig
from smallbignet.weights.load import load_config

MOST_CURVES = 12  # classes whose scores are given along the time


@dataclass(frozen=True)
class Question:
    """What a client wants to know of a video.

    Attributes:
        model: the model's name.
        name: of the file, made harmless.
        top: number of labels.
        views: clips x crops, or "auto".
        timeline, explain: whether these parts of the answer are wanted.
        unknown: put "unknown" first where the best score is below the model's threshold.
    """

    model: str
    name: str
    top: int = 5
    views: str = "auto"
    timeline: bool = False
    explain: bool = False
    unknown: bool = False


class ServedModel:
    """A model that is asked by its name.

    Args:
        name: in requests.
        source: what `load_model` takes, or an exported directory.
    """

    def __init__(self, name: str, source: str, device: str = ""):
        self.name = name
        config = load_config(source)
        network = load_network(source, pick_device(device or None))
        self.classifier = VideoClassifier(network, config, device or None)
        self.network = network if isinstance(network, VideoNetwork) else None  # not fused, so that it can be explained

    def describe(self) -> ModelForm:
        config = self.classifier.config
        return ModelForm(
            name=self.name,
            network=config.network["name"],
            classes=config.classes,
            views=config.views,
            kind=config.scores.kind,
            clip_len=config.clip.clip_len,
            input_size=config.input.size,
            knows_unknown=bool(config.scores.thresholds),
            explains=self.network is not None,
        )

    def check(self, question: Question) -> None:
        """Raises a SmallBigError for a question that this model can't answer."""
        self.classifier.reader(question.views)  # views of another form
        if question.unknown:
            self.classifier.check_thresholds()
        if question.explain and self.network is None:
            raise SmallBigError("an exported model can't be explained: leave out explain, or serve the model itself", self.name)

    def answer(self, question: Question, file: str, road: Road) -> AnswerForm:
        """Answers a question about a video file.

        Raises:
            VideoError: the video can't be read.
            WorkError: the network returns values that are not numbers.
        """
        parts = 1 + question.timeline + question.explain
        classifier = RequestClassifier(self.classifier, road)
        road.begin(1, parts)
        [found] = classifier.predict_all([file], question.top, question.views, road.options, question.unknown)
        _check(found.error)
        timeline = explained = None
        if question.timeline:
            road.begin(2, parts)
            [made] = make_timelines(classifier, [file], Rules(unknown=question.unknown), options=road.options)
            _check(made.error)
            timeline = timeline_form(made, classifier.config.classes)
        if question.explain:
            road.begin(parts, parts)
            explained = self._explain(file, road)
        return AnswerForm(question.name, found.predictions, timeline=timeline, explain=explained)

    def _explain(self, file: str, road: Road) -> ExplainForm:
        clip, size = road.read(read_sampled, file, self.classifier.config, road.options)
        return road.engine.call(partial(self._explain_clip, clip, size))

    def _explain_clip(self, clip: SampledClip, size: tuple[int, int]) -> ExplainForm:
        assert self.network is not None, "checked before the work began"
        config = self.classifier.config
        images = to_input(clip.pixels[None].to(self.classifier.device), config.input)
        with torch.inference_mode():
            scores = to_scores(self.network(images), config.scores)[0]
        label = int(scores.argmax())
        found = contributions(self.network, images, label)
        return ExplainForm(
            label=config.classes[label],
            score=float(scores[label]),
            logit=found.logit,
            bias=found.bias,
            map=found.map.tolist(),
            scale=float(np.abs(found.map).max()) or 1.0,
            frames=clip.frames.tolist(),
            times=clip.times.tolist(),
            region=find_region(*size, config.input),
        )


def _check(error: str) -> None:
    if error:
        raise VideoError(error)


@dataclass
class Road:
    """How one request gets its video read and scored.

    Attributes:
        reader: the process that reads the video.
        engine: the thread that scores it.
        options: how the video is opened.
        deadline: by `time.monotonic()`.
        advance: called with the share of the work that is done, 0 to 1.
    """

    reader: Reader
    engine: Engine
    options: VideoOptions
    deadline: float
    advance: Callable[[float], object]
    part: int = 1
    parts: int = 1

    def begin(self, part: int, parts: int) -> None:
        """Begins one of the parts of the work, counted from 1."""
        self.part, self.parts = part, parts
        self.advance((part - 1) / parts)

    def read(self, function: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
        """Yields what a function yields in the process that reads the video."""
        for item in self.reader.read(self.deadline, function, *arguments):
            yield item
            if isinstance(item, VideoClips):
                self.advance((self.part - 1 + item.share) / self.parts)


@dataclass(frozen=True)
class RemoteReader(ClipReader):
    """A `ClipReader` that reads in another process."""

    road: Road = field(kw_only=True)

    @property
    def local(self) -> ClipReader:
        """The same, to be sent to the process."""
        return ClipReader(self.clip, self.input_spec, self.views, self.covering, self.options)

    def read(self, path: str) -> Iterator[VideoClips | Unreadable]:
        try:
            yield from self.road.read(ClipReader.read, self.local, path)
        except VideoError as error:
            yield Unreadable(path, error.what)

    def read_windows(self, path: str, window: float = 0.0, stride: float = 0.0) -> Iterator[WindowClips | Unreadable]:
        try:
            yield from self.road.read(ClipReader.read_windows, self.local, path, window, stride)
        except VideoError as error:
            yield Unreadable(path, error.what)


class RequestClassifier(VideoClassifier):
    """A classifier for one request: its video is read in another process, its clips are scored with those of other requests."""

    def __init__(self, shared: VideoClassifier, road: Road):
        vars(self).update(vars(shared))  # the same settings
        self.network = nn.Identity()  # nothing here may run the network but the engine, which `scores` asks
        self.shared = shared
        self.road = road

    def reader(self, views: str, options: VideoOptions = VideoOptions()) -> ClipReader:
        local = super().reader(views, options)
        return RemoteReader(local.clip, local.input_spec, local.views, local.covering, options, road=self.road)

    def scores(self, clips: Tensor) -> Tensor:
        return self.road.engine.scores(self.shared, clips)


def read_sampled(path: str, config: ModelConfig, options: VideoOptions) -> Iterator[SampledClip | tuple[int, int]]:
    """Yields the clip that is explained, and the width and height of the video's frames."""
    yield read_clip(path, config, options)
    with options.open(path) as video:
        yield video.width, video.height


def find_region(width: int, height: int, spec: InputSpec) -> Region:
    """Returns the part of a frame that the centre crop shows, see `view_crops`."""
    across, down = (spec.size / spec.short_side * min(width, height) / side for side in (width, height))
    return Region((1 - across) / 2, (1 - down) / 2, across, down)


def timeline_form(timeline: Timeline, classes: Sequence[str]) -> TimelineForm:
    """Returns a timeline with the curves of the classes that have the highest scores."""
    curve = timeline.curve
    assert curve is not None, "the video could be read"
    best = np.argsort(-curve.scores.max(0), kind="stable")[:MOST_CURVES].tolist()
    scores = [[round(score, 4) for score in curve.scores[:, label].tolist()] for label in best]
    form = CurveForm([classes[label] for label in best], curve.seconds.tolist(), scores)
    return TimelineForm(timeline.fps, timeline.segments, form)
