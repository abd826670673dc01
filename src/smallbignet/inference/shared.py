"""Overlapping windows have frames in common: the layers that see single frames compute each of these frames once.

Such layers come first in most networks: the stem and the 2-D stages, up to the first block that mixes frames. Their outputs are
kept for the windows that follow. In c2d_r50 every layer is one of them; SlowFast, whose stem is temporal, has none.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from smallbignet.data.transforms import to_input
from smallbignet.inference.classifier import VIEWS_AT_ONCE, VideoClassifier
from smallbignet.inference.clips import WindowClips
from smallbignet.inference.folded_conv import FoldedConv
from smallbignet.inference.fuse import (
    FusedExtraUnit,
    FusedNetwork,
    FusedNonLocal,
    FusedShift,
    FusedSqueezeExcite,
    FusedUnit,
    clips_per_pass,
)

MOST_BYTES = 2**28  # of outputs that are kept: thousands of frames of a small network, 84 frames of smallbig_r50 at 224x224


class WindowScorer:
    """Scores the windows of videos as `VideoClassifier.scores` does, and computes what they share once.

    Args:
        classifier: with a network that is not a fused chain of layers (SlowFast, int8, an exported one), nothing is shared.
    """

    def __init__(self, classifier: VideoClassifier):
        self.classifier = classifier
        self.network: Any = classifier.network
        self.before, self.after = split_at_first_temporal(self.network)
        self.kept: dict[int, Tensor] = {}  # outputs of `before`, (H', W', C), by frame and crop

    @torch.inference_mode()
    def scores(self, item: WindowClips) -> Tensor:
        """Scores the clips of some windows, which come in their order: float32 (len(item.clips), num_classes), on the CPU.

        Raises:
            SmallBigError, WorkError: as `VideoClassifier.scores` does.
        """
        if not self.before:
            return self.classifier.scores(item.clips)
        if item.number == 0:
            self.kept = {}
        num_crops = len(item.clips) // len(item.frames)
        keys = (item.frames[:, None] * num_crops + np.arange(num_crops)[:, None]).reshape(len(item.clips), -1)
        earliest = keys.reshape(len(item.windows), -1).min(1).repeat(len(item.clips) // len(item.windows))
        clips = item.clips.to(self.classifier.device, non_blocking=True)
        size = min(clips_per_pass(clips), VIEWS_AT_ONCE)
        logits = []
        for start in range(0, len(clips), size):
            part = slice(start, start + size)
            logits.append(self._logits(clips[part], keys[part]).cpu())
            self._forget(earliest[part][-1])
        return self.classifier.to_scores(torch.cat(logits))

    def _logits(self, clips: Tensor, keys: np.ndarray) -> Tensor:
        """The logits of clips, uint8 (N, T, H, W, 3), with a key for each frame and crop, (N, T)."""
        fresh = {key: place for place, key in enumerate(keys.flat) if key not in self.kept}
        if fresh:
            frames = clips.flatten(0, 1)[list(fresh.values())]
            x = to_input(frames[None], self.classifier.config.input).to(self.network.dtype).permute(0, 2, 3, 4, 1)
            self.kept |= zip(fresh, map(torch.clone, self.before(x.contiguous())[0]), strict=True)
        x = torch.stack([self.kept[key] for key in keys.flat]).unflatten(0, keys.shape)
        return self.network.forward_head(self.after(x).permute(0, 4, 1, 2, 3).float())

    def _forget(self, earliest: int) -> None:
        """Drops the outputs that no window after this one needs, and the oldest ones of more than `MOST_BYTES`."""
        self.kept = {key: output for key, output in self.kept.items() if key >= earliest}
        excess = sum(output.nbytes for output in self.kept.values()) - MOST_BYTES
        for key in list(self.kept):
            if excess <= 0:
                break
            excess -= self.kept.pop(key).nbytes


def split_at_first_temporal(network: nn.Module) -> tuple[nn.Sequential, nn.Sequential]:
    """Return the layers of a fused network before the first one that mixes frames, and the layers from it on.

    Both are empty where a network is not a fused chain of layers.
    """
    layers = list(network.layers) if isinstance(network, FusedNetwork) else []
    count = sum(1 for _ in takewhile(lambda layer: not mixes_frames(layer), layers))
    return nn.Sequential(*layers[:count]), nn.Sequential(*layers[count:])


def mixes_frames(layer: nn.Module) -> bool:
    """Return whether an output of a fused layer depends on more than one frame."""
    return any(map(_is_temporal, layer.modules()))


def _is_temporal(module: nn.Module) -> bool:
    if isinstance(module, FoldedConv):
        return module.joined_axes != (0, 1)  # those of an image for each frame
    if isinstance(module, FusedUnit):
        return module.window is not None and module.window[0] != 1
    return isinstance(module, (FusedExtraUnit, FusedSqueezeExcite, FusedNonLocal, FusedShift))
