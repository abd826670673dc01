"""Films whose events are known, plain coloured pictures, and a classifier whose scores are the shares of these colours."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor, nn

from smallbignet import VideoClassifier, create_model
from smallbignet.data.sampling import ClipSpec
from smallbignet.data.transforms import InputSpec
from smallbignet.weights.directory import ModelConfig, ScoreSpec

CLASSES = ["red", "green", "blue"]
COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220), "grey": (128, 128, 128)}


def write_film(path: Path, colours: Sequence[str], rate: Fraction | int = 25, steps: Sequence[int] = (1,)) -> str:
    """Writes a video with a frame of each colour; frame i is shown for steps[i] / rate seconds, and the steps repeat."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate), options={"crf": "10", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.time_base = 1 / Fraction(rate)
        tick = 0
        for i, colour in enumerate(colours):
            picture = np.full((32, 32, 3), COLOURS[colour], np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = tick, 1 / Fraction(rate)
            container.mux(stream.encode(frame))
            tick += steps[i % len(steps)]
        container.mux(stream.encode())
    return str(path)


class ColourNetwork(nn.Module):
    """The softmax of its logits is the share of frames in each colour; a grey frame counts a third for each."""

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((3, 4))  # (N, 3, T), 0 to 1
        is_grey = means.amax(1, keepdim=True) - means.amin(1, keepdim=True) < 0.2
        shares = torch.where(is_grey, 1 / 3, nn.functional.one_hot(means.argmax(1), 3).movedim(-1, 1).float())
        return shares.mean(2).clamp(min=1e-9).log()


def colour_classifier(clip: ClipSpec, scores: ScoreSpec | None = None) -> VideoClassifier:
    sizes = InputSpec(16, (16, 16), 16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    network = {"name": "smallbig_r23", "num_classes": 3, "width": 8}
    config = ModelConfig(network, CLASSES, clip, sizes, "1x1", scores=scores or ScoreSpec())
    classifier = VideoClassifier(create_model("smallbig_r23", 3, width=8), config, device="cpu")
    classifier.network = ColourNetwork()
    return classifier
