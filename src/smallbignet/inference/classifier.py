"""A trained network that classifies videos: `smallbig predict` in Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn

from smallbignet.data.frames import Unreadable
from smallbignet.data.options import VideoOptions
from smallbignet.data.sampling import Views
from smallbignet.data.transforms import to_input
from smallbignet.errors import SmallBigError, VideoError, WorkError
from smallbignet.inference.calibration import temper
from smallbignet.inference.clips import ClipReader, VideoClips, ahead
from smallbignet.inference.exported import ExportedNetwork, load_network
from smallbignet.inference.fuse import fuse
from smallbignet.models.network import VideoNetwork
from smallbignet.utils.checks import Range, read_as
from smallbignet.utils.machine import pick_device
from smallbignet.weights.directory import ModelConfig
from smallbignet.weights.load import load_config

VIEWS_AT_ONCE = 8  # in one forward pass: enough to keep a CPU busy, few enough for its memory at 256x256
Top = Annotated[int, Range(ge=1, le=30_000)]  # classes
CALIBRATION = 32  # videos that the value ranges of int8 are measured on
PRECISIONS = ("fp32", "bf16", "int8")


UNKNOWN = "unknown"  # the label of a video whose best score is below its class's threshold


@dataclass(frozen=True)
class Prediction:
    """A class name and its score: the mean softmax probability over the views, at the model's temperature."""

    label: str
    score: float


@dataclass(frozen=True)
class Answer:
    """The predictions for one video, best first; or the reason why it could not be read, and no predictions."""

    path: str
    predictions: list[Prediction]
    error: str = ""


@dataclass(frozen=True)
class VideoScores:
    """One video's scores, (num_classes,) float32 on the CPU: the mean softmax over its views, at the model's temperature."""

    path: str
    scores: Tensor


