"""The named networks: a depth and one block spec for each stage. Every row of the paper's Tables 2-9 is one line here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from typing import Annotated, Any

from smallbignet.errors import SmallBigError, did_you_mean
from smallbignet.models.network import VideoNetwork
from smallbignet.models.slowfast import SlowFast
from smallbignet.models.smallbig import BlockSpec, SmallBigNet
from smallbignet.utils.checks import Length, Must, Range, checked, read_arguments

Name = Annotated[str, Must("a name of at most 100 letters and signs", re.compile("[!-~]{0,100}").fullmatch)]
NumClasses = Annotated[int, Range(ge=0, le=30_000)]
Stages = Annotated[Sequence[Name | BlockSpec], Length(4, 4)] | None  # in documents, a mapping stands for a spec
Width = Annotated[int, Must("a multiple of 8 from 8 to 512", range(8, 513, 8).__contains__)]
DropRate = Annotated[float, Range(ge=0, lt=1)]
HeadWindow = Annotated[int, Range(ge=1, le=100)]

DEPTHS = {23: (1, 2, 3, 1), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # Table 1; R101 as in ResNet

BLOCKS: dict[str, BlockSpec] = {
    "2d": BlockSpec(),  # Fig. 2a
    "3d": BlockSpec(temporal=3),  # Fig. 2b
    **{f"smallbig_{w}": BlockSpec((w, None, None)) for w in ("3x1x1", "3x3x3", "3x5x5", "3x7x7", "Tx3x3")},  # 2c, 2d, Table 4
    "smallbig_3x3x3_Tx3x3": BlockSpec(("3x3x3", None, "Tx3x3")),  # Table 5: first and third layer
    "typical": BlockSpec(("3x3x3", "3x3x3", "Tx3x3")),  # Fig. 2e
    "full": BlockSpec(("3x3x3", "3x3x3", "Tx3x3"), extra="smallbig"),  # Fig. 2f
    "nonlocal": BlockSpec(nonlocal_after=True),  # Table 7
    "tsm": BlockSpec(shift=True),
}

CHANGES: dict[str, Mapping] = {
    "3d": {"temporal": 3},  # "full+3d": big views around a SlowOnly network's convolutions
    "extra": {"extra": "smallbig"},
    "se": {"extra": "se"},  # Table 9
    "avg": {"pool": "avg"},  # Table 6
    "unshared": {"shared": False},  # Table 6
    "singlebn": {"single_bn": True},  # Table 6
}

NETWORKS: dict[str, tuple[int, tuple[str, str, str, str]]] = {
    "c2d_r23": (23, ("2d", "2d", "2d", "2d")),
    "c2d_r50": (50, ("2d", "2d", "2d", "2d")),
    "c2d_r101": (101, ("2d", "2d", "2d", "2d")),
    "i3d_r23": (23, ("3d", "3d", "3d", "3d")),
    "i3d_r50": (50, ("3d", "3d", "3d", "3d")),
    "slowonly_r50": (50, ("2d", "2d", "3d", "3d")),
    "nonlocal_r23": (23, ("2d", "nonlocal", "nonlocal", "2d")),
    "tsm_r50": (50, ("tsm", "tsm", "tsm", "tsm")),
    "smallbig_r23": (23, ("2d", "full", "full", "full")),
    "smallbig_r50": (50, ("2d", "full", "full", "full")),
    "smallbig_r101": (101, ("2d", "typical", "typical", "typical")),
    "smallbig_slowonly_r50": (50, ("2d", "2d+extra", "3d+extra", "3d+extra")),  # Section 6.2
    "slowfast_r50": (50, ("2d", "2d", "3d", "3d")),  # blocks of the slow pathway
    "slowfast_4x16_r50": (50, ("2d", "2d", "3d", "3d")),
    "slowfast_r101": (101, ("2d", "2d", "3d", "3d")),
    "slowfast_16x8_r101": (101, ("2d", "2d", "3d", "3d")),
}

# Arguments of `SlowFast`, as PyTorchVideo's published networks have them. The frame counts 8x8, 4x16 and 16x8 are the slow
# pathway's; without them in the name, 8x8.
SLOWFAST: dict[str, dict[str, Any]] = {
    "slowfast_r50": {"alpha": 4, "lateral": 7},
    "slowfast_4x16_r50": {"alpha": 8, "lateral": 5},
    "slowfast_r101": {"alpha": 4, "lateral": 5},
    "slowfast_16x8_r101": {"alpha": 4, "lateral": 5, "temporal_blocks": 6},  # R101_50_50: temporal where R50 has them
}


def block_spec(name: str | Mapping | BlockSpec) -> BlockSpec:
    """The block with a name: one of `BLOCKS`, then changes from `CHANGES` after plus signs, such as "full+avg" or "3d+extra".

    A spec is returned as it is; a mapping, as config.json holds one, is read as the fields of a spec.

    Raises:
        SmallBigError: the name is unknown, or a field of the mapping is unknown or wrong.
    """
    if isinstance(name, BlockSpec):
        return name
    if isinstance(name, Mapping):
        return BlockSpec(**read_arguments(BlockSpec, name, "stage"))
    base, *changes = name.split("+")
    if base not in BLOCKS:
        raise SmallBigError(f"unknown block; known: {', '.join(BLOCKS)}", base)
    for change in changes:
        if change not in CHANGES:
            raise SmallBigError(f"unknown change of a block; known: {', '.join(CHANGES)}", name)
    fields: dict = {}
    for change in changes:
        fields |= CHANGES[change]
    return replace(BLOCKS[base], **fields)


def find_blocks(name: str, stages: Stages = None) -> list[BlockSpec]:
    """The blocks of res2, res3, res4 and res5 of a network; arguments and errors are those of `build_model`."""
    if name not in NETWORKS:
        raise SmallBigError(f"unknown network; {did_you_mean(name, NETWORKS)}`smallbig models` lists all", name)
    blocks = [block_spec(stage) for stage in stages or NETWORKS[name][1]]
    if len(blocks) != 4:
        raise SmallBigError("a network has four stages (res2 to res5): give four blocks", f"{len(blocks)} given")
    return blocks


def check_clip_len(name: str, clip_len: int) -> None:
    """Checks that a network takes clips of so many frames.

    Raises:
        SmallBigError: SlowFast, and no multiple of its alpha.
    """
    alpha = SLOWFAST.get(name, {}).get("alpha", 1)
    if clip_len % alpha:
        raise SmallBigError(f"clip.clip_len must be a multiple of {alpha} for {name}, not {clip_len}")


@checked
def build_model(
    name: Name,
    num_classes: NumClasses = 400,
    *,
    stages: Stages = None,
    width: Width = 64,
    drop_rate: DropRate = 0.0,
    head_window: HeadWindow | None = None,
) -> VideoNetwork:
    """Builds a network with random weights; `smallbignet.create_model` also loads weights.

    (N, 3, T, H, W) -> (N, num_classes), for any T, H and W (SlowFast: T a multiple of its alpha).

    Args:
        name: one of `list_models()`.
        stages: other blocks for res2, res3, res4 and res5: names (see `block_spec`) or specs.
        width: channels of the first convolution; 64 in the paper. A multiple of 8.
        drop_rate: dropout before the classifier, in training.
        head_window: side of the head's pooling window, which some published networks need; see `VideoNetwork`.

    Raises:
        SmallBigError: an unknown name, not four stages, a width that is not a multiple of 8 or above 512, or another argument
            outside of its range.
    """
    res2, res3, res4, res5 = find_blocks(name, stages)
    depth, _ = NETWORKS[name]
    parts = (DEPTHS[depth], (res2, res3, res4, res5), num_classes, width, drop_rate, head_window)
    return SlowFast(*parts, **SLOWFAST[name]) if name in SLOWFAST else SmallBigNet(*parts)


def list_models(pattern: str = "*") -> list[str]:
    """The names of the networks that match a shell pattern, such as "smallbig*"."""
    return [name for name in NETWORKS if fnmatch(name, pattern)]
