"""The cost of a network: parameters and multiply-accumulates, counted on torch's meta device, without memory or arithmetic."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from smallbignet.errors import SmallBigError


@dataclass(frozen=True)
class Complexity:
    """The cost of a network for one clip.

    Attributes:
        params: number of parameters.
        macs: multiply-accumulates of all convolutions, linear layers and attention products.
        conv_macs: multiply-accumulates of the convolutions alone, which the paper's "GFlops" count.
    """

    params: int
    macs: int
    conv_macs: int


def parse_clip(clip: str) -> tuple[int, int]:
    """Return the frames and the size of a clip written "8x224".

    Raises:
        SmallBigError: another form, or a number above 4096.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", clip)
    if not match or max(map(int, match.groups())) > 4096:
        raise SmallBigError("a clip is written frames x size, such as 8x224, each up to 4096", clip)
    return int(match[1]), int(match[2])


def complexity(build: Callable[[], nn.Module], clip_len: int = 8, size: int = 224) -> Complexity:
    """Return the cost of the network that `build` returns, for a clip (1, 3, clip_len, size, size)."""
    with torch.device("meta"), torch.no_grad():
        model = build().eval()
        counter = FlopCounterMode(display=False)
        with counter:
            model(torch.empty(1, 3, clip_len, size, size))
    flops = counter.get_flop_counts()["Global"]
    conv = sum(count for op, count in flops.items() if "convolution" in str(op))
    return Complexity(sum(p.numel() for p in model.parameters()), sum(flops.values()) // 2, conv // 2)
