"""How large the things are that a stage works on, and how their seconds are taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import torch


@dataclass(frozen=True)
class Scale:
    """Sizes of a run.

    Attributes:
        device: "cuda", or "cpu" for a dry run.
        network: that is trained and answers.
        clip: frames and size; None for each network's own.
        batch: clips of a training step.
        batches: clips of an answer, the smaller one and the larger one.
        precisions: of answers; training steps have the first one.
        side: of the matrices that the machine's best rate is taken from.
        copied: bytes of the large copy.
        seconds: that each thing is timed for.
    """

    device: str
    network: str
    clip: tuple[int, int] | None
    batch: int
    batches: tuple[int, int]
    precisions: tuple[str, ...]
    side: int
    copied: int
    seconds: float

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda"


MOST = 200  # calls
GPU = Scale("cuda", "smallbig_r50", None, 32, (1, 32), ("bf16", "fp16", "tf32", "fp32"), 8192, 2**31, 1.2)
DRY_RUN = Scale("cpu", "smallbig_r23", (1, 32), 2, (1, 2), ("fp32",), 64, 2**16, 0.01)


def timed(call: Callable[[], object], enough: float, alone: bool = False, least: int = 3) -> list[float]:
    """Seconds of each of several calls, after one that warms up.

    Args:
        enough: seconds in all, but for what the calls at least take.
        alone: each call starts on an idle GPU, which gives its latency; else it is queued behind the last one.
        least: calls.
    """
    call()
    count = min(max(int(enough / _by_the_clock(call)), least), MOST)
    if not torch.cuda.is_initialized():
        return [_by_the_clock(call) for _ in range(count)]
    if alone:
        return [_by_events(call, 1)[0] for _ in range(count)]
    return _by_events(call, count)


def _by_the_clock(call: Callable[[], object]) -> float:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _by_events(call: Callable[[], object], count: int) -> list[float]:
    """Seconds from each call's end to the next one's, on the GPU's own clock."""
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
    torch.cuda.synchronize()
    marks[0].record()
    for mark in marks[1:]:
        call()
        mark.record()
    torch.cuda.synchronize()
    return [one.elapsed_time(other) / 1000 for one, other in pairwise(marks)]


def rate(seconds: list[float], batch: int) -> list[float]:
    """Clips a second: the median, the least, the most."""
    return [round(batch / take(seconds), 2) for take in (median, max, min)]


def milliseconds(seconds: list[float]) -> list[float]:
    """The median, the least, the most."""
    return [round(1000 * take(seconds), 3) for take in (median, min, max)]
