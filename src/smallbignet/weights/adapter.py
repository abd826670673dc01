"""What every source of weights needs: rename the keys of a state dict, and load it with every key accounted for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from smallbignet.errors import SmallBigError
from smallbignet.models.network import VideoNetwork
from smallbignet.models.zoo import build_model

State = dict[str, Tensor]
Rules = tuple[tuple[str, str], ...]

NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # types that weights may be stored in

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


def rename(state: State, rules: Rules) -> State:
    """Returns `state` under our names. A key that no rule matches keeps its name, and `load_exact` then reports it.

    A rule is a pattern for the whole key and its replacement, in which `{\\1+1}` stands for a stage's number plus one.

    Raises:
        SmallBigError: two keys get the same name.
    """

    def ours(key: str) -> str:
        for pattern, replacement in rules:
            if match := re.fullmatch(pattern, key):
                name = match.expand(replacement)
                return re.sub(r"\{(\d)\+1\}", lambda m: str(int(m[1]) + 1), name)
        return key

    renamed: State = {}
    for key, value in state.items():
        if (name := ours(key)) in renamed:
            raise SmallBigError(f"a checkpoint with two tensors for {name}", key)
        renamed[name] = value
    return renamed


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
    extent = like.shape[2] if like.dim() == 5 else 1
    if weight.dim() != 5 or extent == 1 or weight.shape != (*like.shape[:2], 1, *like.shape[3:]):
        return weight
    return (weight / extent).repeat(1, 1, extent, 1, 1)


def start_big_views(state: State, own: Mapping[str, Tensor]) -> State:
    """Returns `state` with what the big views in `own` start from, and `state` lacks, copied from the small views.

    This is the convolution, where a big view has one of its own, and the statistics of its normalisation, which stay as they
    are under `optim.freeze_bn`. For EfficientNet-Lite0 on ten real clips, the variances that are copied are off by a factor of
    2.4 (median over the channels); the variance 1 of a new normalisation is off by 10. The scale remains zero, so that the
    network still returns what its parent returns.
    """
    sources = {key: _in_small_view(key) for key in own if key not in state}
    return state | {key: state[source].clone() for key, source in sources.items() if source != key and source in state}


def _in_small_view(key: str) -> str:
    """The key of the small view's tensor that a big view's tensor starts as; the key itself if there is none."""
    key = re.sub(r"\.(conv1?)_big\.((?:frame\.)?\w+)$", r".\1.\2", key)
    return re.sub(r"\.bn_big\.(running_\w+)$", r".bn.\1", key)


def build_exact(model_args: Mapping[str, Any], state: State, source: object, may_miss: Iterable[str] = ()) -> VideoNetwork:
    """Builds a network and loads a state dict, which is compared with the network before that takes any memory.

    Args:
        model_args: arguments of `create_model`.

    Returns:
        the network in training mode. The other arguments and errors are those of `load_exact`.
    """
    with torch.device("meta"):
        _check_keys(build_model(**model_args).state_dict(), state, source, may_miss)
    model = build_model(**model_args)
    load_exact(model, state, source, may_miss)
    return model


def load_exact(model: nn.Module, state: State, source: object, may_miss: Iterable[str] = ()) -> None:
    """Loads a state dict, every key accounted for.

    Args:
        source: what messages call the weights.
        may_miss: patterns of keys that keep the model's own values where `state` lacks them.

    Raises:
        SmallBigError: names what is missing, unexpected or of another shape, or is not made of finite numbers. The model is
            then unchanged.
    """
    own = model.state_dict()
    _check_keys(own, state, source, may_miss)
    for key, value in state.items():
        if fault := _find_fault(key, value, own[key].dtype):
            raise SmallBigError(f"these weights are damaged or of another kind: {key} {fault}", source)
    model.load_state_dict(state, strict=False)


def _check_keys(own: Mapping[str, Tensor], state: State, source: object, may_miss: Iterable[str]) -> None:
    optional = [*may_miss, r".*\.num_batches_tracked"]  # absent from checkpoints of PyTorch before 0.4.1
    faults = {
        "missing": [k for k in own if k not in state and not any(re.fullmatch(p, k) for p in optional)],
        "unexpected": [k for k in state if k not in own],
        "of another shape": [
            f"{k} {tuple(v.shape)} for {tuple(own[k].shape)}" for k, v in state.items() if k in own and v.shape != own[k].shape
        ],
    }
    if any(faults.values()):
        what = "; ".join(f"{len(keys)} {fault}: {some(keys)}" for fault, keys in faults.items() if keys)
        raise SmallBigError(f"these weights don't fit the network: {what}", source)


def _find_fault(key: str, value: Tensor, dtype: torch.dtype) -> str:
    """Why a tensor can't be loaded as one of that type; empty if it can."""
    if value.layout != torch.strided or value.is_meta or (dtype.is_floating_point and value.dtype not in NUMBERS):
        form = "" if value.layout == torch.strided else f" in the layout {value.layout}"
        return f"holds {value.dtype}{form}, not floating-point numbers"
    if dtype.is_floating_point and not value.to(dtype).isfinite().all():
        return "holds NaN or infinity"
    if key.endswith("running_var") and (value < 0).any():
        return "holds a negative variance"
    return ""


def some(keys: Sequence[str], most: int = 3) -> str:
    """The first few of some keys, and how many more there are."""
    shown = ", ".join(key[:100] for key in keys[:most])
    return shown + (f" and {len(keys) - most} more" if len(keys) > most else "")
