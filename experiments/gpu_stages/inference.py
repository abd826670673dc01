"""Inference: one clip and a batch, in every precision; fused, compiled, as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gpu_stages.clock import WARM_UP, captured, milliseconds, rate, timed
from gpu_stages.scale import Scale
from gpu_stages.training import PRECISIONS, allow_tf32, clip_of, compiled, graph_breaks
from gpu_stages.worker import Turn
from smallbignet import ops
from smallbignet.inference.fuse import fuse
from smallbignet.timing.cases import build_network

Call = Callable[[], object]


def answers(turn: Turn, scale: Scale, form: str, precisions: int) -> None:
    """Tell the clips per second and the milliseconds of a network's forward passes; of ours also as a CUDA graph.

    Args:
        form: plain (eager, NCDHW), channels_last, or fused, which is ours.
        precisions: how many of the scale's.
    """
    torch.backends.cudnn.benchmark = True
    network = build_network(scale.network).to(scale.device).eval()
    for precision in scale.precisions[:precisions]:
        allow_tf32(precision != "fp32")
        answer = make_answer(network, form, precision, scale)
        for batch in scale.batches:
            call = partial(answer, make_clips(batch, form, scale))
            tell_figures(turn, scale, f"{precision} {batch}", call, batch, graph=form == "fused")


def compiled_answers(turn: Turn, scale: Scale, form: str) -> None:
    """Tell the same in the first precision by torch.compile, which is at work before this piece's turn."""
    torch.backends.cudnn.benchmark = True
    allow_tf32(True)
    precision = scale.precisions[0]
    network = build_network(scale.network).to(scale.device).eval()
    answer = make_answer(network, form, precision, scale, partial(compiled, scale=scale))
    calls = {batch: partial(answer, make_clips(batch, form, scale)) for batch in scale.batches}
    for call in calls.values():
        call()
    turn.wait()
    turn.tell(graph_breaks(scale))
    for batch, call in calls.items():
        tell_figures(turn, scale, f"{precision} {batch}", call, batch, graph=True)


def tell_figures(turn: Turn, scale: Scale, name: str, call: Call, batch: int, graph: bool) -> None:
    turn.tell({name: measured(call, batch, scale)})
    if graph and scale.on_gpu:
        turn.tell({f"{name} graph": measured(captured(call), batch, scale)})


def make_clips(batch: int, form: str, scale: Scale) -> Tensor:
    frames, size = clip_of(scale.network, scale)
    clips = torch.randn(batch, 3, frames, size, size, device=scale.device)
    return clips.contiguous(memory_format=torch.contiguous_format if form == "plain" else torch.channels_last_3d)


def make_answer(
    network: nn.Module, form: str, precision: str, scale: Scale, compile_it: Callable[..., Any] = lambda network: network
) -> Callable[[Tensor], Tensor]:
    """Return a function from clips to logits."""
    half = precision in ("bf16", "fp16")
    if form == "fused":
        network = fuse(network, PRECISIONS[precision])  # type: ignore[arg-type]
    elif form == "channels_last":
        network = network.to(memory_format=torch.channels_last_3d)
    network = compile_it(network)

    @torch.no_grad()
    def answer(clips: Tensor) -> Tensor:
        autocast = torch.autocast(scale.device, PRECISIONS[precision], enabled=half and form != "fused")
        with nullcontext() if form == "fused" else ops.plain(), autocast:
            return network(clips)

    return answer


def measured(call: Call, batch: int, scale: Scale) -> dict[str, Any]:
    """Return the milliseconds of a pass of the smaller batch on an idle GPU, or the clips per second of the larger one's."""
    for _ in range(WARM_UP):
        call()
    if batch == scale.batches[0]:
        return {"ms": milliseconds(timed(call, scale.seconds / 3, alone=True))}
    return {"clips_per_second": rate(timed(call, scale.seconds / 3), batch)}
