"""The paper's Tables 1 to 11 as data: what it prints (`tables.yaml`), and which network here each row is."""

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
HEADINGS = {
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
}  # what the columns are called


@dataclass(frozen=True)
class Network:
    """A network as `build_model` builds it, and the clip that it sees.

    Attributes:
        name: one of `list_models()`.
        stages: other blocks for res2 to res5; None for the network's own.
        clip: frames and size.
    """

    name: str
    stages: tuple[str, ...] | None = None
    clip: tuple[int, int] = (8, 224)

    def complexity(self, num_classes: int = 400, width: int = 64) -> Complexity:
        """What it costs at its clip, measured on the meta device."""
        return _complexity(self, num_classes, width)


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        label: its first cell.
        figures: the paper's other cells, by column, as printed.
        networks: what builds it here: one network, several for an ensemble, none for a row that the paper quotes.
        recipes: shipped recipes that train it, by the prefix of the columns with their accuracy: "", or "v1_" and "v2_".
    """

    label: str
    figures: Mapping[str, float | str] = field(default_factory=dict)
    networks: tuple[Network, ...] = ()
    recipes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table of the paper. Table 11 is two: one clip and crop, and several.

    Attributes:
        columns: names of the paper's columns behind the label.
        rows: the paper's.
        variants: ours, which the paper doesn't list.
        note: what one has to know to compare.
        views: clips x crops of all its accuracies, where the table says.
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
    """The tables of a number.

    Raises:
        SmallBigError: the paper has no such table.
    """
    found = [table for table in paper_tables() if str(table.number) == number]
    if not found:
        raise SmallBigError(f"the paper has Tables {NUMBERS[0]} to {NUMBERS[-1]}", number)
    return found


def _table(written: dict[str, Any]) -> Table:
    rows, variants = (tuple(map(_row, written.pop(key, ()))) for key in ("rows", "variants"))
    return Table(columns=tuple(written.pop("columns")), rows=rows, variants=variants, **written)


def _row(written: dict[str, Any]) -> Row:
    figures = dict(written)
    label, recipe = figures.pop("label"), figures.pop("recipe", {})
    built = {key: figures.pop(key) for key in ("network", "stages", "clip") if key in figures}
    parts = figures.pop("ensemble", [built] if built else [])
    recipes = recipe if isinstance(recipe, dict) else {"": recipe}
    return Row(label, figures, tuple(_network(**part) for part in parts), recipes)


def _network(network: str, stages: Sequence[str] | None = None, clip: tuple[int, int] = (8, 224)) -> Network:
    frames, size = clip
    return Network(network, tuple(stages) if stages else None, (frames, size))


@cache
def _complexity(network: Network, num_classes: int, width: int) -> Complexity:
    build = partial(build_model, network.name, num_classes, stages=network.stages, width=width)
    return complexity(build, *network.clip)
