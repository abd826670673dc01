"""`smallbig models`: the networks, their parameters and their multiply-accumulates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from rich.table import Column, Table

from smallbignet.errors import SmallBigError, did_you_mean
from smallbignet.models.complexity import Complexity, complexity, parse_clip
from smallbignet.models.zoo import NETWORKS, SLOWFAST, NumClasses, build_model, list_models, own_stages
from smallbignet.utils.checks import checked
from smallbignet.utils.console import bar


@dataclass(frozen=True)
class Catalog:
    """Networks by name, with their cost for a clip."""

    clip: str
    networks: dict[str, Complexity]


@checked
def models(pattern: str = "*", *, clip: str = "8x224", num_classes: NumClasses = 400) -> Catalog:
    """Lists networks with their parameters and multiply-accumulates; no weights are made.

    Args:
        pattern: shell pattern of names. One that begins with "timm/" stands for timm's image networks, such as
            "timm/resnet*"; those that can't be made into video networks are left out.
        clip: frames x size, such as 8x224; for SlowFast, the frames of the slow pathway.
        num_classes: number of classes of the classifier.

    Raises:
        SmallBigError: a clip of another form, or no such network.
    """
    frames, size = parse_clip(clip)
    if not (names := list_models(pattern)):
        raise SmallBigError(f"no network of this name; {did_you_mean(pattern, NETWORKS)}`smallbig models` lists all", pattern)
    costs = {}
    with bar("count", len(names), "networks") as progress:
        for name in names:
            alpha = SLOWFAST.get(name, {}).get("alpha", 1)
            try:
                costs[name] = complexity(partial(build_model, name, num_classes), frames * alpha, size)
            except SmallBigError:
                if len(names) == 1:
                    raise
            progress.advance()
    return Catalog(clip, costs)


def show(catalog: Catalog) -> Table:
    """A table with one row per network."""
    table = Table(
        Column("network", no_wrap=True),
        "res2, res3, res4, res5",
        caption=f"clips of {catalog.clip}, as frames x size; for SlowFast, the frames of the slow pathway",
    )
    for heading in ("params (M)", "GMACs", "of convolutions"):
        table.add_column(heading, justify="right")
    for name, cost in catalog.networks.items():
        figures = (cost.params / 1e6, cost.macs / 1e9, cost.conv_macs / 1e9)
        table.add_row(name, ", ".join(own_stages(name)), *(f"{figure:.2f}" for figure in figures))
    return table
