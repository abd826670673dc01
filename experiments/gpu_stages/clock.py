"""How long calls take, on the GPU's own clock where there is one."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import torch

MOST = 200  # calls
WARM_UP = 3


def timed(call: Callable[[], object], enough: float, alone: bool = False, least: int = 3) -> list[float]:
    """Return the seconds of each of several calls, after one that warms up.

    Args:
        enough: seconds in all, unless the least number of calls takes longer.
        alone: each call starts on an idle GPU, which gives its latency; else it is queued behind the last one.
        least: number of calls.
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
    """Return the seconds from each call's end to the next one's."""
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
    torch.cuda.synchronize()
    marks[0].record()
    for mark in marks[1:]:
        call()
        mark.record()
    torch.cuda.synchronize()
    return [one.elapsed_time(other) / 1000 for one, other in pairwise(marks)]


def rate(seconds: list[float], batch: int) -> list[float]:
    """Clips per second: the median, the least, the most."""
    return [round(batch / take(seconds), 2) for take in (median, max, min)]


def milliseconds(seconds: list[float]) -> list[float]:
    """The median, the least, the most."""
    return [round(1000 * take(seconds), 3) for take in (median, min, max)]


def captured(call: Callable[[], object]) -> Callable[[], None]:
    """Return the same as a CUDA graph, in which starting kernels takes the CPU no time."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay
