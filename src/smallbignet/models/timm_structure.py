"""timm's image networks: their names, and the parts that they are made of, for `timm_cnn.py`.

Nothing here is written for one family of networks. A small image passes once through timm's network, on torch's meta device,
and what its modules hand to each other shows the structure:

- the units: a convolution whose output goes to a batch normalisation is a unit with it;
- the blocks: the parts of the network that are applied one after the other;
- the stages: res2, res3, res4 and res5 are the blocks whose output has 1/4, 1/8, 1/16 and 1/32 of the frame's height. What
  comes before them is the stem, what comes after them the tail.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from smallbignet.errors import SmallBigError, did_you_mean

NAME = re.compile(r"timm/(?P<architecture>\w+)(\.(?P<tag>\w+))?")
SIDE = 64  # of the image that shows a network's structure; the last stage has 2 x 2 positions
STAGE_OF = {SIDE // 4: "res2", SIDE // 8: "res3", SIDE // 16: "res4", SIDE // 32: "res5"}  # by the height of the output
SHORTCUTS = {"downsample", "shortcut", "skip"}  # what timm calls the part of a block that leads past its units


def parse_name(name: str) -> tuple[str, str]:
    """Return the architecture and the tag, or "", of a name such as "timm/resnet18" or "timm/resnet18.a1_in1k".

    Raises:
        SmallBigError: another form.
    """
    match = NAME.fullmatch(name)
    if not match:
        raise SmallBigError("a network of timm's is named timm/NAME or timm/NAME.TAG, such as timm/resnet18.a1_in1k", name)
    return match["architecture"], match["tag"] or ""


def import_timm() -> Any:
    """Return the module timm.

    Raises:
        SmallBigError: it is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise SmallBigError("timm is not installed: pip install 'smallbignet[timm]'", "timm") from error
    return timm


def make_image_network(architecture: str) -> nn.Module:
    """Return timm's own network with random weights: (N, 3, H, W) -> (N, classes).

    Raises:
        SmallBigError: timm is not installed or has no such network.
    """
    timm = import_timm()
    if not timm.is_model(architecture):
        hint = did_you_mean(architecture, timm.list_models())
        raise SmallBigError(f"timm has no such network; {hint}`smallbig models 'timm/*'` lists all", f"timm/{architecture}")
    return timm.create_model(architecture)


def list_image_networks(pattern: str = "*") -> list[str]:
    """Return the names of timm's networks that match a shell pattern. Not all of them can be made into video networks."""
    return import_timm().list_models(pattern.partition(".")[0])


@dataclass(frozen=True)
class Call:
    """A module of a network, and what it got and returned. `input` is None where it was not one tensor."""

    name: str
    module: nn.Module
    input: Tensor | None
    output: Any


@dataclass(frozen=True)
class Structure:
    """The parts of an image network in the order in which a frame passes through them, by their names in that network.

    Attributes:
        stem, tail: parts before and after the blocks.
        stages: the parts of res2, res3, res4 and res5.
        units: name of the convolution -> name of its normalisation, in the order of the calls.
        paths: for each part, the convolutions of its units without those of its shortcut.
        channels: of the input and of the output of each part, in order.
        classifier: the last linear layer.
    """

    stem: list[str]
    stages: dict[str, list[str]]
    tail: list[str]
    units: dict[str, str]
    paths: dict[str, list[str]]
    channels: dict[str, tuple[int, int]]
    classifier: str


