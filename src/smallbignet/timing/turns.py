"""Variants of a network timed in turns, each in a process of its own, beside plain and the floor that the machine sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache
from multiprocessing import get_context
from statistics import median
from typing import Any

import numpy as np
import torch

from smallbignet.errors import SmallBigError, WorkError
from smallbignet.models.complexity import complexity
from smallbignet.timing.variants import Case, build_network, convolution_elements, subject
from smallbignet.utils.processes import spawn


@dataclass(frozen=True)
class Row:
    """A network in one variant. Where it could not run, `refused` says why.

    Attributes:
        clip: frames x size.
        clips_per_second: median of the turns, and the least and the most of them.
        latency_ms: percentiles of a call, which is a batch of clips: p50, p90, p99.
        memory_mb: at most, of the GPU or of the process, weights and workspaces with it.
        kept_mb: what a training step keeps of a clip for the backward pass.
        times_plain: how many times as fast as plain, turn by turn, the median.
        times_floor: how many times the floor's seconds it takes, likewise; see `Floor`.
        error: of the logits, relative to plain's, the largest of all clips.
        same_top1: share of those clips whose best class is plain's.
        compared: how many clips that were.
        top: the operations that take longest, and their shares.
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
    """A process that one case is timed in. What can't be is `refused`, with the reason, and asked no more."""

    def __init__(self, case: Case, stack: ExitStack):
        self.case, self.refused = case, ""
        self.connection, self.process = spawn(get_context("spawn"), _call)
        stack.callback(self.process.join)
        stack.callback(self.connection.close)  # which ends the process

    def ask(self, method: str) -> Any:
        """What the subject's method of that name answers; None where it is refused."""
        if self.refused:
            return None
        try:
            self.connection.send((self.case, method))
            answer, self.refused = self.connection.recv()
        except (EOFError, OSError):
            answer, self.refused = None, "its process died, of too little memory most likely"
        return answer

    def ask_for_more(self, method: str) -> Any:
        """Likewise what need not be known: None where there is no answer, and nothing is refused for that."""
        refused, answer = self.refused, self.ask(method)
        self.refused = refused
        return answer


_subject = cache(subject)


def _call(case: Case, method: str) -> tuple[Any, str]:
    """In the worker's process: an answer, or the reason why there is none."""
    try:
        return getattr(_subject(case), method)(), ""
    except (SmallBigError, RuntimeError, ValueError, AssertionError, IndexError) as error:  # networks refuse clips in many ways
        return None, " ".join(str(error).split())[:160] or type(error).__name__
    finally:
        torch.cuda.empty_cache()  # a GPU's memory is all there for whoever has the next turn


@dataclass(frozen=True)
class Floor:
    """The least that a clip could take on this machine.

    Its multiply-accumulates at the rate of the best convolution, or its convolutions' inputs and outputs through memory at the
    rate of a large copy, whichever takes longer.

    Attributes:
        macs: of a clip; in training three times those of an answer, for the gradients of inputs and weights take as many.
        elements: read or written.
    """

    macs: int
    elements: int

    @classmethod
    def of(cls, case: Case) -> Floor:
        passes = 3 if case.train else 1
        macs = complexity(lambda: build_network(case.model), *case.clip).macs
        return cls(passes * macs, passes * convolution_elements(case.model, case.clip))

    def seconds(self, rates: dict[str, float], half: bool) -> float:
        """Of a clip, from seconds of a multiply-accumulate and of a byte."""
        compute = self.macs * rates["best convolution bf16" if half else "best convolution"]
        return max(compute, self.elements * (2 if half else 4) * rates["copy"])


def measure(
    cases: Sequence[Case], grounds: dict[str, Worker], turns: int, profile: bool, advance: Callable[[], object]
) -> tuple[list[Row], list[dict[str, float]]]:
    """A row for each variant of a network, of which the first is plain; and the grounds' rates at each turn.

    Args:
        grounds: workers of the floors, by name.
        advance: is called after each worker's turn.
    """
    with ExitStack() as stack:
        workers = [Worker(case, stack) for case in cases]
        logits = []
        for worker in workers:
            logits.append(worker.ask("logits"))
            worker.ask("seconds")  # which warms up
            advance()
        seconds: list[list[list[float]]] = [[] for _ in workers]  # by worker, turn and call
        rates = []
        for _ in range(turns):
            for worker, mine in zip(workers, seconds, strict=True):
                mine.append(worker.ask("seconds"))
                advance()
            rates.append({name: _rate(ground) for name, ground in grounds.items()})
        running = not all(worker.refused for worker in workers)
        floor, rows = Floor.of(cases[0]) if running else None, []
        for worker, mine, answers in zip(workers, seconds, logits, strict=True):
            row = Row(worker.case.model, worker.case.variant, "x".join(map(str, worker.case.clip)))
            if floor and not worker.refused:
                row = _timed(row, worker, mine, floor, rates, profile)
                if not workers[0].refused:
                    row = _beside_plain(row, mine, answers, workers[0], seconds[0], logits[0])
            rows.append(replace(row, refused=worker.refused))
    return rows, rates


def _rate(ground: Worker) -> float:
    seconds = ground.ask("seconds")
    if seconds is None:
        raise WorkError(f"the machine's floor can't be measured: {ground.refused}", ground.case.variant)
    return seconds[0]


def _timed(row: Row, worker: Worker, seconds: list[list[float]], floor: Floor, rates: list[dict], profile: bool) -> Row:
    batch, half = worker.ask("batch_size"), row.variant.endswith("bf16")
    turns = [median(calls) / batch for calls in seconds]  # of a clip
    over = median(mine / floor.seconds(rate, half) for mine, rate in zip(turns, rates, strict=True))
    calls = [1000 * call for calls in seconds for call in calls]
    memory, kept = worker.ask("memory"), worker.ask_for_more("kept")
    return replace(
        row,
        batch=batch,
        clips_per_second=(1 / median(turns), 1 / max(turns), 1 / min(turns)),
        latency_ms={f"p{p}": float(np.percentile(calls, p)) for p in (50, 90, 99)},
        memory_mb=megabytes(memory),
        kept_mb=megabytes(kept),
        times_floor=None if row.variant == "int8" else over,  # the floors are those of floating point
        top=worker.ask_for_more("top") or [] if profile else [],
    )


def megabytes(count: int | None) -> float | None:
    return None if count is None else count / 1e6


def _beside_plain(row: Row, seconds: list, logits: Any, plain: Worker, plain_seconds: list, plain_logits: Any) -> Row:
    share = row.batch / plain.ask("batch_size")
    row = replace(row, times_plain=median(share * median(a) / median(b) for a, b in zip(plain_seconds, seconds, strict=True)))
    if logits is None:
        return row
    error = ((logits - plain_logits).norm(dim=1) / plain_logits.norm(dim=1)).max().item()
    same = (logits.argmax(1) == plain_logits.argmax(1)).double().mean().item()
    return replace(row, error=error, same_top1=same, compared=len(logits))
