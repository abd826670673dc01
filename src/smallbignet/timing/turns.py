"""Variants of a network are timed in turns, each in a process of its own, beside plain and the floor of the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smallbignet.errors import SmallBigError, WorkError
from smallbignet.timing.cases import FLOORS, Case
from smallbignet.timing.floors import BestConvolution, Copy, Floor
from smallbignet.timing.timed import Timed
from smallbignet.timing.variants import Inference, Training
from smallbignet.utils.processes import spawn


@dataclass(frozen=True)
class Row:
    """The figures of a network in one variant, or in `refused` the reason why it could not run.

    Attributes:
        model: the network's name or its model directory.
        variant: one of `cases.INFERENCE` or `cases.TRAINING`.
        clip: frames x size.
        batch: clips in a call.
        clips_per_second: the median of the turns, the slowest and the fastest.
        latency_ms: percentiles of the time of a call, which is a batch of clips: p50, p90, p99.
        memory_mb: peak memory of the GPU or of the process, with weights and workspaces.
        kept_mb: what a training step keeps of each clip for the backward pass.
        times_plain: how many times as fast as plain: the ratio in each turn, the median of these.
        times_floor: how many times as long as the floor (`Floor`), likewise.
        error: of the logits, relative to those of plain: the largest of all clips.
        same_top1: the share of clips whose best class is the same as with plain.
        compared: the number of those clips.
        top: the operations that take longest, and their shares.
        refused: the reason why the variant could not run.
    """

    model: str
    variant: str
    clip: str
    batch: int = 0
    clips_per_second: tuple[float, float, float] = (0.0, 0.0, 0.0)
    latency_ms: dict[str, float] = field(default_factory=dict)
    memory_mb: float | None = None
    kept_mb: float | None = None
    times_plain: float | None = None
    times_floor: float | None = None
    error: float | None = None
    same_top1: float | None = None
    compared: int = 0
    top: list[tuple[str, float]] = field(default_factory=list)
    refused: str = ""


class Worker:
    """A process in which one case is timed. Once that fails, `refused` is the reason, and the process is asked no more."""

    def __init__(self, case: Case, stack: ExitStack):
        self.case = case
        self.refused = ""
        self.connection, self.process = spawn(_call)
        stack.callback(self.process.join)
        stack.callback(self.connection.close)  # which ends the process

    def ask(self, method: str) -> Any:
        """Return what a method of the case's `Timed` returns, or None where the case is refused."""
        if self.refused:
            return None
        try:
            self.connection.send((self.case, method))
            result, self.refused = self.connection.recv()
        except (EOFError, OSError):
            result, self.refused = None, "its process died, probably because it ran out of memory"
        return result

    def ask_for_more(self, method: str) -> Any:
        """Like `ask`, for a figure that may be missing: where the method fails, this returns None and refuses nothing."""
        refused, result = self.refused, self.ask(method)
        self.refused = refused
        return result


@cache
def _timed(case: Case) -> Timed:
    if case.variant in FLOORS:
        return Copy(case) if case.variant == "copy" else BestConvolution(case)
    return Training(case) if case.train else Inference(case)


def _call(case: Case, method: str) -> tuple[Any, str]:
    """In a worker's process: return what the method returns, or the reason why it fails."""
    try:
        return getattr(_timed(case), method)(), ""
    except (SmallBigError, RuntimeError, ValueError, AssertionError, IndexError) as error:  # networks refuse clips in many ways
        return None, " ".join(str(error).split())[:160] or type(error).__name__
    finally:
        torch.cuda.empty_cache()  # so that the next in turn has all of the GPU's memory


@dataclass
class Timings:
    """What a worker has returned: logits of some clips, and the seconds of each call in each turn."""

    worker: Worker
    logits: Tensor | None
    turns: list[list[float]] = field(default_factory=list)


