"""Where big views looked (Fig. 1b): the positions that the maxima around a place came from.

A big view is a maximum over a tube around each place, channel by channel. For a place we count, for every position of its
tube, the share of the channels whose maximum came from there. Two rules make this definite. Where several positions have the
same maximum, the first counts, in the order of frames, rows and columns, as in PyTorch's max pooling. A channel that has one
value in the whole tube says nothing about a position and is left out; after a ReLU many channels are zero everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallbignet.explain.record import record
from smallbignet.models.baselines import SqueezeExcite
from smallbignet.models.network import VideoNetwork
from smallbignet.models.smallbig import ExtraUnit, SmallBigUnit, centre
from smallbignet.ops.max_pool import Window

Place = tuple[int, int, int]  # frame, row and column, each from 0
KINDS = {"local": "a tube of a few frames", "frames": "a tube of all frames", "clip": "the whole clip"}


@dataclass(frozen=True)
class BigView:
    """The origins of one layer's maxima.

    Attributes:
        name: the layer's name in the network, such as "res5.0.unit2".
        kind: a key of `KINDS`.
        window: extents (t, h, w) of the tube; those of the whole map for the view of the whole clip.
        size: (T, H, W) of the map that the maxima were taken from.
        origins: (C, T', H', W') int64, the position that each maximum came from, counted through (T, H, W). T' is 1 where the
            tube has all frames, and H' and W' are 1 for the view of the whole clip.
        varied: bool, of the same shape: whether the channel has more than one value in the tube.
    """

    name: str
    kind: str
    window: Place
    size: Place
    origins: np.ndarray
    varied: np.ndarray

    def column(self, place: Place) -> tuple[slice, int, int, int]:
        """The index of a place in `origins`."""
        t, h, w = (min(index, extent - 1) for index, extent in zip(place, self.origins.shape[1:], strict=True))
        return slice(None), t, h, w

    def tube(self, place: Place) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """The frames, rows and columns of a place's tube, each from its first to before its end, within the map."""
        if self.kind == "clip":
            spans = [(0, extent) for extent in self.size]
        else:
            spans = [
                (max(index - extent // 2, 0), min(index + extent // 2 + 1, whole))
                for index, extent, whole in zip(place, self.window, self.size, strict=True)
            ]
            if self.kind == "frames":
                spans[0] = (0, self.size[0])
        return spans[0], spans[1], spans[2]

    def shares(self, place: Place) -> np.ndarray:
        """The share of the channels whose maximum around a place came from each position, (T, H, W); the sum is 1.

        It is 0 everywhere where all channels were left out.
        """
        column = self.column(place)
        origins = self.origins[column][self.varied[column]]
        counts = np.bincount(origins, minlength=int(np.prod(self.size))).reshape(self.size)
        return counts / max(len(origins), 1)

    def left_out(self, place: Place) -> float:
        """The share of the channels that have one value in a place's whole tube."""
        return 1 - float(self.varied[self.column(place)].mean())

    def by_frame(self, place: Place) -> np.ndarray:
        """The share of the channels whose maximum around a place came from each frame, (T,)."""
        return self.shares(place).sum((1, 2))

    def key_frames(self, place: Place, count: int = 3) -> list[int]:
        """The frames that most of the maxima came from, those with the largest share first."""
        shares = self.by_frame(place)
        order = np.argsort(-shares, kind="stable")[:count]
        return [int(frame) for frame in order if shares[frame] > 0]


def big_views(network: VideoNetwork, clip: Tensor) -> list[BigView]:
    """Return the last big view of each kind that the network has, in the order of `KINDS`; none of a network without them.

    Args:
        network: in eval mode.
        clip: normalised frames (1, 3, T, H, W) on the network's device.
    """
    layers = find_layers(network)
    passed = record(network, clip, dict(layers.values()))
    return [look(name, kind, module, passed[name].input) for kind, (name, module) in layers.items()]


def find_layers(network: VideoNetwork) -> dict[str, tuple[str, nn.Module]]:
    """Return the name and the module of the last big view of each kind whose pooling takes maxima."""
    last: dict[str, tuple[str, nn.Module]] = {}
    for name, module in network.named_modules():
        is_unit = isinstance(module, SmallBigUnit) and module.window is not None
        if (is_unit or isinstance(module, (ExtraUnit, SqueezeExcite))) and module.pool != "avg":
            last[_kind(module)] = name, module
    return {kind: last[kind] for kind in KINDS if kind in last}


def _kind(module: nn.Module) -> str:
    if not isinstance(module, SmallBigUnit):
        return "clip"
    return "frames" if module.window is not None and module.window[0] is None else "local"


def look(name: str, kind: str, module: nn.Module, x: Tensor) -> BigView:
    """Return the origins of a layer's maxima over its input (1, C, T, H, W)."""
    size = (x.shape[2], x.shape[3], x.shape[4])
    window: Window = size
    padding = (0, 0, 0)
    if isinstance(module, SmallBigUnit) and module.window is not None:
        window = centre(module.window, size[0]) if module.centred else module.window
        padding = (window[0] // 2 if window[0] else 0, window[1] // 2, window[2] // 2)
    whole = (window[0] or size[0], window[1], window[2])
    if getattr(module, "pool", "max") == "vector":  # all channels from the position whose vector has the largest norm
        x = x.square().sum(1, keepdim=True)
    x = x.float().contiguous()
    highest, origins = F.max_pool3d(x, whole, stride=1, padding=padding, return_indices=True)
    lowest = -F.max_pool3d(-x, whole, stride=1, padding=padding)
    varied = torch.gt(highest, lowest)[0].cpu().numpy()
    return BigView(name, kind, whole, size, origins[0].cpu().numpy(), varied)


def same_place(place: Place, size: Place, other: Place) -> Place:
    """Return the position in a map of another size that holds the centre of a place."""
    t, h, w = (int((2 * i + 1) * to // (2 * of)) for i, of, to in zip(place, size, other, strict=True))
    return t, h, w
