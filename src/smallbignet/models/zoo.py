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
from smallbignet.models.smallbig import BlockSpec, SmallBigNet, parse_window
from smallbignet.models.timm_cnn import TimmNet
from smallbignet.models.timm_structure import list_image_networks, parse_name
from smallbignet.utils.checks import Length, Must, Range, checked, read_arguments

Name = Annotated[str, Must("a name of at most 100 letters and signs", re.compile("[!-~]{0,100}").fullmatch)]
NumClasses = Annotated[int, Range(ge=0, le=30_000)]
Block = Name | BlockSpec  # in documents, a mapping stands for a spec
Blocks = Annotated[Sequence[Block], Length(1, 23), Must("a list of 1 to 23 of these", bool)]
Stages = Annotated[Sequence[Block | Blocks], Length(4, 4)] | None
Width = Annotated[int, Must("a multiple of 8 from 8 to 512", range(8, 513, 8).__contains__)]
DropRate = Annotated[float, Range(ge=0, lt=1)]
HeadWindow = Annotated[int, Range(ge=1, le=100)]

DEPTHS = {23: (1, 2, 3, 1), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # Table 1; R101 as in ResNet

# Any window makes a block, too: "smallbig_3x1x1" (Fig. 2c), "smallbig_3x3x3_Tx3x3" (Table 5). See `block_spec`.
BLOCKS: dict[str, BlockSpec] = {
    "2d": BlockSpec(),  # Fig. 2a
    "3d": BlockSpec(temporal=3),  # Fig. 2b
    "typical": BlockSpec(("3x3x3", "3x3x3", "Tx3x3")),  # Fig. 2e
    "full": BlockSpec(("3x3x3", "3x3x3", "Tx3x3"), extra="smallbig"),  # Fig. 2f
    "nonlocal": BlockSpec(nonlocal_after=True),  # Table 7
    "tsm": BlockSpec(shift=True),
}

CHANGES: dict[str, Mapping] = {
    "3d": {"temporal": 3},  # "full+3d": big views around a SlowOnly network's convolutions
    "extra": {"extra": "smallbig"},
    "se": {"extra": "se"},  # Table 9
    "semax": {"extra": "se", "extra_pool": "max"},
    "after": {"extra_place": "after"},
    "avg": {"pool": "avg", "extra_pool": "avg"},  # Table 6
    "avgviews": {"pool": "avg"},
    "avgextra": {"extra_pool": "avg"},
    "vector": {"pool": "vector", "extra_pool": "vector"},
    "centred": {"centred": True},
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

TIMM_STAGES = ("2d", "full", "full", "full")  # of an image network of timm's, as in smallbig_r50

# Arguments of `SlowFast`, as PyTorchVideo's published networks have them. The frame counts 8x8, 4x16 and 16x8 are the slow
# pathway's; without them in the name, 8x8.
SLOWFAST: dict[str, dict[str, Any]] = {
    "slowfast_r50": {"alpha": 4, "lateral": 7},
    "slowfast_4x16_r50": {"alpha": 8, "lateral": 5},
    "slowfast_r101": {"alpha": 4, "lateral": 5},
    "slowfast_16x8_r101": {"alpha": 4, "lateral": 5, "temporal_blocks": 6},  # R101_50_50: temporal where R50 has them
}


def block_spec(name: str | Mapping | BlockSpec) -> BlockSpec:
    """The block with a name, such as "full", "smallbig_3x3x3", "full+avg" or "typical+Tx5x5".

    A name is one of `BLOCKS`, or "smallbig" and one to three windows: of the first, of the first and the last, or of all three
    convolutions. Changes follow after plus signs: those of `CHANGES`, or a window, which replaces that of the last big view.

    A spec is returned as it is; a mapping, as config.json holds one, is read as the fields of a spec.

    Raises:
        SmallBigError: the name is unknown, a window is not odd, or a field of the mapping is unknown or wrong.
    """
    if isinstance(name, BlockSpec):
        return name
    if isinstance(name, Mapping):
        return BlockSpec(**read_arguments(BlockSpec, name, "stage"))
    base, *changes = name.split("+")
    spec = BLOCKS[base] if base in BLOCKS else _windowed_block(base)
    for change in changes:
        fields = CHANGES[change] if change in CHANGES else {"views": _with_last_window(spec, change, name)}
        spec = replace(spec, **fields)
    return spec


def _windowed_block(name: str) -> BlockSpec:
    """The block of a name such as "smallbig_3x3x3_Tx3x3"."""
    prefix, *windows = name.split("_")
    if prefix != "smallbig" or not 1 <= len(windows) <= 3:
        known = f'{", ".join(BLOCKS)}, and "smallbig" with one to three windows, such as smallbig_3x3x3 or smallbig_3x3x3_Tx3x3'
        raise SmallBigError(f"unknown block; known: {known}", name)
    first, *others = (_window(window, name) for window in windows)
    middle, last = {0: (None, None), 1: (None, *others), 2: others}[len(others)]
    return BlockSpec((first, middle, last))


def _with_last_window(spec: BlockSpec, change: str, name: str) -> tuple[str | None, ...]:
    """The windows of a block, with another one for its last big view."""
    if not re.fullmatch(r"\w+x\w+x\w+", change):
        raise SmallBigError(f"unknown change of a block; known: {', '.join(CHANGES)}, and a window such as Tx5x5", name)
    window = _window(change, name)
    places = [place for place, view in enumerate(spec.views) if view]
    if not places:
        raise SmallBigError(f"a window replaces that of the last big view, and {name.split('+')[0]} has no big view", name)
    return *spec.views[: places[-1]], window, *spec.views[places[-1] + 1 :]


def _window(text: str, name: str) -> str:
    """A window, as a spec holds it.

    Raises:
        SmallBigError: it has another form, or an extent that is even.
    """
    try:
        parse_window(text)
    except SmallBigError as error:
        raise SmallBigError(str(error), name) from error
    return text


def own_stages(name: str) -> Sequence[str]:
    """The blocks that a network has where no others are given, by name.

    Raises:
        SmallBigError: an unknown network.
    """
    if name in NETWORKS:
        return NETWORKS[name][1]
    if name.startswith("timm/"):
        parse_name(name)
        return TIMM_STAGES
    raise SmallBigError(f"unknown network; {did_you_mean(name, NETWORKS)}`smallbig models` lists all", name)


def find_blocks(name: str, stages: Stages = None) -> list[list[BlockSpec]]:
    """The blocks of res2, res3, res4 and res5 of a network, one after the other; arguments and errors as for `build_model`.

    How many blocks a network of timm's has is known when it is built, so for them a list is not yet repeated.
    """
    own = own_stages(name)
    chosen = stages or own
    depths = DEPTHS[NETWORKS[name][0]] if name in NETWORKS else (None,) * 4
    if len(chosen) != 4:
        raise SmallBigError("a network has four stages (res2 to res5): give four blocks", f"{len(chosen)} given")
    parts = zip(("res2", "res3", "res4", "res5"), chosen, depths, strict=True)
    return [_stage_blocks(part, stage, count) for part, stage, count in parts]


def _stage_blocks(name: str, stage: Block | Sequence[Block], count: int | None) -> list[BlockSpec]:
    """The blocks of a stage: one kind, or those of a list, which is repeated if the number of blocks is known."""
    if isinstance(stage, (str, Mapping, BlockSpec)):
        return [block_spec(stage)] * (count or 1)
    if count is None:
        return [block_spec(block) for block in stage]
    if not 1 <= len(stage) <= count:
        allowed = f"from 1 to {count} blocks" if count > 1 else "1 block"
        raise SmallBigError(f"a list for {name} of this network names {allowed}, not {len(stage)}")
    return [block_spec(stage[i % len(stage)]) for i in range(count)]


def stages_to_save(stages: Any) -> Any:
    """Stages as documents keep them: with the two changes that "+avg" consists of in its place.

    Version 0.1.0 saved "+avg" as well, but meant only the first of them: see `saved_stages`.
    """
    return _spell_avg(stages, "avgviews+avgextra")


def saved_stages(stages: Any) -> Any:
    """Stages from a document. An "+avg" there was saved by version 0.1.0, whose extra unit kept the maximum."""
    return _spell_avg(stages, "avgviews")


def _spell_avg(stages: Any, avg: str) -> Any:
    if isinstance(stages, str):
        return "+".join(avg if part == "avg" else part for part in stages.split("+"))
    return [_spell_avg(stage, avg) for stage in stages] if isinstance(stages, (list, tuple)) else stages


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
        name: one of `list_models()`; or "timm/NAME", an image CNN of timm's with batch normalisation, see `TimmNet`. NAME may
            have a tag, which says nothing here.
        stages: other blocks for res2, res3, res4 and res5: names (see `block_spec`) or specs. A list in place of one of them
            has the blocks of that stage in order, and is repeated: ["2d", "full"] makes every second block a full one.
        width: channels of the first convolution; 64 in the paper. A multiple of 8.
        drop_rate: dropout before the classifier, in training.
        head_window: side of the head's pooling window, which some published networks need; see `VideoNetwork`.

    Raises:
        SmallBigError: an unknown name, not four stages, a list longer than its stage, a width that is not a multiple of 8 or
            above 512, or another argument outside of its range.
    """
    blocks = find_blocks(name, stages)
    if name.startswith("timm/"):
        if width != 64:
            raise SmallBigError("the widths of timm's networks are fixed: choose another network of timm's", f"width {width}")
        return TimmNet(parse_name(name)[0], blocks, num_classes, drop_rate, head_window)
    parts = (blocks, num_classes, width, drop_rate, head_window)
    return SlowFast(*parts, **SLOWFAST[name]) if name in SLOWFAST else SmallBigNet(*parts)


def list_models(pattern: str = "*") -> list[str]:
    """The names of the networks that match a shell pattern, such as "smallbig*"; for timm's it begins with "timm/"."""
    if pattern.startswith("timm/"):
        return [f"timm/{name}" for name in list_image_networks(pattern.removeprefix("timm/"))]
    return [name for name in NETWORKS if fnmatch(name, pattern)]
