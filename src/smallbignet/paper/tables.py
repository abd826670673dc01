"""The paper's Tables 1 to 11 as data: the figures that it prints, and the network here that each row is. See `tables.yaml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.resources import files
from typing import Any

import yaml

from smallbignet.errors import SmallBigError
from smallbignet.models.complexity import Complexity, complexity
from smallbignet.models.zoo import build_model

NUMBERS = range(1, 12)
HEADINGS = {  # of the columns
    "block": "blocks",
    "output": "output",
    "backbone": "backbone",
    "frames": "frames",
    "params": "params",
    "gflops": "GFlops",
    "top1": "top-1",
    "top5": "top-5",
    "v1_top1": "V1 top-1",
    "v1_top5": "V1 top-5",
    "v2_top1": "V2 top-1",
    "v2_top5": "V2 top-5",
}


@dataclass(frozen=True)
class Network:
    """A network as `build_model` builds it, and the clip that it sees.

    Attributes:
        name: one of `list_models()`.
        stages: other blocks for res2 to res5; None for the network's own.
        clip: number of frames and their size.
    """

    name: str
    stages: tuple[str, ...] | None = None
    clip: tuple[int, int] = (8, 224)

    def complexity(self, num_classes: int = 400, width: int = 64) -> Complexity:
        """Parameters and multiply-accumulates for its clip, counted on the meta device."""
        return _complexity(self, num_classes, width)


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        label: its first cell.
        figures: the paper's other cells by column, as printed.
        networks: the row's network here; several for an ensemble, none for a row that the paper quotes from others.
        recipes: for each network the shipped recipe that trains it, with the network's blocks and clip in place of its own; by
            the prefix of the columns with the accuracy: "", or "v1_" and "v2_".
        views: clips x crops of its accuracy, where the table's accuracies have different ones; "" if the paper doesn't say.
    """

    label: str
    figures: Mapping[str, float | str] = field(default_factory=dict)
    networks: tuple[Network, ...] = ()
    recipes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    views: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the paper. Table 11 is two tables here: one for a single clip and crop, one for several.

    Attributes:
        number: as in the paper.
        title: as in the paper.
        columns: names of the columns after the label.
        rows: the paper's rows.
        variants: rows of ours, which the paper doesn't list.
        note: what one has to know to compare.
        views: clips x crops of all its accuracies, if the paper says.
    """

    number: int
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    variants: tuple[Row, ...] = ()
    note: str = ""
    views: str = ""


@cache
def paper_tables() -> tuple[Table, ...]:
    """All tables of the paper, in its order."""
    text = files("smallbignet.paper").joinpath("tables.yaml").read_text(encoding="utf-8")
    return tuple(_table(written) for written in yaml.safe_load(text))


def find_tables(number: str) -> list[Table]:
    """The tables with this number: two for Table 11, else one.

    Raises:
        SmallBigError: the paper has no such table.
    """
    found = [table for table in paper_tables() if str(table.number) == number]
    if not found:
        raise SmallBigError(f"no such table: the paper has Tables {NUMBERS[0]} to {NUMBERS[-1]}", number)
    return found


def _table(written: dict[str, Any]) -> Table:
    values = dict(written)
    for key in ("rows", "variants"):
        values[key] = tuple(_row(row, written.get("views", "")) for row in written.get(key, ()))
    values["columns"] = tuple(written["columns"])
    return Table(**values)


def _row(written: dict[str, Any], table_views: str) -> Row:
    figures = dict(written)
    label = figures.pop("label")
    views = figures.pop("views", table_views)
    own = {key: figures.pop(key) for key in ("network", "stages", "clip", "recipe") if key in figures}
    members = [dict(member) for member in figures.pop("ensemble", [own] if own else [])]
    recipes = [_by_prefix(member.pop("recipe")) for member in members]
    networks = tuple(_network(**member) for member in members)
    prefixes = list(recipes[0]) if recipes else []
    return Row(label, figures, networks, {prefix: tuple(recipe[prefix] for recipe in recipes) for prefix in prefixes}, views)


def _by_prefix(recipe: str | dict[str, str]) -> dict[str, str]:
    return recipe if isinstance(recipe, dict) else {"": recipe}


def _network(network: str, stages: Sequence[str] | None = None, clip: tuple[int, int] = (8, 224)) -> Network:
    frames, size = clip
    return Network(network, tuple(stages) if stages else None, (frames, size))


@cache
def _complexity(network: Network, num_classes: int, width: int) -> Complexity:
    build = partial(build_model, network.name, num_classes, stages=network.stages, width=width)
    return complexity(build, *network.clip)
