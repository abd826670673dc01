"""What `smallbig benchmark` times: networks in their variants, and the floors under them, each in a process of its own."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from smallbignet import ops
from smallbignet.inference.fuse import fuse
from smallbignet.models.zoo import build_model, list_models
from smallbignet.ops.recompute import kept_for, recompute
from smallbignet.utils.memory import keep_memory
from smallbignet.weights.load import load_config, load_model

RIVALS = {
    "r2plus1d_18": (16, 112),
    "s3d": (16, 224),
    "mvit_v2_s": (16, 224),
    "swin3d_t": (16, 224),
}  # torchvision's, their clips
INFERENCE = ("plain", "channels_last", "fused", "compiled", "openvino", "plain bf16", "fused bf16", "openvino bf16", "int8")
TRAINING = ("plain", "channels_last", "fused", "compiled", "plain bf16", "channels_last bf16", "fused bf16", "compiled bf16")
FLOORS = ("best convolution", "best convolution bf16", "copy")
TURN = 1.0  # seconds, of at least one call
CALIBRATION, COMPARED = 16, 8  # clips of noise


@dataclass(frozen=True)
class Case:
    """What is timed.

    Attributes:
        model: a network's name, ours or one of `RIVALS`, or what `load_model` reads; a name has random weights.
        variant: of `INFERENCE` or `TRAINING`, or `FLOORS`.
        clip: frames and size.
        clips: file of real clips (M, 3, T, H, W); noise if not given.
    """

    model: str
    variant: str
    clip: tuple[int, int]
    batch: int
    device: str
    threads: int
    train: bool
    clips: str = ""


def build_network(name: str) -> nn.Module:
    """The network of that name with random weights, their big views switched on."""
    torch.manual_seed(0)
    if name in RIVALS:
        return getattr(torchvision.models.video, name)(weights=None, num_classes=400)
    network = build_model(name) if name in list_models() else build_model(**load_config(name).network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.2, 0.6)
    return network


def make_network(name: str) -> nn.Module:
    """The network of that name, a model directory's with its weights."""
    if name in RIVALS or name in list_models():
        return build_network(name)
    return load_model(name).to(memory_format=torch.contiguous_format)


def peak_memory() -> int | None:
    """Bytes that this process has held at most; Linux tells."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return None


class Timed:
    """Something to call again and again. A subclass says what `call` is."""

    def __init__(self, case: Case):
        torch.set_num_threads(case.threads)
        torch.backends.cudnn.benchmark = True
        warnings.simplefilter("ignore")
        self.case, self.on_gpu = case, case.device.startswith("cuda")
        if self.on_gpu:
            torch.cuda.set_device(torch.device(case.device).index or 0)
        self.form, _, precision = case.variant.partition(" ")
        self.half = precision == "bf16"
        self.before = peak_memory()

    def call(self) -> object:
        raise NotImplementedError

    def seconds(self) -> list[float]:
        """Of each call, for about a second, after one that brings back what others' turns have driven from the caches."""
        self.call()
        return self.some(self.call, TURN)

    def some(self, call: Callable[[], object], enough: float = TURN / 10) -> list[float]:
        """Seconds of each of some calls, `enough` in all."""
        times: list[float] = []
        while sum(times) < enough:
            started = time.perf_counter()
            call()
            if self.on_gpu:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        return times

    def logits(self) -> Tensor | None:
        """Answers to compare variants by, (M, num_classes), where there are any."""
        return None

    def batch_size(self) -> int:
        """Clips in a call."""
        return self.case.batch

    def kept(self) -> int | None:
        """Bytes that are kept of one more clip for the backward pass, but for what is made again there."""
        return None

    def memory(self) -> int | None:
        """Bytes at most, so far: of the GPU; or of the process, since before the network was made, where the system tells."""
        if self.on_gpu:
            return torch.cuda.max_memory_allocated()
        return None if self.before is None else (peak_memory() or 0) - self.before

    def top(self) -> list[tuple[str, float]]:
        """The five operations that take longest, and their shares of a call's time."""
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or its own log is printed among our results
        with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * self.on_gpu) as profiler:
            self.call()
        events = profiler.key_averages()
        if self.on_gpu:  # the kernels alone: operations are given their kernels' time once more
            events = [e for e in events if e.device_type == torch.autograd.DeviceType.CUDA and not e.is_user_annotation]
        spent = {event.key: event.self_device_time_total if self.on_gpu else event.self_cpu_time_total for event in events}
        whole = sum(spent.values())
        return [(name, spent[name] / whole) for name in sorted(spent, key=lambda name: -spent[name])[:5]]

    def _operations(self) -> AbstractContextManager:
        return nullcontext() if self.form == "fused" else ops.plain()

    def _autocast(self) -> AbstractContextManager:
        return torch.autocast(self.case.device.split(":")[0], torch.bfloat16, enabled=self.half)


