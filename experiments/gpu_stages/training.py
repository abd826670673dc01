"""Training steps: the machine's ceilings, our networks in every form, and others beside them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from gpu_stages.scale import Scale, rate, timed
from smallbignet.timing.cases import RIVALS, Case
from smallbignet.timing.floors import BestConvolution, Floor
from smallbignet.timing.variants import Training

CLIPS = RIVALS | {"slowfast_r50": (32, 224)}  # frames and size; of the others 8x224
WITH_FLOOR = ("slowonly_r50", "slowfast_r50", "s3d")  # besides ours: made of convolutions
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "tf32": torch.float32, "fp32": torch.float32}
TRIES = 3


def clip_of(model: str, scale: Scale) -> tuple[int, int]:
    return scale.clip or CLIPS.get(model, (8, 224))


def allow_tf32(allow: bool) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allow


def ceilings(scale: Scale) -> Iterator[dict[str, Any]]:
    """What this machine does at most, and what each network asks of it: multiply-accumulates and elements moved, of a clip."""
    floors = {}
    for model in (scale.network, *(WITH_FLOOR if scale.on_gpu else ())):
        floor = Floor.of(Case(model, "plain", clip_of(model, scale), 1, scale.device, 1, train=False))
        floors[model] = {"macs": floor.macs, "elements": floor.elements}
    yield {}
    byte = seconds_a_byte(scale)
    yield {"floors": floors, "seconds_a_byte": byte, "copy_gb_per_second": round(1e-9 / byte)}
    macs = {precision: seconds_a_mac(precision, scale) for precision in scale.precisions}
    yield {"seconds_a_mac": macs, "tflops": {name: round(2e-12 / seconds, 1) for name, seconds in macs.items()}}


def seconds_a_byte(scale: Scale) -> float:
    """Of a byte read or written, in a large copy."""
    source = torch.ones(scale.copied, dtype=torch.uint8, device=scale.device)
    target = torch.empty_like(source)
    return min(timed(lambda: target.copy_(source), scale.seconds / 4)) / (2 * scale.copied)


@torch.no_grad()
def seconds_a_mac(precision: str, scale: Scale) -> float:
    """Of a multiply-accumulate, in the best of some convolutions and a large matrix product."""
    allow_tf32(precision != "fp32")
    best, dtype = [], PRECISIONS[precision]
    for x, weight in BestConvolution(Case("", "best convolution", (0, 0), 0, scale.device, 1, train=False)).pairs:
        x, weight = x.to(dtype), weight.to(dtype)
        seconds = timed(partial(F.conv2d, x, weight, padding=weight.shape[-1] // 2), scale.seconds / 8)
        best.append(min(seconds) * x.shape[1] / (weight.numel() * x.numel()))
    a, b = (torch.randn(scale.side, scale.side, device=scale.device).to(dtype) for _ in range(2))
    return min(*best, min(timed(lambda: a @ b, scale.seconds / 8)) / scale.side**3)


def steps(scale: Scale, model: str, form: str, compiled: bool = False) -> Iterator[dict[str, Any]]:
    """Clips a second and memory of a network's training steps, the operations that take longest, and the largest batch.

    On a GPU in bfloat16.

    Args:
        form: plain (eager, NCDHW), channels_last, or fused, which is ours.
        compiled: by torch.compile, before this piece's turn; then without the largest batch.
    """
    model = model or scale.network
    variant = f"{form} bf16" if scale.on_gpu else form
    subject = Training(Case(model, variant, clip_of(model, scale), scale.batch, scale.device, 4, train=True))
    if compiled:
        backend = "inductor" if scale.on_gpu else "eager"
        subject.forward = torch.compile(subject.network, dynamic=False, backend=backend)
        _step_when_there_is_memory(subject)
    yield {}
    yield _figures(subject, scale)
    if model == scale.network and not compiled:
        yield {"kept_mb": round(subject.kept() / 1e6, 1)}
    if model == scale.network:
        yield {"top": [[name[:70], round(share, 3)] for name, share in subject.top()]}
    if model == scale.network and not compiled and scale.on_gpu:
        yield {"largest": _largest(subject, scale)}


def _step_when_there_is_memory(subject: Training) -> None:
    """One step; it waits for others that compile on the same GPU, too."""
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


def _figures(subject: Training, scale: Scale) -> dict[str, Any]:
    """Clips a second (median, least, most) and megabytes a clip at the subject's batch."""
    subject.call()
    if scale.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    found: dict[str, Any] = {
        "batch": subject.batch,
        "clips_per_second": rate(timed(subject.call, scale.seconds), subject.batch),
    }
    if scale.on_gpu:
        found["mb_a_clip"] = round(torch.cuda.max_memory_allocated() / subject.batch / 1e6, 1)
    return found


def _largest(subject: Training, scale: Scale) -> dict[str, Any]:
    """Likewise with the largest batch that fits beside what other processes hold of the GPU."""
    held = torch.cuda.memory_allocated()
    a_clip = (torch.cuda.max_memory_allocated() - held) / subject.batch
    subject.clips.clear()
    torch.cuda.empty_cache()
    batch = int(0.93 * torch.cuda.mem_get_info()[0] / a_clip) // 8 * 8
    for subject.batch in range(batch, 0, -max(batch // 16, 8)):
        try:
            return _figures(subject, scale)
        except torch.OutOfMemoryError:
            subject.clips.clear()
            torch.cuda.empty_cache()
    return {"batch": 0}
