"""Training steps: the machine's ceilings, our networks in every form, and others beside them."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpu_stages.clock import captured, rate, timed
from gpu_stages.scale import Scale
from gpu_stages.worker import Turn
from smallbignet.timing.cases import RIVALS, Case
from smallbignet.timing.floors import BestConvolution, Floor
from smallbignet.timing.timed import Timed
from smallbignet.timing.variants import Inference, Training

CLIPS = RIVALS | {"slowfast_r50": (32, 224)}  # frames and size; of the others 8x224
WITH_FLOOR = ("slowonly_r50", "slowfast_r50", "s3d")  # besides ours: made of convolutions
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "tf32": torch.float32, "fp32": torch.float32}
LARGER = (128, 96, 64)  # batches
OF_THE_MEMORY = 0.9  # is used at most
TRIES = 4


def clip_of(model: str, scale: Scale) -> tuple[int, int]:
    return scale.clip or CLIPS.get(model, (8, 224))


def allow_tf32(allow: bool) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allow


def floors(turn: Turn, scale: Scale) -> None:
    """Tell what each network asks of a machine: multiply-accumulates and elements moved, of a clip."""
    found = {}
    for model in (scale.network, *(WITH_FLOOR if scale.on_gpu else ())):
        floor = Floor.of(Case(model, "plain", clip_of(model, scale), 1, "cpu", 1, train=False))
        found[model] = {"macs": floor.macs, "elements": floor.elements}
    turn.tell({"floors": found})


def ceilings(turn: Turn, scale: Scale) -> None:
    """Tell what this machine does at most."""
    byte = seconds_of_a_byte(scale)
    turn.tell({"seconds_a_byte": byte, "copy_gb_per_second": round(1e-9 / byte)})
    macs = {precision: seconds_of_a_mac(precision, scale) for precision in scale.precisions}
    turn.tell({"seconds_a_mac": macs, "tflops": {name: round(2e-12 / seconds, 1) for name, seconds in macs.items()}})


def seconds_of_a_byte(scale: Scale) -> float:
    """Of a byte read or written, in a large copy."""
    source = torch.ones(scale.copied, dtype=torch.uint8, device=scale.device)
    target = torch.empty_like(source)
    return min(timed(lambda: target.copy_(source), scale.seconds / 4)) / (2 * scale.copied)


@torch.no_grad()
def seconds_of_a_mac(precision: str, scale: Scale) -> float:
    """Of a multiply-accumulate, in the best of some convolutions and a large matrix product."""
    allow_tf32(precision != "fp32")
    best, dtype = [], PRECISIONS[precision]
    for x, weight in BestConvolution(Case("", "best convolution", (0, 0), 0, scale.device, 1, train=False)).pairs:
        x, weight = x.to(dtype), weight.to(dtype)
        seconds = timed(partial(F.conv2d, x, weight, padding=weight.shape[-1] // 2), scale.seconds / 8)
        best.append(min(seconds) * x.shape[1] / (weight.numel() * x.numel()))
    a, b = (torch.randn(scale.side, scale.side, device=scale.device).to(dtype) for _ in range(2))
    return min(*best, min(timed(lambda: a @ b, scale.seconds / 8)) / scale.side**3)


def steps(turn: Turn, scale: Scale, model: str, form: str) -> None:
    """Tell the clips per second and the memory of a network's training steps, on a GPU in bfloat16.

    Of our network also with a larger batch, and how many clips fit the memory; and our form as a CUDA graph.

    Args:
        model: the scale's if empty.
        form: plain (eager, NCDHW), channels_last, or fused, which is ours.
    """
    subject = make_subject(scale, model or scale.network, form)
    found = figures(subject, scale)
    turn.tell(found)
    if model or not scale.on_gpu:
        return
    if batch := larger_batch(found["mb_a_clip"]):
        subject.clips.clear()
        subject.batch = batch
        larger = figures(subject, scale)
        total = torch.cuda.get_device_properties(0).total_memory
        turn.tell({"larger": larger, "fits": int(OF_THE_MEMORY * total / 1e6 / larger["mb_a_clip"])})
    if form == "fused":
        subject.clips.clear()
        subject.batch = scale.batch
        subject.call()
        turn.tell({"graph": {"batch": scale.batch, "clips_per_second": rate_of(captured(subject.call), scale.batch, scale)}})


def make_subject(scale: Scale, model: str, form: str) -> Training:
    variant = f"{form} bf16" if scale.on_gpu else form
    return Training(Case(model, variant, clip_of(model, scale), scale.batch, scale.device, 4, train=True))


def larger_batch(mb_of_a_clip: float) -> int:
    """Return the largest of `LARGER` that fits what is free of the GPU's memory, or 0."""
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    return next((batch for batch in LARGER if batch * mb_of_a_clip * 1e6 < OF_THE_MEMORY * free), 0)


