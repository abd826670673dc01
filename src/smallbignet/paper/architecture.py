"""Table 1 for the networks here: the blocks of each layer, and the size of its output."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

from smallbignet.models.zoo import build_model

STAGES = ("res2", "res3", "res4", "res5")


def architecture() -> dict[str, dict[str, str]]:
    """Our Table 1: "block" and "output" of each layer, where "block" is for R23 (or R50) and "output" is T x H x W of R23."""
    with torch.device("meta"):
        small: Any = build_model("c2d_r23").eval()
        large: Any = build_model("c2d_r50")
    block = {
        "conv1": f"{describe(small.stem.conv)}, stride {by(small.stem.conv.stride)}",
        "pool1": "1x3x3 max, stride 1x2x2",
        **{name: describe_stage(getattr(small, name), getattr(large, name)) for name in STAGES},
        "head": f"global average pool, fc from {small.fc.in_features}",
    }
    output = output_sizes(small)
    return {name: {"block": block[name], "output": output[name]} for name in block}


def output_sizes(network: Any) -> dict[str, str]:
    """T x H x W of what each layer returns for 8 frames of 224x224."""
    sizes = {"head": "1x1x1"}

    def note(name: str, module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        sizes[name] = by(output.shape[2:])

    def note_input(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        sizes["pool1"] = by(inputs[0].shape[2:])

    network.stem.register_forward_hook(partial(note, "conv1"))
    network.res2[0].register_forward_pre_hook(note_input)
    for name in STAGES:
        getattr(network, name)[-1].register_forward_hook(partial(note, name))
    with torch.no_grad():
        network(torch.empty(1, 3, 8, 224, 224, device="meta"))
    return sizes


def describe_stage(small: Any, large: Any) -> str:
    """The convolutions of a stage's first block, and the number of blocks in R23 (or R50)."""
    convolutions = (small[0].unit1.conv, small[0].unit2.conv, small[0].unit3.conv)
    return f"({'; '.join(map(describe, convolutions))}) x {len(small)} (or {len(large)})"


def describe(conv: nn.Conv3d) -> str:
    """Kernel and output channels, as the paper writes them: 1x3x3, 64."""
    return f"{by(conv.kernel_size)}, {conv.out_channels}"


def by(sizes: Iterable[int]) -> str:
    """Sizes as the paper writes them: 1x3x3."""
    return "x".join(map(str, sizes))
