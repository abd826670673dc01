"""A training step, by variant: clips per second, memory, ratio to plain, and where the time goes.

    python benchmarks/training.py                                                        # a processor
    python benchmarks/training.py --model smallbig_r50 --clip 8x224 --device cuda --batch 0 --compiled --profile   # a GPU

Plain is what research code runs: eager, default memory format, PyTorch's own operations; on a GPU in bfloat16 by autocast, on
a processor in float32. Every variant has a process of its own; they take turns. `kept` counts the bytes that wait for the
backward pass, tensor by tensor; `peak` is a GPU's. `--batch 0` gives each variant the largest batch that fits the GPU.
The floor is the time that a GPU takes to read and write what its convolutions alone must, at the rate of a large copy.
"""

from __future__ import annotations

import argparse
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from multiprocessing import get_context
from statistics import median
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from smallbignet.models.zoo import create_model
from smallbignet.ops.memory import keep_memory
from smallbignet.ops.recompute import recompute

STEPS = 2  # timed, in each turn


def plain_max_pool(x: Tensor, window: tuple) -> Tensor:
    t, h, w = window
    return F.max_pool3d(x, (t or x.shape[2], h, w), stride=1, padding=(t // 2 if t else 0, h // 2, w // 2))


def plain_norm_relu(x, bn, big=None, bn_big=None, shortcut=None, relu=True) -> Tensor:
    y = bn(x)
    y = y if big is None else y + bn_big(big)
    y = y if shortcut is None else y + shortcut
    return F.relu(y) if relu else y


@contextmanager
def plain_operations():
    """The network as it would be without `smallbignet.ops`."""
    there = "smallbignet.models.smallbig."
    with (
        patch(there + "max_pool", plain_max_pool),
        patch(there + "global_max", lambda x: x.amax(dim=(2, 3, 4), keepdim=True)),
        patch(there + "norm_relu", plain_norm_relu),
        patch("smallbignet.ops.conv.Conv3d.forward", nn.Conv3d.forward),
    ):
        yield


class Variant:
    """A network in training, one of "plain", "channels_last", "ours", "compiled", in one precision."""

    def __init__(self, name: str, precision: str, model: str, clip: str, device: str):
        self.ours, self.lean, self.device, self.half = name in ("ours", "lean"), name == "lean", device, precision == "bf16"
        self.last = torch.contiguous_format if name == "plain" else torch.channels_last_3d
        self.frames, self.size = map(int, clip.split("x"))
        torch.manual_seed(0)
        torch.backends.cudnn.benchmark = True
        if self.ours and device == "cpu":
            keep_memory()
        self.network = create_model(model).to(device).to(memory_format=self.last).train()
        self.sgd = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9)
        self.forward = torch.compile(self.network) if name == "compiled" else self.network

    def loss(self, batch: int, saving: AbstractContextManager | None = None) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        clips = torch.randn(batch, 3, self.frames, self.size, self.size, generator=generator)
        clips, labels = clips.to(self.device).to(memory_format=self.last), torch.arange(batch, device=self.device)
        saving = saving or (recompute() if self.lean else nullcontext())
        with saving, nullcontext() if self.ours else plain_operations():
            with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
                return F.cross_entropy(self.forward(clips).float(), labels)

    def step(self, batch: int) -> None:
        self.sgd.zero_grad()
        self.loss(batch).backward()
        self.sgd.step()
        if self.device == "cuda":
            torch.cuda.synchronize()

    def kept(self, batch: int) -> int:
        """Bytes of all tensors that a forward pass leaves for the backward pass, parameters apart."""
        mine, kept = {p.data_ptr() for p in self.network.parameters()}, {}

        def keep(x: Tensor) -> Tensor:
            recipe = getattr(x, "recipe", None) if self.lean else None
            if recipe is None:
                kept[x.untyped_storage().data_ptr()] = x
            for needed in recipe.inputs if recipe else ():
                if isinstance(needed, Tensor):
                    keep(needed)
            return x

        self.loss(batch, torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x))
        return sum(x.untyped_storage().nbytes() for pointer, x in kept.items() if pointer not in mine)

    def peak(self, batch: int) -> int:
        torch.cuda.reset_peak_memory_stats()
        self.step(batch)
        return torch.cuda.max_memory_allocated()

    def largest_batch(self) -> int:
        """From the memory of two small batches, a multiple of 8."""
        self.step(8)  # momentum, workspaces
        a, b = self.peak(8), self.peak(16)
        free = 0.94 * torch.cuda.get_device_properties(0).total_memory - a
        return 8 + int(free / (b - a)) * 8

    def seconds(self, batch: int) -> float:
        """Of a step: the median of a few."""
        times = []
        for _ in range(STEPS):
            started = time.perf_counter()
            self.step(batch)
            times.append(time.perf_counter() - started)
        return median(times)

    def top(self, batch: int) -> list[tuple[str, float]]:
        """The five operations that take longest, and their share of the whole."""
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (self.device == "cuda")
        with profile(activities=activities) as profiler:
            self.step(batch)
        spent = {
            e.key: e.self_device_time_total if self.device == "cuda" else e.self_cpu_time_total for e in profiler.key_averages()
        }
        whole = sum(spent.values())
        return [(name, spent[name] / whole) for name in sorted(spent, key=lambda name: -spent[name])[:5]]