class VideoClassifier:
    """A network in its fastest form, with everything that it needs to classify video files.

        classifier = VideoClassifier("runs/mine")
        classifier.predict("clip.mp4", top=3)  # [Prediction(label="fight", score=0.93), ...]

    Args:
        model: a model, run or exported directory, "slow_r50", ...; or a network, which also needs a `config`.
            The network is copied in its fused form (see `fuse`): later changes to it have no effect.
        device: "cpu", "cuda", ...; a GPU where there is one if not given.
        precision: "fp32"; "bf16", faster where the device supports it; "int8", on a CPU, after `calibrate`.

    Raises:
        SmallBigError: no such model, an unknown precision, int8 on another device than a CPU, an exported model with another
            precision than its own or on another device.
    """

    def __init__(
        self,
        model: str | Path | VideoNetwork | ExportedNetwork,
        config: ModelConfig | None = None,
        device: str | torch.device | None = None,
        precision: str = "fp32",
    ):
        if precision not in PRECISIONS:
            raise SmallBigError(f"precision must be one of {', '.join(PRECISIONS)}", precision)
        self.precision = precision
        if isinstance(model, nn.Module):
            if config is None:
                raise SmallBigError("a network alone has no class names: give its config, too")
            self.config = config
            network = model
        else:
            self.config = load_config(model)
            network = load_network(model)
        self.network: nn.Module = network.eval()
        if isinstance(network, ExportedNetwork):
            network.check(precision, device)
            self.device = torch.device("cpu")
            self.is_ready = True
            return
        self.device = pick_device(device)
        if precision == "int8" and self.device.type != "cpu":
            raise SmallBigError("int8 needs a CPU: choose the device cpu", self.device)
        self.network.to(self.device)
        self.is_ready = precision != "int8"
        if self.is_ready:
            self.network = fuse(network, torch.bfloat16 if precision == "bf16" else torch.float32)

    def reader(self, views: str, options: VideoOptions = VideoOptions()) -> ClipReader:
        """What reads videos for this network.

        Args:
            views: clips x crops, such as "10x3"; "auto" for the model's own, with more clips for long videos where the clips
                are dense.

        Raises:
            SmallBigError: views of another form.
        """
        covering = views == "auto"
        wanted = Views.parse(self.config.views if covering else views)
        return ClipReader(self.config.clip, self.config.input, wanted, covering, options)

    def calibrate(self, paths: Iterable[str], views: str = "auto", options: VideoOptions = VideoOptions()) -> None:
        """Measures the value ranges for int8 on the middle views of up to 32 of the videos; other precisions need nothing.

        Args:
            views: those that will be scored, such as "10x3": three crops are larger than one, and int8 has one size.

        Raises:
            WorkError: none of the videos can be read.
            SmallBigError: OpenVINO or NNCF isn't installed.
        """
        if self.is_ready:
            return
        paths = list(paths)
        num_crops = self.reader(views).views.num_crops
        reader = self.reader(f"1x{num_crops}", options)
        items = list(reader.read_all(paths[:: max(len(paths) // CALIBRATION, 1)][:CALIBRATION]))
        clips = [item.clips[num_crops // 2] for item in items if isinstance(item, VideoClips)]
        if not clips:
            fault = next(item for item in items if isinstance(item, Unreadable))
            raise WorkError(f"int8 needs videos to measure value ranges on, and none could be read: {fault.reason}", fault.path)
        from smallbignet.inference.int8 import quantize

        self.network = quantize(self.network, to_input(torch.stack(clips), self.config.input))
        self.is_ready = True

    @torch.inference_mode()
    def scores(self, clips: Tensor) -> Tensor:
        """Scores of clips: uint8 NTHWC (N, T, H, W, C) -> float32 (N, num_classes), on the CPU; see `to_scores`.

        Raises:
            SmallBigError: int8 without `calibrate`.
            WorkError: scores that are not numbers.
        """
        if not self.is_ready:
            raise SmallBigError("int8 needs `calibrate` on some videos first")
        return self.to_scores(torch.cat([self.network(images).cpu() for images in self.inputs(clips)]))

    def to_scores(self, logits: Tensor) -> Tensor:
        """The softmax of logits (N, num_classes), or their sigmoid where a video may have several classes.

        The temperature is not applied, because it is for the mean over a video's views.

        Raises:
            WorkError: scores that are not numbers.
        """
        scores = logits.sigmoid() if self.config.scores.kind == "sigmoid" else logits.softmax(1)
        check_finite(scores, "scores", self.precision)
        return scores

    def inputs(self, clips: Tensor) -> Iterator[Tensor]:
        """What the network gets of clips, uint8 NTHWC: float32 NCTHW on its device, a few clips at a time."""
        for chunk in clips.split(VIEWS_AT_ONCE):
            yield to_input(chunk.to(self.device, non_blocking=True), self.config.input)

    def average(self, scores: Tensor) -> Tensor:
        """Averages over views, at the model's temperature: (N, views, num_classes) -> (N, num_classes), on the CPU."""
        spec = self.config.scores
        return torch.from_numpy(temper(scores.mean(1).numpy(), spec.temperature, spec.kind))

    def check_thresholds(self) -> None:
        """Raises a SmallBigError where the model has no thresholds below which an answer is unknown."""
        if not self.config.scores.thresholds:
            what = "this model has no thresholds; `smallbig train` fits them on the validation videos"
            raise SmallBigError(what, "scores.thresholds in config.json")

    def score_videos(self, batches: Iterable[Sequence[VideoClips | Unreadable]]) -> Iterator[VideoScores | Unreadable]:
        """Scores videos as they are read: one result for each video, in the order in which they come.

        Args:
            batches: what a `ClipReader` returns, in portions whose clips are scored together.
        """
        parts: list[Tensor] = []  # the scores of a video's views so far
        for batch in batches:
            clips = [item.clips for item in batch if isinstance(item, VideoClips)]
            scores = iter(self.scores(torch.cat(clips)).split([len(part) for part in clips]) if clips else ())
            for item in batch:
                if isinstance(item, Unreadable):
                    parts = []
                    yield item
                    continue
                parts.append(next(scores))
                if item.is_last:
                    yield VideoScores(item.path, self.average(torch.cat(parts)[None])[0])
                    parts = []

    def predict(
        self,
        path: str | Path,
        top: int = 5,
        views: str = "auto",
        options: VideoOptions = VideoOptions(),
        unknown: bool = False,
    ) -> list[Prediction]:
        """The `top` classes of a video file, or of a folder of frames, best first.

        Args:
            views: clips x crops, such as "10x3"; "auto" for the model's own, see `covering_views`.
            options: how the video is opened.
            unknown: the first label is "unknown" where the best score is below its class's threshold.

        Raises:
            VideoError: the video can't be read.
            SmallBigError: views of another form, or `unknown` and a model without thresholds.
        """
        (answer,) = self.predict_all([path], top, views, options, unknown)
        if answer.error:
            raise VideoError(answer.error, answer.path)
        return answer.predictions

    def predict_all(
        self,
        paths: Iterable[str | Path],
        top: int = 5,
        views: str = "auto",
        options: VideoOptions = VideoOptions(),
        unknown: bool = False,
    ) -> Iterator[Answer]:
        """What `predict` returns or raises for each video, while the next views are read."""
        read_as(Top, top, "top")
        if unknown:
            self.check_thresholds()
        items = self.reader(views, options).read_all(map(str, paths))
        for result in self.score_videos([item] for item in ahead(items)):
            if isinstance(result, Unreadable):
                yield Answer(result.path, [], result.reason)
                continue
            best = result.scores.topk(min(top, len(self.config.classes)))
            pairs = list(zip(best.values.tolist(), best.indices.tolist(), strict=True))
            predictions = [Prediction(self.config.classes[i], score) for score, i in pairs]
            score, label = pairs[0]
            if unknown and score < self.config.scores.threshold(label):
                predictions = [Prediction(UNKNOWN, score), *predictions]
            yield Answer(result.path, predictions)


def check_finite(values: Tensor, what: str, where: str) -> None:
    """Raises a WorkError where a network returns values that are not numbers."""
    if not values.isfinite().all():
        cause = "its weights are damaged, or too large for this precision"
        raise WorkError(f"the network returns NaN instead of {what}: {cause}", where)