def figures(subject: Training, scale: Scale) -> dict[str, Any]:
    """Return the clips per second (median, least, most) and the megabytes of a clip, at the subject's batch."""
    subject.call()
    if scale.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    found: dict[str, Any] = {"batch": subject.batch, "clips_per_second": rate_of(subject.call, subject.batch, scale)}
    if scale.on_gpu:
        found["mb_a_clip"] = round(torch.cuda.max_memory_allocated() / subject.batch / 1e6, 1)
    return found


def rate_of(call: Any, batch: int, scale: Scale) -> list[float]:
    return rate(timed(call, scale.seconds), batch)


def compiled_steps(turn: Turn, scale: Scale, form: str) -> None:
    """Tell the same of our network by torch.compile, which is at work before this piece's turn; and what takes longest."""
    subject = make_subject(scale, scale.network, form)
    subject.forward = compiled(subject.network, scale)
    step_when_there_is_memory(subject)
    turn.wait()
    turn.tell(figures(subject, scale) | graph_breaks(scale))
    turn.tell({"top": longest(subject)})


def compiled(network: nn.Module, scale: Scale) -> Callable[[Tensor], Tensor]:
    """Return a network that torch.compile compiles, for each shape of its input alone; in a dry run, the network itself."""
    if not scale.on_gpu:
        return network
    from torch._dynamo import config as tracing
    from torch._functorch import config as lowering

    tracing.recompile_limit = 64
    # The backward pass is compiled with the forward pass: no activations take memory while a compiler is stopped.
    lowering.force_non_lazy_backward_lowering = True
    return torch.compile(network, dynamic=False)


def graph_breaks(scale: Scale) -> dict[str, int]:
    """Return how often the compiler could not go on in one graph."""
    if not scale.on_gpu:
        return {}
    from torch._dynamo.utils import counters

    return {"graph_breaks": sum(counters["graph_break"].values())}


def step_when_there_is_memory(subject: Training) -> None:
    """Make one step; wait if others that compile leave too little of the GPU's memory."""
    for tries in range(TRIES):
        try:
            subject.call()
            break
        except torch.OutOfMemoryError:
            if tries == TRIES - 1:
                raise
        torch.cuda.empty_cache()
        time.sleep(10)
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
        torch.cuda.empty_cache()


def operations(turn: Turn, scale: Scale) -> None:
    """Tell the operations that take longest, in training and in inference.

    This comes last in its process: what the profiler leaves behind could slow the process down.
    """
    for form in ("plain", "channels_last", "fused") if scale.on_gpu else ("fused",):
        turn.tell({f"training, {form}": longest(make_subject(scale, scale.network, form))})
    variant = "fused bf16" if scale.on_gpu else "fused"
    batch = scale.batches[-1]
    subject = Inference(Case(scale.network, variant, clip_of(scale.network, scale), batch, scale.device, 4, train=False))
    turn.tell({"inference, fused": longest(subject)})


def longest(subject: Timed) -> list[tuple[str, float]]:
    """Return the names of the five operations that take longest, and their shares."""
    for _ in range(2):
        subject.call()
    return [(name[:70], round(share, 3)) for name, share in subject.top()]