class Inference(Timed):
    """A network that answers clips."""

    def __init__(self, case: Case):
        super().__init__(case)
        shape = (3, case.clip[0], case.clip[1], case.clip[1])
        generator = torch.Generator().manual_seed(0)
        noise = () if case.clips else (CALIBRATION + COMPARED, *shape)
        clips = torch.load(case.clips) if case.clips else torch.randn(noise, generator=generator)
        calibration, clips = clips[:CALIBRATION], clips[CALIBRATION:].to(case.device)
        self.format = torch.contiguous_format if self.form == "plain" else torch.channels_last_3d
        if self.form == "fused" and not self.on_gpu:
            keep_memory()
        network = make_network(case.model).to(case.device).eval()
        if self.form in ("channels_last", "compiled"):
            network = network.to(memory_format=self.format)
        elif self.form == "fused":
            network, self.half = fuse(network, torch.bfloat16 if self.half else torch.float32), False  # type: ignore[arg-type]
        elif self.form in ("openvino", "int8"):
            from smallbignet.inference.int8 import OpenVINONetwork, quantize, to_openvino

            precision = "bf16" if self.half else "f32"
            int8 = self.form == "int8"
            network = (
                quantize(network, calibration) if int8 else OpenVINONetwork(to_openvino(network, clips.shape[1:]), precision)
            )
            self.half = False
        if self.form == "compiled":
            torch._inductor.config.freezing = not self.on_gpu
            network = torch.compile(network)  # type: ignore[assignment]
        self.network, self.clips = network, clips
        self.some_clips = clips[torch.arange(case.batch) % len(clips)]

    def call(self) -> Tensor:
        return self.answer(self.some_clips)

    def logits(self) -> Tensor:
        return torch.cat([self.answer(some) for some in self.clips.split(self.case.batch)]).cpu()

    @torch.no_grad()
    def answer(self, clips: Tensor) -> Tensor:
        with self._operations(), self._autocast():
            return self.network(clips.contiguous(memory_format=self.format)).float()