def measure(
    cases: Sequence[Case],
    floor_workers: dict[str, Worker],
    turns: int,
    profile: bool,
    advance: Callable[[], object],
) -> tuple[list[Row], list[dict[str, float]]]:
    """Time the variants of one network in turns.

    Args:
        cases: the network in each variant; the first is plain.
        floor_workers: the workers of the floors, by name; they have a turn after the variants.
        turns: how often each variant is timed.
        profile: whether to measure which operations take longest.
        advance: is called after each variant's turn, the first of which only warms up.

    Returns:
        A row for each case, and the rates of the floors in each turn.
    """
    with ExitStack() as stack:
        workers = [Worker(case, stack) for case in cases]  # the processes start together
        timings = [_warm_up(worker, advance) for worker in workers]
        rates: list[dict[str, float]] = []
        for _ in range(turns):
            for timing in timings:
                timing.turns.append(timing.worker.ask("seconds"))
                advance()
            rates.append({name: _rate(worker) for name, worker in floor_workers.items()})
        return _rows(timings, rates, profile), rates


def _warm_up(worker: Worker, advance: Callable[[], object]) -> Timings:
    timings = Timings(worker, worker.ask("logits"))
    worker.ask("seconds")
    advance()
    return timings


def _rate(worker: Worker) -> float:
    seconds = worker.ask("seconds")
    if seconds is None:
        raise WorkError(f"the machine's floor can't be measured: {worker.refused}", worker.case.variant)
    return seconds[0]


def _rows(timings: list[Timings], rates: list[dict[str, float]], profile: bool) -> list[Row]:
    plain = timings[0]
    rows: list[Row] = []
    floor: Floor | None = None  # counted once, for all variants of the network
    for each in timings:
        worker = each.worker
        row = Row(worker.case.model, worker.case.variant, "x".join(map(str, worker.case.clip)))
        if not worker.refused:
            floor = floor or Floor.of(worker.case)
            row = _with_times(row, each, floor, rates, profile)
            if not plain.worker.refused:
                row = _compared(row, each, plain)
        rows.append(replace(row, refused=worker.refused))
    return rows


def _with_times(row: Row, timings: Timings, floor: Floor, rates: list[dict[str, float]], profile: bool) -> Row:
    worker = timings.worker
    batch = worker.ask("batch_size")
    clip_seconds = [median(calls) / batch for calls in timings.turns]  # by turn
    half = row.variant.endswith("bf16")
    over_floor = [seconds / floor.seconds(rate, half) for seconds, rate in zip(clip_seconds, rates, strict=True)]
    call_ms = [1000 * seconds for calls in timings.turns for seconds in calls]
    return replace(
        row,
        batch=batch,
        clips_per_second=(1 / median(clip_seconds), 1 / max(clip_seconds), 1 / min(clip_seconds)),
        latency_ms={f"p{p}": float(np.percentile(call_ms, p)) for p in (50, 90, 99)},
        memory_mb=_megabytes(worker.ask("memory")),
        kept_mb=_megabytes(worker.ask_for_more("kept")),
        times_floor=None if row.variant == "int8" else median(over_floor),  # the floors are those of floating point
        top=worker.ask_for_more("top") or [] if profile else [],
    )


def _megabytes(count: int | None) -> float | None:
    return None if count is None else count / 1e6


def _compared(row: Row, timings: Timings, plain: Timings) -> Row:
    """Add how much faster than plain a variant is, and how far its logits are from those of plain."""
    batches = row.batch / plain.worker.ask("batch_size")
    ratios = [batches * median(a) / median(b) for a, b in zip(plain.turns, timings.turns, strict=True)]
    row = replace(row, times_plain=median(ratios))
    if timings.logits is None or plain.logits is None:
        return row
    error = ((timings.logits - plain.logits).norm(dim=1) / plain.logits.norm(dim=1)).max().item()
    same = (timings.logits.argmax(1) == plain.logits.argmax(1)).double().mean().item()
    return replace(row, error=error, same_top1=same, compared=len(timings.logits))
