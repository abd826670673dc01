"""What every source of weights needs: reading a checkpoint safely, renaming its keys, loading it with no key left over."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smallbignet.errors import SmallBigError

State = dict[str, Tensor]
Rules = tuple[tuple[str, str], ...]

WRAPPERS = ("state_dict", "model_state", "model")  # what checkpoints that hold more besides call the weights

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
    """The state dict in a `.pth` or `.safetensors` file, without a wrapper (`WRAPPERS`) or `module.` prefixes.

    Raises:
        SmallBigError: no such file, a file that holds more than tensors (it isn't unpickled), or no state dict.
    """
    if not Path(path).is_file():
        raise SmallBigError("no such checkpoint", path)
    try:
        if str(path).endswith(".safetensors"):
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken file makes the readers raise
        what = "this file is no checkpoint, or holds more than tensors; nothing else is loaded, for it could run code"
        raise SmallBigError(what, path) from error
    while isinstance(state, dict) and (inside := [state[k] for k in WRAPPERS if isinstance(state.get(k), dict)]):
        state = inside[0]
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise SmallBigError("this file holds no state dict (names to tensors)", path)
    return {key.removeprefix("module."): value for key, value in state.items()}


def rename(state: State, rules: Rules) -> State:
    """`state` under our names. A key that no rule matches keeps its name, and `load_exact` will report it.

    A rule is a pattern of the whole key and its replacement; `{\\1+1}` there stands for a stage's number plus one.
    """

    def ours(key: str) -> str:
        for pattern, replacement in rules:
            if match := re.fullmatch(pattern, key):
                name = match.expand(replacement)
                return re.sub(r"\{(\d)\+1\}", lambda m: str(int(m[1]) + 1), name)
        return key

    return {ours(key): value for key, value in state.items()}


def load_exact(model: nn.Module, state: State, source: object, may_miss: Iterable[str] = ()) -> None:
    """Loads a state dict, every key accounted for.

    Args:
        source: what the weights are called in messages.
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