class Training(Timed):
    """A network that makes steps."""

    def __init__(self, case: Case):
        super().__init__(case)
        if self.form == "fused" and not self.on_gpu:
            keep_memory()
        self.format = torch.contiguous_format if self.form == "plain" else torch.channels_last_3d
        self.network = make_network(case.model).to(case.device).to(memory_format=self.format).train()
        self.sgd = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9)
        self.forward = torch.compile(self.network, dynamic=False) if self.form == "compiled" else self.network
        self.clips: dict[int, Tensor] = {}
        self.batch = case.batch or self._largest_batch()

    def call(self) -> None:
        self.step(self.batch)

    def step(self, batch: int) -> None:
        self.loss(batch).backward()
        self.sgd.step()
        self.sgd.zero_grad()

    def loss(self, batch: int, saving: AbstractContextManager | None = None) -> Tensor:
        frames, size = self.case.clip
        if batch not in self.clips:
            clips = torch.randn(batch, 3, frames, size, size, device=self.case.device)
            self.clips = {batch: clips.contiguous(memory_format=self.format)}
        lean = self.form == "fused" and self.on_gpu
        with self._operations(), self._autocast(), saving or (recompute() if lean else nullcontext()):
            logits = self.forward(self.clips[batch]).float()
            return F.cross_entropy(logits, torch.arange(batch, device=self.case.device) % logits.shape[1])

    def batch_size(self) -> int:
        return self.batch

    def kept(self) -> int:
        fewer, more = (self._kept(batch) for batch in (2, 3))  # of one clip alone, a normalisation may see a single value
        return more - fewer

    def _kept(self, batch: int) -> int:
        mine, kept = {p.data_ptr() for p in self.network.parameters()}, {}

        def keep(x: Tensor) -> Tensor:
            for needed in kept_for(x) if self.on_gpu else (x,):
                kept[needed.untyped_storage().data_ptr()] = needed
            return x.detach()  # an operation's result would keep the operation, which keeps what is returned here

        self.loss(batch, torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x))
        return sum(x.untyped_storage().nbytes() for pointer, x in kept.items() if pointer not in mine)

    def _largest_batch(self) -> int:
        """The largest multiple of 8 that fits the GPU, first guessed from the memory of two small batches."""
        self.step(8)  # momentum, workspaces
        peaks = []
        for batch in (8, 16):
            torch.cuda.reset_peak_memory_stats()
            self.step(batch)
            peaks.append(torch.cuda.max_memory_allocated())
        free = 0.85 * torch.cuda.get_device_properties(self.case.device).total_memory - peaks[0]
        batch = 8 + int(free / (peaks[1] - peaks[0])) * 8
        while True:
            torch.cuda.reset_peak_memory_stats()
            try:
                self.step(batch)
                return batch
            except torch.cuda.OutOfMemoryError:  # workspaces grow, too, and others have their share of the GPU
                self.clips.clear()
                torch.cuda.empty_cache()
                batch -= 8


class BestConvolution(Timed):
    """The convolution that this machine is best at: no network made of convolutions multiplies faster."""

    def __init__(self, case: Case):
        super().__init__(case)
        dtype = torch.bfloat16 if case.variant.endswith("bf16") else torch.float32
        self.pairs = []
        for channels, kernel, size in ((256, 3, 28), (512, 3, 14), (512, 3, 7), (1024, 1, 14)):
            clips = 512 if self.on_gpu else 8  # enough that starting a call takes no time beside it
            shapes = (clips, channels, size, size), (channels, channels, kernel, kernel)
            x, weight = (
                torch.randn(shape, device=case.device).to(dtype, memory_format=torch.channels_last) for shape in shapes
            )
            self.pairs.append((x, weight))

    @torch.no_grad()
    def seconds(self) -> list[float]:
        """Of a multiply-accumulate, in the best of them."""
        times = []
        for x, weight in self.pairs:
            macs = weight.numel() * x.numel() // x.shape[1]
            times += [seconds / macs for seconds in self.some(partial(F.conv2d, x, weight, padding=weight.shape[-1] // 2))]
        return [min(times)]


class Copy(Timed):
    """A large copy: nothing moves faster through this machine's memory."""

    def __init__(self, case: Case):
        super().__init__(case)
        self.source = torch.zeros(2**28, dtype=torch.uint8, device=case.device)
        self.target = torch.zeros_like(self.source)

    def seconds(self) -> list[float]:
        """Of a byte read or written."""
        return [min(self.some(lambda: self.target.copy_(self.source))) / (2 * len(self.source))]


def subject(case: Case) -> Timed:
    """What is timed, ready."""
    best: dict[str, type[Timed]] = {"best convolution": BestConvolution, "best convolution bf16": BestConvolution, "copy": Copy}
    return best.get(case.variant, Training if case.train else Inference)(case)


def convolution_elements(model: str, clip: tuple[int, int]) -> int:
    """Elements of the inputs and outputs of a network's convolutions for one clip."""
    elements = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal elements
        elements += inputs[0].numel() + output.numel()

    with torch.device("meta"), torch.no_grad():
        network = build_network(model).eval()
        for module in network.modules():
            if isinstance(module, nn.Conv3d):
                module.register_forward_hook(count)
        network(torch.empty(1, 3, clip[0], clip[1], clip[1]))
    return elements
