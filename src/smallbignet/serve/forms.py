"""The JSON that the server returns: the contract with its clients, shown in docs/serve.md and at /docs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from smallbignet.inference.classifier import Prediction
from smallbignet.inference.timeline import Segment


@dataclass(frozen=True)
class CurveForm:
    """The scores of the classes with the highest ones, along the time.

    Attributes:
        classes: names of the classes, the one with the highest score first.
        seconds: M + 1 times from the first frame at which the scores may change; the last one is the end of the video.
        scores: for each class M scores, each from one of these times to the next.
    """

    classes: list[str]
    seconds: list[float]
    scores: list[list[float]]


@dataclass(frozen=True)
class TimelineForm:
    """What happens when, as `smallbig timeline --json` gives it, and the curves that it was made from.

    Attributes:
        fps: mean frames per second of the video.
        segments: stretches with one label each, without gaps.
    """

    fps: float
    segments: list[Segment]
    curve: CurveForm


@dataclass(frozen=True)
class Region:
    """A part of a frame, in shares of its width and its height: 0 is left or top, 1 is right or bottom."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class ExplainForm:
    """What each place of the middle clip contributed to the logit of a class; the sum of the map and the bias is the logit.

    Attributes:
        label: the class, the one with the best score in this clip.
        score: its score in this clip.
        map: contributions, T' x H' x W'.
        scale: the largest absolute contribution, which has the full colour.
        frames: numbers of the T sampled frames, from 0. Frame t belongs to row t * T' // T of the map.
        times: seconds from the first frame at which they are shown.
        region: the part of each frame that the network was shown and that the map covers.
    """

    label: str
    score: float
    logit: float
    bias: float
    map: list[list[list[float]]]
    scale: float
    frames: list[int]
    times: list[float]
    region: Region


@dataclass(frozen=True)
class AnswerForm:
    """The answer for one video: an entry of `smallbig predict --json`, and what else was asked for.

    Attributes:
        path: the file's name as the client gave it, without folders and unprintable characters.
        error: why the video can't be read; empty where there are predictions.
    """

    path: str
    predictions: list[Prediction]
    error: str = ""
    timeline: TimelineForm | None = None
    explain: ExplainForm | None = None


State = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class JobForm:
    """A video that is worked on while the client does something else.

    Attributes:
        progress: share of the work that is done, 0 to 1.
        result: the answer, once the state is done.
        error: why it failed.
    """

    id: str
    state: State
    progress: float
    result: AnswerForm | None = None
    error: str = ""


@dataclass(frozen=True)
class ModelForm:
    """A model that can be asked.

    Attributes:
        name: for the query `model`.
        network: the network's name, as in `smallbig models`.
        views: clips x crops that `views=auto` takes, more clips for long videos where they are dense.
        kind: softmax, where a video has one label, or sigmoid, where it may have several.
        knows_unknown: whether the query `unknown` can be used.
        explains: whether the query `explain` can be used.
    """

    name: str
    network: str
    classes: list[str]
    views: str
    kind: str
    clip_len: int
    input_size: int
    knows_unknown: bool
    explains: bool


@dataclass(frozen=True)
class ModelsForm:
    """All models, the one that is taken by default first, and the largest upload in bytes."""

    models: list[ModelForm]
    max_bytes: int


@dataclass(frozen=True)
class ErrorForm:
    """Why a request has no other answer, in one line."""

    error: str


@dataclass(frozen=True)
class HealthForm:
    """Whether the server lives, or is ready for work."""

    status: str


def to_json(form: Any) -> dict[str, Any]:
    """A form as plain data, without the parts that were not asked for."""
    return {key: value for key, value in asdict(form).items() if value is not None}
