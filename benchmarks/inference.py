"""Inference on a processor, by form of the network: latency, ratio to plain and to the convolutions' floor, error, agreement.

    python benchmarks/inference.py                                   # smallbig_r50 with random weights, clips of noise
    python benchmarks/inference.py --model runs/mine --videos clips.csv --clip 8x112     # a trained one, real clips

Plain is what research code runs: eager, default memory format. Every form has a process of its own; they take turns, one
clip each. `processor` is the time that a form's threads were at work, divided by their number: on a machine that others use,
too, it says more than the clock. The floor is the time that the network's convolutions alone take at the best rate that a
convolution reaches on this machine in the same turn. Errors are of the logits, relative to plain, the largest of all clips;
int8 is calibrated on clips that it is not tested with.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait don't count as processor time

import argparse
import platform
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import cache
from multiprocessing import get_context
from statistics import median
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from smallbignet import complexity, create_model, list_models, load_config, load_model, open_video
from smallbignet.data.annotations import read_annotations
from smallbignet.data.datasets import read_views
from smallbignet.data.sampling import Views, sample_test_clips
from smallbignet.data.transforms import to_input
from smallbignet.deploy.fuse import fuse
from smallbignet.deploy.int8 import OpenVINONetwork, quantize, to_openvino

FORMS = ("plain", "channels_last", "fused", "openvino", "compiled", "plain bf16", "fused bf16", "openvino bf16", "int8")
CALIBRATION, TESTED, NOISE = 16, 60, 4  # clips; tested ones, and those of noise that take their place


class Form:
    """A network in one form, in a process of its own."""

    def __init__(self, name: str, model: str, file: str, threads: int):
        torch.set_num_threads(threads)
        warnings.simplefilter("ignore")
        clips = torch.load(file)
        calibration, self.clips = clips[:CALIBRATION], clips[CALIBRATION:]
        self.half = name == "plain bf16"
        network = get_network(model).to(memory_format=torch.contiguous_format)
        if name in ("channels_last", "compiled"):
            network = network.to(memory_format=torch.channels_last_3d)
            self.clips = self.clips.to(memory_format=torch.channels_last_3d)
        if name == "compiled":
            torch._inductor.config.freezing = True
            network = torch.compile(network)
        elif name.startswith("fused"):
            network = fuse(network, torch.bfloat16 if "bf16" in name else torch.float32)
        elif name.startswith("openvino"):
            network = OpenVINONetwork(to_openvino(network, clips.shape[1:]), "bf16" if "bf16" in name else "f32")
        elif name == "int8":
            network = quantize(network, calibration)
        self.network = network

    def logits(self) -> Tensor:
        return torch.cat([self(clip) for clip in self.clips.split(1)])

    @torch.no_grad()
    def __call__(self, clip: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            return self.network(clip).float()

    def seconds(self) -> tuple[float, float]:
        """One clip's: by the clock, and of the processor."""
        return spent(self, self.clips[:1])

    def top(self) -> list[tuple[str, float]]:
        """The five operations that take longest, and their share of the whole."""
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            self(self.clips[:1])
        times = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
        return [(key, times[key] / sum(times.values())) for key in sorted(times, key=lambda key: -times[key])[:5]]


class Best:
    """The rate of the best convolution."""

    def __init__(self, name: str, model: str, file: str, threads: int):
        torch.set_num_threads(threads)
        self.dtype = torch.bfloat16 if "bf16" in name else torch.float32

    @torch.no_grad()
    def seconds(self) -> tuple[float, float]:
        """A multiply-accumulate's: by the clock, and of the processor."""
        times = []
        for channels, kernel, size in ((256, 3, 28), (512, 3, 14), (512, 3, 7), (1024, 1, 14)):
            x = torch.randn(8, channels, size, size).to(self.dtype, memory_format=torch.channels_last)
            weight = torch.randn(channels, channels, kernel, kernel).to(self.dtype, memory_format=torch.channels_last)
            macs = weight.numel() * size * size * len(x)
            for _ in range(4):
                clock, processor = spent(F.conv2d, x, weight, None, 1, kernel // 2)
                times.append((clock / macs, processor / macs))
        return min(clock for clock, _ in times), min(processor for _, processor in times)


def spent(function, *arguments) -> tuple[float, float]:
    """Seconds by the clock, and those that the processor worked, a thread."""
    clock, processor = time.perf_counter(), time.process_time()
    function(*arguments)
    return time.perf_counter() - clock, (time.process_time() - processor) / torch.get_num_threads()


def get_network(model: str) -> nn.Module:
    """A model directory's network, or a named one with random weights whose big views are switched on."""
    if model not in list_models():
        return load_model(model)
    torch.manual_seed(0)
    network = create_model(model).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.2, 0.6)
    return network


