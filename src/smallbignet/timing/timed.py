"""Something that is timed: how calls are timed, and what else is measured of them."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from smallbignet import ops
from smallbignet.timing.cases import Case

TURN = 1.0  # seconds; a turn is at least one call


class Timed:
    """Something to call again and again. A subclass defines `call`, and what else it can measure."""

    def __init__(self, case: Case):
        torch.set_num_threads(case.threads)
        torch.backends.cudnn.benchmark = True
        warnings.simplefilter("ignore")
        self.case = case
        self.on_gpu = case.device.startswith("cuda")
        if self.on_gpu:
            torch.cuda.set_device(torch.device(case.device).index or 0)
        self.form, _, precision = case.variant.partition(" ")
        self.bf16 = precision == "bf16"
        self.memory_before = peak_memory()

    def call(self) -> object:
        raise NotImplementedError

    def seconds(self) -> list[float]:
        """Return the seconds of each call for about a second, after a call that fills the caches again."""
        self.call()
        return self.time_calls(self.call, TURN)

    def time_calls(self, call: Callable[[], object], enough: float = TURN / 10) -> list[float]:
        """Return the seconds of each call, for as many calls as take `enough` seconds together."""
        times: list[float] = []
        while sum(times) < enough:
            started = time.perf_counter()
            call()
            if self.on_gpu:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        return times

    def logits(self) -> Tensor | None:
        """Return logits to compare variants by, (M, num_classes), or None if there are none."""
        return None

    def batch_size(self) -> int:
        """Return the number of clips in a call."""
        return self.case.batch

    def kept(self) -> int | None:
        """Return the bytes that one more clip in a batch keeps for the backward pass, or None if there is no such pass."""
        return None

    def memory(self) -> int | None:
        """Return the peak so far in bytes: of the GPU's memory, or of what the process has used since it made this object."""
        if self.on_gpu:
            return torch.cuda.max_memory_allocated()
        return None if self.memory_before is None else (peak_memory() or 0) - self.memory_before

    def top(self) -> list[tuple[str, float]]:
        """Return the five operations that take longest, and their shares of the time of a call."""
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own log would be printed among the results
        with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * self.on_gpu) as profiler:
            self.call()
        events = profiler.key_averages()
        if self.on_gpu:  # only kernels: the time of an operation is that of its kernels, counted again
            events = [e for e in events if e.device_type == torch.autograd.DeviceType.CUDA and not e.is_user_annotation]
        spent = {event.key: event.self_device_time_total if self.on_gpu else event.self_cpu_time_total for event in events}
        whole = sum(spent.values())
        return [(name, spent[name] / whole) for name in sorted(spent, key=lambda name: -spent[name])[:5]]

    def operations(self) -> AbstractContextManager:
        """Return the context in which the network runs: only the fused form uses the fast operations."""
        return nullcontext() if self.form == "fused" else ops.plain()

    def autocast(self, enabled: bool) -> AbstractContextManager:
        """Return a context of bfloat16 autocast on the device, if it is enabled."""
        return torch.autocast(self.case.device.split(":")[0], torch.bfloat16, enabled=enabled)


def peak_memory() -> int | None:
    """Return the largest number of bytes that this process has held, or None where the system (not Linux) does not say."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return None
