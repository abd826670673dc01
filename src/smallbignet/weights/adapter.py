"""What every source of weights needs: read a checkpoint safely, rename its keys, load it with every key accounted for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smallbignet.errors import SmallBigError

State = dict[str, Tensor]
Rules = tuple[tuple[str, str], ...]

WRAPPERS = ("state_dict", "model_state", "model")  # the key of the weights in a checkpoint that holds more than weights

# Patterns of our keys that a 2-D or SlowOnly network lacks. These parts have a last normalisation with a zero scale at the
# start, so a network that has them returns what the network without them does.
ADDED = (r".*\.(bn_big|conv_big|extra|nonlocal_after)\..*",)
CLASSIFIER = r"fc\..*"

# The key layout of torchvision's ResNet, which the authors' networks and timm's share, in our names.
RESNET_RULES: Rules = (
    (r"conv1\.weight", r"stem.conv.weight"),
    (r"bn1\.(\w+)", r"stem.bn.\1"),
    (r"layer(\d)\.(\d+)\.conv(\d)\.weight", r"res{\1+1}.\2.unit\3.conv.weight"),
    (r"layer(\d)\.(\d+)\.bn(\d)\.(\w+)", r"res{\1+1}.\2.unit\3.bn.\4"),
    (r"layer(\d)\.(\d+)\.downsample\.0\.weight", r"res{\1+1}.\2.shortcut.conv.weight"),
    (r"layer(\d)\.(\d+)\.downsample\.1\.(\w+)", r"res{\1+1}.\2.shortcut.bn.\3"),
    (r"fc\.(\w+)", r"fc.\1"),
)


def read_checkpoint(path: str | Path) -> State:
    """Reads the state dict in a `.pth`, `.pyth` or `.safetensors` file, without a wrapper (`WRAPPERS`) or `module.` prefixes.

    Raises:
        SmallBigError: there is no such file, it holds more than tensors (nothing is unpickled), or it holds no state dict.
    """
    if not Path(path).is_file():
        raise SmallBigError("no such checkpoint", path)
    try:
        if str(path).endswith(".safetensors"):
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise many kinds of errors for a broken file
        what = "not a checkpoint, or one that holds more than tensors, which is not loaded because it could run code"
        raise SmallBigError(what, path) from error
    while isinstance(state, dict) and (inside := [state[k] for k in WRAPPERS if isinstance(state.get(k), dict)]):
        state = inside[0]
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise SmallBigError("this file holds no state dict (names to tensors)", path)
    return {key.removeprefix("module."): value for key, value in state.items()}


def rename(state: State, rules: Rules) -> State:
    """Returns `state` under our names. A key that no rule matches keeps its name, and `load_exact` then reports it.

    A rule is a pattern for the whole key and its replacement, in which `{\\1+1}` stands for a stage's number plus one.
    """

    def ours(key: str) -> str:
        for pattern, replacement in rules:
            if match := re.fullmatch(pattern, key):
                name = match.expand(replacement)
                return re.sub(r"\{(\d)\+1\}", lambda m: str(int(m[1]) + 1), name)
        return key

    return {ours(key): value for key, value in state.items()}


def add_time_axis(state: State) -> State:
    """Returns `state` with image kernels as video kernels of temporal extent 1: (C', C, h, w) -> (C', C, 1, h, w)."""
    return {key: value.unsqueeze(2) if value.dim() == 4 else value for key, value in state.items()}


def inflate(state: State, own: Mapping[str, Tensor]) -> State:
    """Returns `state` with its kernels of temporal extent 1 inflated to the extents of the kernels in `own`.

    A kernel of temporal extent 3 is the other three times, divided by three. So a network returns for a still clip what its
    2-D parent returns, away from the clip's ends (Carreira and Zisserman, CVPR 2017).
    """
    return {key: _inflate(value, own[key]) if key in own else value for key, value in state.items()}


def _inflate(weight: Tensor, like: Tensor) -> Tensor:
    if weight.dim() != 5 or like.dim() != 5 or weight.shape[2] != 1:
        return weight
    extent = like.shape[2]
    return (weight / extent).repeat(1, 1, extent, 1, 1)


def load_exact(model: nn.Module, state: State, source: object, may_miss: Iterable[str] = ()) -> None:
    """Loads a state dict, every key accounted for.

    Args:
        source: what messages call the weights.
        may_miss: patterns of keys that keep the model's own values where `state` lacks them.

    Raises:
        SmallBigError: names what is missing, unexpected or of another shape. The model is then unchanged.
    """
    own = model.state_dict()
    optional = [*may_miss, r".*\.num_batches_tracked"]  # absent from checkpoints of PyTorch before 0.4.1
    faults = {
        "missing": [k for k in own if k not in state and not any(re.fullmatch(p, k) for p in optional)],
        "unexpected": [k for k in state if k not in own],
        "of another shape": [
            f"{k} {tuple(v.shape)} for {tuple(own[k].shape)}" for k, v in state.items() if k in own and v.shape != own[k].shape
        ],
    }
    if any(faults.values()):
        what = "; ".join(f"{len(keys)} {fault}: {_some(keys)}" for fault, keys in faults.items() if keys)
        raise SmallBigError(f"these weights don't fit the network: {what}", source)
    model.load_state_dict(state, strict=False)


def _some(keys: list[str], most: int = 3) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
