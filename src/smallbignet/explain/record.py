"""What parts of a network get and return while it sees a clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from smallbignet.models.network import VideoNetwork
from smallbignet.models.timm_cnn import FrameUnit, as_clips


@dataclass(frozen=True)
class Passed:
    """The input and the output of a module, both (N, C, T, H, W)."""

    input: Tensor
    output: Tensor


@torch.no_grad()
def record(network: VideoNetwork, clip: Tensor, modules: Mapping[str, nn.Module]) -> dict[str, Passed]:
    """Return what each of some modules gets and returns while the network sees a clip.

    Args:
        clip: normalised frames (1, 3, T, H, W) on the network's device.
        modules: by any names, such as those of `named_modules`.
    """
    passed: dict[str, Passed] = {}

    def keep(name: str, module: nn.Module, args: tuple, output: Any) -> None:
        given = args[0]
        if isinstance(module, FrameUnit):  # a unit within a module for images has the frames in the first dimension
            given = module.shift(as_clips(given, module.clip_len))
            output = as_clips(output, module.clip_len)
        passed[name] = Passed(given.detach().clone(), output.detach().clone())  # later operations may write in place

    handles = [module.register_forward_hook(partial(keep, name)) for name, module in modules.items()]
    try:
        network.forward_features(clip)
    finally:
        for handle in handles:
            handle.remove()
    return passed
