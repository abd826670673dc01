"""What Section 6.3 shows (Fig. 3): the channel means of a stage's feature, and of the first layer's small and big view."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from smallbignet.explain.record import record
from smallbignet.models.network import VideoNetwork
from smallbignet.models.pooling import pool_views
from smallbignet.models.slowfast import SlowFast
from smallbignet.models.smallbig import SmallBigUnit, centre

STAGE = "res3"  # of Fig. 3: 8x28x28 for clips of 8x224x224
ROBUST = (2, 98)  # percentiles that a scale of colours goes to


def channel_means(network: VideoNetwork, clip: Tensor, stage: str = STAGE) -> np.ndarray:
    """Return the mean over the channels of what the last block of a stage returns, (T', H', W').

    Args:
        network: in eval mode. Of SlowFast, the slow pathway's stage is taken.
        clip: normalised frames (1, 3, T, H, W) on the network's device.
        stage: "res2", "res3", "res4" or "res5".
    """
    stages = network.slow if isinstance(network, SlowFast) else network
    blocks = stages.get_submodule(stage)
    *_, last = blocks.children()
    passed = record(network, clip, {stage: last})
    return passed[stage].output[0].mean(0).float().cpu().numpy()


def first_views(network: VideoNetwork, clip: Tensor) -> tuple[str, np.ndarray, np.ndarray] | None:
    """Return the first SmallBig layer's name, and the channel means of its small and its big view, each (T', H', W').

    The views are those that the layer adds: each after its own batch normalisation, before the ReLU. None for a network without
    big views.
    """
    units = [(n, m) for n, m in network.named_modules() if isinstance(m, SmallBigUnit) and m.window is not None]
    if not units:
        return None
    name, unit = units[0]
    x = record(network, clip, {name: unit})[name].input
    window = unit.window
    assert window is not None
    with torch.no_grad():
        x, big = pool_views(x, centre(window, x.shape[2]) if unit.centred else window, unit.pool)
        small_view = unit.bn(unit.conv(x))
        big_view = (unit.bn_big or unit.bn)((unit.conv_big or unit.conv)(big))
    views = [view[0].mean(0).float().cpu().numpy() for view in (small_view, big_view.expand_as(small_view))]
    return name, views[0], views[1]


def robust_scale(maps: Iterable[np.ndarray]) -> tuple[float, float]:
    """Return the values at which one scale for several maps begins and ends, without their outermost 2 % at either end."""
    values = np.concatenate([part.ravel() for part in maps])
    low, high = np.percentile(values, ROBUST)
    return float(low), float(high if high > low else low + 1)