def get_clips(model: str, clip: str, videos: str) -> Tensor:
    """(M, 3, T, H, W): the middle clip of each video, as the network gets it; noise without videos."""
    frames, size = map(int, clip.split("x"))
    if not videos:
        return torch.randn(CALIBRATION + NOISE, 3, frames, size, size, generator=torch.Generator().manual_seed(0))
    config, views = load_config(model), Views(1, 1)
    paths = read_annotations(videos).paths
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0)).tolist()[: CALIBRATION + TESTED]
    clips = []
    for path in (paths[i] for i in order):
        with open_video(path) as video:
            clips.append(read_views(video, sample_test_clips(video.num_frames, config.clip, 1), config.input, views))
    return to_input(torch.cat(clips), config.input)


@cache
def form(name: str, *settings) -> Form | Best:
    return (Best if name.startswith("best") else Form)(name, *settings)


def call(settings: tuple, method: str):
    """In the process of one form."""
    return getattr(form(*settings), method)()


def take_turns(ask: Callable, names: list[str], turns: int) -> list[dict[str, tuple[float, float]]]:
    return [{name: ask(name, "seconds") for name in names} for _ in range(turns)]


def show(name: str, turns: list[dict], macs: int, logits: dict[str, Tensor]) -> None:
    """A form's line of the table."""
    best = "best bf16" if "bf16" in name else "best"
    clock, processor = ([turn[name][i] * 1e3 for turn in turns] for i in (0, 1))
    faster = [median(turn["plain"][i] / turn[name][i] for turn in turns) for i in (0, 1)]
    over = median(turn[name][1] / (turn[best][1] * macs) for turn in turns)
    error = ((logits[name] - logits["plain"]).norm(dim=1) / logits["plain"].norm(dim=1)).max()
    same = (logits[name].argmax(1) == logits["plain"].argmax(1)).sum()
    print(
        f"| {name} | {median(clock):.0f} ({min(clock):.0f} to {max(clock):.0f}) | {faster[0]:.2f} "
        f"| {median(processor):.0f} ({min(processor):.0f} to {max(processor):.0f}) | {faster[1]:.2f} | {over:.2f} "
        f"| {error:.1e} | {same} of {len(logits[name])} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smallbig_r50", help="a name, or a model or run directory")
    parser.add_argument("--clip", default="8x224", help="frames x size; with videos, the model's own")
    parser.add_argument("--videos", default="", help="real clips: a .csv file or another list of videos")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--profile", action="store_true", help="the five operations that take longest, plain and fused")
    args = parser.parse_args()
    clips = get_clips(args.model, args.clip, args.videos)
    macs = complexity(lambda: get_network(args.model), *clips.shape[2:4]).conv_macs
    forms = ["plain", *(name for name in args.forms if name != "plain")]
    with TemporaryDirectory() as folder, ExitStack() as stack:
        torch.save(clips, file := f"{folder}/clips.pt")
        executors = {
            name: stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            for name in (*forms, "best", "best bf16")
        }

        def ask(name: str, method: str):
            return executors[name].submit(call, (name, args.model, file, args.threads), method).result()

        logits = {name: ask(name, "logits") for name in forms}  # which warms up, too
        turns = take_turns(ask, list(executors), args.turns)
        tops = {name: ask(name, "top") for name in forms if args.profile and name in ("plain", "fused", "fused bf16")}
    print(f"{args.model}, clips of {' x '.join(map(str, clips.shape[2:]))}, batch 1: {macs / 1e9:.2f} GMACs of convolutions\n")
    print("| form | ms (least to most) | x plain | processor ms | x plain | x floor | error | same top-1 |\n|" + "---|" * 8)
    for name in forms:
        show(name, turns, macs, logits)
    print()
    for best in ("best", "best bf16"):
        rates = [1e-9 / median(turn[best][i] for turn in turns) for i in (0, 1)]
        print(f"{best}: {rates[0]:.0f} GMAC/s by the clock, {rates[1]:.0f} by the processor")
    for name, operations in tops.items():
        print(f"{name}: " + ", ".join(f"{operation} {share:.0%}" for operation, share in operations))
    print(
        f"torch {torch.__version__}, {args.threads} threads, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}."
    )


if __name__ == "__main__":
    main()