@cache
def find_structure(architecture: str) -> Structure:
    """Return the structure of one of timm's networks. It is found on torch's meta device, without memory or arithmetic.

    Raises:
        SmallBigError: timm has no such network, or it can't be made into a video network.
    """
    with torch.device("meta"):
        image = make_image_network(architecture).eval()
        try:
            calls = _record_calls(image)
        except Exception as error:  # such as that of a transformer, which takes images of one size only
            raise SmallBigError(_REFUSED.format(f"no output for an image of {SIDE}x{SIDE}"), f"timm/{architecture}") from error
    last: Any = image.get_classifier()  # type: ignore[operator]
    classifier = next((name for name, module in image.named_modules() if module is last), "")
    units = _find_units(calls)
    parts = [call for call in _unfold("", image, calls) if call.name != classifier and _is_map(call.output)]
    blocks = [call for call in parts if call.name not in units and any(_is_in(unit, call.name) for unit in units)]
    blocks = [call for call in blocks if call.output.shape[-1] in STAGE_OF]
    if not blocks:
        raise SmallBigError(_REFUSED.format("no blocks of convolutions with batch normalisation"), f"timm/{architecture}")
    first, last = parts.index(blocks[0]), parts.index(blocks[-1])
    stages: dict[str, list[str]] = {name: [] for name in STAGE_OF.values()}
    for call in parts[first : last + 1]:
        stages[STAGE_OF.get(call.output.shape[-1], "res5")].append(call.name)
    structure = Structure(
        [call.name for call in parts[:first]],
        stages,
        [call.name for call in parts[last + 1 :]],
        units,
        {call.name: _path(call, units, calls) for call in blocks},
        {call.name: (call.input.shape[1], call.output.shape[1]) for call in parts if call.input is not None},
        classifier,
    )
    _check_complete(image, structure, f"timm/{architecture}")
    return structure


_REFUSED = "this network can't be made into a video network, because it has {}; choose a plain CNN, such as timm/resnet18"


def _record_calls(image: nn.Module) -> dict[str, Call]:
    """Return the calls of all modules for one image, by name and in the order in which they return."""
    calls: dict[str, Call] = {}
    alive = []  # all outputs, so that no two have the same id

    def record(name: str, module: nn.Module, args: tuple, output: Any) -> None:
        given = args[0] if len(args) == 1 and isinstance(args[0], Tensor) else None
        alive.append(output)
        calls[name] = Call(name, module, given if name not in calls else None, output)  # twice called: no part of a chain

    handles = [module.register_forward_hook(partial(record, name)) for name, module in image.named_modules()]
    with torch.no_grad():
        image(torch.zeros(1, 3, SIDE, SIDE))
    for handle in handles:
        handle.remove()
    return calls


def _find_units(calls: Mapping[str, Call]) -> dict[str, str]:
    convs = {id(call.output): call.name for call in calls.values() if isinstance(call.module, nn.Conv2d)}
    norms = [call for call in calls.values() if isinstance(call.module, nn.BatchNorm2d) and id(call.input) in convs]
    return {convs[id(call.input)]: call.name for call in norms}


def _unfold(name: str, module: nn.Module, calls: Mapping[str, Call]) -> list[Call]:
    """Return the parts of a container that are applied one after the other; the container itself if they are not."""
    own = calls[name]
    children = {f"{name}.{child}".lstrip(".") for child, _ in module.named_children()}
    parts: list[Call] = []
    for call in calls.values():
        follows = call.input is (parts[-1].output if parts else own.input)
        if call.name in children and call.input is not None and follows:
            parts.append(call)
    if name and (not parts or parts[-1].output is not own.output):
        return [own]
    unfolded: list[Call] = []
    for part in parts:
        is_container = isinstance(part.module, nn.Sequential) or type(part.module).__name__.endswith("Stage")
        unfolded += _unfold(part.name, part.module, calls) if is_container else [part]
    return unfolded


def _is_map(output: Any) -> bool:
    return isinstance(output, Tensor) and output.dim() == 4


def _is_in(name: str, part: str) -> bool:
    return name.startswith(f"{part}.")


def _path(block: Call, units: Mapping[str, str], calls: Mapping[str, Call]) -> list[str]:
    """Return the convolutions of a block's units, without shortcuts and without attention, whose maps are one position."""
    inside = [name for name in units if _is_in(name, block.name) and calls[name].output.shape[-1] > 1]
    return [name for name in inside if not SHORTCUTS & set(name.removeprefix(f"{block.name}.").split("."))]


def _check_complete(image: nn.Module, structure: Structure, name: str) -> None:
    """Check that the parts hold all parameters but the classifier's."""
    parts = [*structure.stem, *(part for stage in structure.stages.values() for part in stage), *structure.tail]
    own = [*parts, structure.classifier]
    left = [key for key, _ in image.named_parameters() if not any(_is_in(key, part) for part in own)]
    if left or not structure.classifier:
        raise SmallBigError(_REFUSED.format("parts that are not applied one after the other"), name)