@cache
def variant(*settings: str) -> Variant:
    return Variant(*settings)


def call(settings: tuple[str, ...], method: str, *arguments):
    """In the process of one variant."""
    return getattr(variant(*settings), method)(*arguments)


def floor(model: str, clip: str) -> tuple[float, float]:
    """Seconds a clip needs on this GPU for its convolutions' inputs and outputs in bfloat16, and this GPU's bytes a second."""
    frames, size = map(int, clip.split("x"))
    elements = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal elements  # forward: read x, write y; backward: read y's gradient twice and x, write x's gradient
        elements += 3 * inputs[0].numel() + 3 * output.numel()

    with torch.device("meta"):
        network = create_model(model)
        for module in network.modules():
            if isinstance(module, nn.Conv3d):
                module.register_forward_hook(count)
        network(torch.empty(1, 3, frames, size, size))
    block = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    other, times = torch.empty_like(block), []
    for _ in range(10):
        torch.cuda.synchronize()
        started = time.perf_counter()
        other.copy_(block)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    rate = 2 * len(block) / min(times)
    return 2 * elements / rate, rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smallbig_r23")
    parser.add_argument("--clip", default="8x112", help="frames x size")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--compiled", action="store_true", help="torch.compile, too")
    parser.add_argument("--profile", action="store_true", help="the five operations that take longest")
    args = parser.parse_args()
    names = ["plain", "channels_last", "ours"] + ["compiled"] * args.compiled
    pairs = [(name, "bf16") for name in names]
    if args.device == "cpu":
        pairs = [(name, "fp32") for name in names] + pairs[1:]
    common = (args.model, args.clip, args.device)
    with get_executors(pairs) as executors:

        def ask(pair: tuple[str, str], method: str, *arguments):
            return executors[pair].submit(call, (*pair, *common), method, *arguments).result()

        batches = {pair: args.batch or ask(pair, "largest_batch") for pair in pairs}
        kept = {pair: ask(pair, "kept", 2) - ask(pair, "kept", 1) for pair in pairs}  # of one more clip
        times: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
        for turn in range(args.turns + 1):
            for pair in pairs:
                seconds = ask(pair, "seconds", batches[pair]) / batches[pair]
                times[pair] += [seconds] if turn else []  # the first one warms up
        on_gpu = args.device == "cuda"
        peaks = {pair: ask(pair, "peak", batches[pair]) / batches[pair] if on_gpu else 0 for pair in pairs}
        print(f"{args.model}, {args.clip}x{args.clip.split('x')[1]}, {args.turns} turns of {STEPS} steps\n")
        head = (
            "variant",
            "precision",
            "batch",
            "clips/s (range)",
            "x plain",
            "kept MB/clip",
            "x plain",
            "peak MB/clip",
            "x plain",
        )
        print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for pair in pairs:
            rates, plain = sorted(1 / seconds for seconds in times[pair]), pairs[0]
            faster = median(p / s for p, s in zip(times[plain], times[pair], strict=True))
            peak = f"{peaks[pair] / 1e6:.0f} | {peaks[pair] / peaks[plain]:.2f}" if on_gpu else " | "
            spread = f"{median(rates):.2f} ({rates[0]:.2f} to {rates[-1]:.2f}) | {faster:.2f}"
            memory = f"{kept[pair] / 1e6:.1f} | {kept[pair] / kept[plain]:.2f} | {peak}"
            print(f"| {' | '.join(pair)} | {batches[pair]} | {spread} | {memory} |")
        if on_gpu:
            seconds, rate = floor(args.model, args.clip)
            print(f"\nFloor: {1 / seconds:.0f} clips/s at {rate / 1e9:.0f} GB/s; ours takes", end=" ")
            print(f"{median(times[('ours', 'bf16')]) / seconds:.2f} times as long.")
        for pair in pairs if args.profile else []:
            print(f"\n{' '.join(pair)}: " + ", ".join(f"{name} {share:.0%}" for name, share in ask(pair, "top", batches[pair])))
    where = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} threads"
    print(f"\ntorch {torch.__version__}, {where}, Python {platform.python_version()}.")


@contextmanager
def get_executors(pairs: list[tuple[str, str]]):
    """A process for each."""
    executors = {pair: ProcessPoolExecutor(1, mp_context=get_context("spawn")) for pair in pairs}
    try:
        yield executors
    finally:
        for executor in executors.values():
            executor.shutdown()


if __name__ == "__main__":
    main()
