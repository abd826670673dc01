"""Answers: one clip and a batch, in every precision; fused, compiled, as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gpu_stages.scale import Scale, milliseconds, rate, timed
from gpu_stages.training import PRECISIONS, allow_tf32, clip_of
from smallbignet import ops
from smallbignet.inference.fuse import fuse
from smallbignet.timing.cases import build_network

WARM_UP = 3


def answers(scale: Scale, form: str, compiled: bool = False) -> Iterator[dict[str, Any]]:
    """Clips a second and milliseconds of a network's answers; eager or compiled, and replayed as a CUDA graph if not plain.

    Args:
        form: plain (eager, NCDHW), channels_last, or fused, which is ours.
        compiled: by torch.compile, before this piece's turn; then in the first precision only.
    """
    torch.backends.cudnn.benchmark = True
    network = build_network(scale.network).to(scale.device).eval()
    calls = {}
    for precision in scale.precisions[:1] if compiled else scale.precisions:
        answer = make_answer(network, form, precision, scale, compiled)
        for batch in scale.batches:
            calls[precision, batch] = partial(answer, make_clips(batch, form, scale))
    if compiled:
        for call in calls.values():
            call()
    yield {}
    for (precision, batch), call in calls.items():
        allow_tf32(precision != "fp32")
        yield {f"{precision} {batch}": measured(call, batch, scale)}
    for (precision, batch), call in calls.items() if scale.on_gpu and (compiled or form == "fused") else ():
        allow_tf32(precision != "fp32")
        yield {f"{precision} {batch} graph": measured(captured(call), batch, scale)}


def make_clips(batch: int, form: str, scale: Scale) -> Tensor:
    frames, size = clip_of(scale.network, scale)
    clips = torch.randn(batch, 3, frames, size, size, device=scale.device)
    return clips.contiguous(memory_format=torch.contiguous_format if form == "plain" else torch.channels_last_3d)


def make_answer(network: nn.Module, form: str, precision: str, scale: Scale, compiled: bool) -> Callable[[Tensor], Tensor]:
    """A function from clips to logits."""
    half = precision in ("bf16", "fp16")
    if form == "fused":
        network = fuse(network, PRECISIONS[precision])  # type: ignore[arg-type]
    elif form == "channels_last":
        network = network.to(memory_format=torch.channels_last_3d)
    if compiled:
        network = torch.compile(network, dynamic=False, backend="inductor" if scale.on_gpu else "eager")  # type: ignore[assignment]

    @torch.no_grad()
    def answer(clips: Tensor) -> Tensor:
        autocast = torch.autocast(scale.device, PRECISIONS[precision], enabled=half and form != "fused")
        with nullcontext() if form == "fused" else ops.plain(), autocast:
            return network(clips)

    return answer


def captured(call: Callable[[], object]) -> Callable[[], None]:
    """The same as a CUDA graph, which costs no time between its kernels."""
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


def measured(call: Callable[[], object], batch: int, scale: Scale) -> dict[str, Any]:
    """Milliseconds of an answer to the smaller batch on an idle GPU, clips a second of the larger one's answers in a row."""
    for _ in range(WARM_UP):
        call()
    if batch == scale.batches[0]:
        return {"ms": milliseconds(timed(call, scale.seconds / 3, alone=True))}
    return {"clips_per_second": rate(timed(call, scale.seconds / 3), batch)}
