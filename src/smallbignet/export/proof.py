"""Whether an exported network answers as the network that it was made of: logits and classes of clips, and the time of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from smallbignet.errors import WorkError
from smallbignet.inference.classifier import check_finite
from smallbignet.inference.exported import RUNTIMES, ExportedNetwork
from smallbignet.models.network import VideoNetwork

Network = VideoNetwork | ExportedNetwork


@dataclass(frozen=True)
class Bound:
    """How far an exported network may be from its original.

    Attributes:
        difference: of a clip's logits, relative to their norm.
        same_top1: the least share of clips whose best class is the same.
    """

    difference: float
    same_top1: float


# fp32 computes the same sums in another order. fp16 keeps 11 bits of each number, whose roundings add up over a hundred layers.
# int8 has logits that are off by a fifth; only the classes can be held to be the same, where two are not equally likely.
BOUNDS = {"fp32": Bound(1e-4, 1.0), "fp16": Bound(2e-2, 0.95), "int8": Bound(float("inf"), 0.9)}


@dataclass(frozen=True)
class Comparison:
    """What was measured on some clips.

    Attributes:
        clips: their number.
        difference: the largest relative difference of a clip's logits: the norm of the difference by that of the logits.
        same_top1: the share of clips whose best class is the same.
        ms, ours_ms: milliseconds per clip, the median, of the exported network and of the network fused by `fuse`.
    """

    clips: int
    difference: float
    same_top1: float
    ms: float
    ours_ms: float


@torch.inference_mode()
def compare(exported: ExportedNetwork, fused: VideoNetwork, clips: Sequence[tuple[str, Tensor]]) -> Comparison:
    """Run both networks on each clip in turn.

    Args:
        clips: the path of a video, and a clip of it, (1, 3, T, S, S).

    Raises:
        WorkError: the exported network is further from the other than `BOUNDS` allow; names the worst clip. Or the network
            returns values that are not numbers.
    """
    networks: tuple[Network, Network] = (exported, fused)
    differences: list[float] = []
    seconds: list[tuple[float, float]] = []
    others: list[str] = []  # videos with another best class
    for network in networks:
        network(clips[0][1])  # the first call takes longer
    for path, clip in clips:
        (theirs, their_time), (ours, our_time) = (_timed(network, clip) for network in networks)
        check_finite(ours, "logits", path)
        difference = ((theirs - ours).norm() / ours.norm()).item()
        differences.append(difference if difference == difference else float("inf"))
        seconds.append((their_time, our_time))
        if theirs.argmax() != ours.argmax():
            others.append(path)
    found = Comparison(
        clips=len(clips),
        difference=max(differences),
        same_top1=1 - len(others) / len(clips),
        ms=1000 * median(time for time, _ in seconds),
        ours_ms=1000 * median(time for _, time in seconds),
    )
    spec = exported.spec
    bound = BOUNDS[spec.precision]
    name = RUNTIMES[spec.runtime]
    if found.difference > bound.difference:
        what = f"{name} in {spec.precision} gives logits that differ by {found.difference:.1e}"
        worst, _ = clips[differences.index(found.difference)]
        raise WorkError(f"{what}, and {bound.difference:.0e} is allowed; nothing was written", worst)
    if found.same_top1 < bound.same_top1:
        what = f"{name} in {spec.precision} gives another best class for {len(others)} of {len(clips)} clips"
        raise WorkError(f"{what}, and {bound.same_top1:.0%} must be the same; nothing was written", others[0])
    return found


def _timed(network: Callable[[Tensor], Tensor], clip: Tensor) -> tuple[Tensor, float]:
    start = time.perf_counter()
    logits = network(clip)
    return logits, time.perf_counter() - start
