"""A trained network that answers videos: what `smallbig predict` is in Python."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from smallbignet.data.datasets import read_views
from smallbignet.data.sampling import Views, sample_test_clips
from smallbignet.data.transforms import to_input
from smallbignet.data.video import open_video
from smallbignet.errors import SmallBigError, VideoError, WorkError
from smallbignet.inference.fuse import fuse
from smallbignet.models.network import VideoNetwork
from smallbignet.utils.machine import pick_device
from smallbignet.weights.directory import ModelConfig, load_config, load_model

VIEWS_AT_ONCE = 8  # per forward pass: enough to fill a processor, little enough for its memory at 256x256
CLIPS_AT_ONCE = 16  # decoded and held in memory, of one video
CALIBRATION = 32  # videos on which int8's ranges are measured
PRECISIONS = ("fp32", "bf16", "int8")
T = TypeVar("T")


@dataclass(frozen=True)
class Prediction:
    """A class name and its score, the mean softmax probability over the views."""

    label: str
    score: float


class VideoClassifier:
    """A network, in its fastest form, with all it takes to answer a video file.

        classifier = VideoClassifier("runs/mine")
        classifier.predict("clip.mp4", top=3)  # [Prediction(label="fight", score=0.93), ...]

    Args:
        model: what `load_model` reads: a model or run directory, "slow_r50", ...; or a network, which needs a `config` besides.
            Its answers are those it has now: it is fused (see `fuse`), and not looked at again.
        device: "cpu", "cuda", ...; a GPU where there is one if not given.
        precision: "fp32"; "bf16", faster where the device has it; "int8", on a processor, which takes `calibrate` first.

    Raises:
        SmallBigError: no such model, an unknown precision, int8 on another device.
    """

    def __init__(
        self,
        model: str | Path | VideoNetwork,
        config: ModelConfig | None = None,
        device: str | torch.device | None = None,
        precision: str = "fp32",
    ):
        if precision not in PRECISIONS:
            raise SmallBigError(f"precision must be one of {', '.join(PRECISIONS)}", precision)
        self.device = pick_device(device)
        if precision == "int8" and self.device.type != "cpu":
            raise SmallBigError("int8 runs on a processor: device cpu", self.device)
        if isinstance(model, VideoNetwork):
            if config is None:
                raise SmallBigError("a network alone has no class names: give its config too")
            self.config, model = config, model.to(self.device).eval()
        else:
            self.config, model = load_config(model), load_model(model, self.device)
        int8 = precision == "int8"
        self.network: nn.Module = model if int8 else fuse(model, torch.bfloat16 if precision == "bf16" else torch.float32)
        self.is_ready = not int8

    def calibrate(self, paths: Iterable[str], views: str = "auto", backend: str = "auto", filename_tmpl: str = "") -> None:
        """Measures where int8's ranges lie, on the middle views of up to 32 of the videos; nothing in other precisions.

        Args:
            views: those to come, such as "10x3"; crops of 3 are larger, and int8 is made for one size.

        Raises:
            WorkError: none of them can be read.
            SmallBigError: OpenVINO or NNCF isn't installed.
        """
        if self.is_ready:
            return
        paths, clips, fault = list(paths), [], ""
        crops = Views(1, Views.parse(self.config.views if views == "auto" else views).num_crops)
        for path in paths[:: max(len(paths) // CALIBRATION, 1)][:CALIBRATION]:
            try:
                with open_video(path, backend, filename_tmpl) as video:
                    middle = sample_test_clips(video.num_frames, self.config.clip, 1)
                    clips.append(read_views(video, middle, self.config.input, crops)[crops.num_crops // 2][None])
            except VideoError as error:
                fault = fault or error.what
        if not clips:
            raise WorkError(f"int8 takes videos to measure ranges on, and none could be read: {fault}", paths[0])
        from smallbignet.inference.int8 import quantize

        self.network, self.is_ready = quantize(self.network, to_input(torch.cat(clips), self.config.input)), True

    @torch.inference_mode()
    def scores(self, clips: Tensor) -> Tensor:
        """Softmax scores (N, num_classes), float32 on the CPU, of clips: uint8 (N, T, C, H, W).

        Raises:
            SmallBigError: int8 without `calibrate`.
        """
        if not self.is_ready:
            raise SmallBigError("int8 takes `calibrate` on some videos first")
        chunks = []
        for chunk in clips.split(VIEWS_AT_ONCE):
            images = to_input(chunk.to(self.device, non_blocking=True), self.config.input)
            chunks.append(self.network(images).softmax(1).cpu())
        return torch.cat(chunks)

    def predict(self, path: str | Path, top: int = 5, views: str = "auto") -> list[Prediction]:
        """The `top` classes of a video file (or a folder of frames), best first.

        Args:
            views: clips x crops, such as "10x3"; "auto" is the model's own, see `covering_views`.

        Raises:
            VideoError: the file can't be read.
            SmallBigError: views of another form.
        """
        (answer,) = self.predict_all([path], top, views)
        if isinstance(answer, VideoError):
            raise answer
        return answer

    def predict_all(
        self, paths: Iterable[str | Path], top: int = 5, views: str = "auto"
    ) -> Iterator[list[Prediction] | VideoError]:
        """What `predict` answers or raises for each; the next views are read while the network works on these."""
        scores: list[Tensor] = []
        for item in ahead(self._read(paths, views)):
            if isinstance(item, Tensor):
                scores.append(self.scores(item))
                continue
            if item is not None:
                yield item
            else:
                best = torch.cat(scores).mean(0).topk(min(top, len(self.config.classes)))
                pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
                yield [Prediction(self.config.classes[i], score) for score, i in pairs]
            scores = []

    def _read(self, paths: Iterable[str | Path], views: str) -> Iterator[Tensor | VideoError | None]:
        """Of each video the views, a few clips in memory at a time, however long it is; then None, or what is wrong with it."""
        for path in paths:
            try:
                with open_video(path) as video:
                    shown = covering_views(video.num_frames, self.config) if views == "auto" else Views.parse(views)
                    indices = sample_test_clips(video.num_frames, self.config.clip, shown.num_clips)
                    for some in np.split(indices, range(CLIPS_AT_ONCE, len(indices), CLIPS_AT_ONCE)):
                        yield read_views(video, some, self.config.input, shown)
                yield None
            except VideoError as error:
                yield error


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, each made by a thread while the one before it is used."""
    with ThreadPoolExecutor(1) as executor:
        pending = deque([executor.submit(next, items, executor)])  # the executor, which is no item, stands for the end
        while (item := pending.popleft().result()) is not executor:
            pending.append(executor.submit(next, items, executor))
            yield item  # type: ignore[misc]


def covering_views(num_frames: int, config: ModelConfig) -> Views:
    """The model's own views, with as many more clips as it takes for dense clips to leave no gap in a long video."""
    views, clip = Views.parse(config.views), config.clip
    gapless = -(-num_frames // clip.span) if clip.sampling == "dense" else 1
    return Views(max(views.num_clips, gapless), views.num_crops)
