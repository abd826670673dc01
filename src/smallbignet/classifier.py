"""A trained network that answers videos: what `smallbig predict` is in Python."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from smallbignet.data.datasets import read_views
from smallbignet.data.sampling import Views, sample_test_clips
from smallbignet.data.transforms import to_input
from smallbignet.data.video import open_video
from smallbignet.errors import SmallBigError
from smallbignet.models.directory import ModelConfig, load_config, load_model
from smallbignet.models.network import VideoNetwork

VIEWS_AT_ONCE = 8  # per forward pass: enough to fill a processor, little enough for its memory at 256x256
CLIPS_AT_ONCE = 16  # decoded and held in memory, of one video
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Prediction:
    """A class name and its score, the mean softmax probability over the views."""

    label: str
    score: float


class VideoClassifier:
    """A network with all it takes to answer a video file.

        classifier = VideoClassifier("runs/mine")
        classifier.predict("clip.mp4", top=3)  # [Prediction(label="fight", score=0.93), ...]

    Args:
        model: what `load_model` reads: a model or run directory, "slow_r50", ...; or a network, which needs a `config` besides.
        device: "cpu", "cuda", ...; a GPU where there is one if not given.
        precision: "fp32", or "bf16" for autocast.

    Raises:
        SmallBigError: no such model, or an unknown precision.
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
        if isinstance(model, VideoNetwork):
            if config is None:
                raise SmallBigError("a network alone has no class names: give its config too")
            self.config, self.model = config, model.to(self.device).eval()
        else:
            self.config, self.model = load_config(model), load_model(model, self.device)
        self.dtype = PRECISIONS[precision]

    @torch.inference_mode()
    def scores(self, clips: Tensor) -> Tensor:
        """Softmax scores (N, num_classes), float32 on the CPU, of clips: uint8 (N, T, C, H, W)."""
        chunks = []
        for chunk in clips.split(VIEWS_AT_ONCE):
            images = to_input(chunk.to(self.device), self.config.input)
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                logits = self.model(images)
            chunks.append(logits.float().softmax(1).cpu())
        return torch.cat(chunks)

    def predict(self, path: str | Path, top: int = 5, views: str = "auto") -> list[Prediction]:
        """The `top` classes of a video file (or a folder of frames), best first.

        Args:
            views: clips x crops, such as "10x3"; "auto" is the model's own, see `covering_views`.

        Raises:
            VideoError: the file can't be read.
            SmallBigError: views of another form.
        """
        with open_video(str(path)) as video:
            shown = covering_views(video.num_frames, self.config) if views == "auto" else Views.parse(views)
            mean = torch.cat(list(self._score_views(video, shown))).mean(0)
        best = mean.topk(min(top, len(mean)))
        return [Prediction(self.config.classes[i], s) for s, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)]

    def _score_views(self, video, views: Views) -> Iterator[Tensor]:
        """Scores of a video's views, a few clips in memory at a time, however long the video."""
        indices = sample_test_clips(video.num_frames, self.config.clip, views.num_clips)
        for some in np.split(indices, range(CLIPS_AT_ONCE, len(indices), CLIPS_AT_ONCE)):
            yield self.scores(read_views(video, some, self.config.input, views))


def covering_views(num_frames: int, config: ModelConfig) -> Views:
    """The model's own views, with as many more clips as it takes for dense clips to leave no gap in a long video."""
    views, clip = Views.parse(config.views), config.clip
    gapless = -(-num_frames // clip.span) if clip.sampling == "dense" else 1
    return Views(max(views.num_clips, gapless), views.num_crops)


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """The device of that name; without one, a GPU where there is one.

    Raises:
        SmallBigError: this torch doesn't have that device.
    """
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise SmallBigError("this device is not available here", device) from error
    return chosen
