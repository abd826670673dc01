"""`smallbig tables`: the paper's tables, and beside them what this code measures and what finished runs have reached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Group
from rich.table import Table as RichTable

from smallbignet.models.zoo import build_model
from smallbignet.paper.tables import HEADINGS, NUMBERS, Row, Table, find_tables
from smallbignet.training.run_directory import RunDirectory
from smallbignet.training.settings import load_recipe

WORDS = ("block", "output", "backbone", "frames")  # columns that aren't numbers
ALL = [str(number) for number in NUMBERS]


@dataclass(frozen=True)
class RowReport:
    """A row: the paper's figures and ours, by name.

    Attributes:
        paper: by column, as printed; nothing for a variant that the paper doesn't list.
        ours: params; gmacs and, of convolutions alone, conv_gmacs, for one clip; that clip, frames x size. In Table 1 block
            and output. Nothing for a row that the paper quotes and we don't build.
        runs: of each finished run: top1 and top5 (0 to 1), views, videos, recipe and what it has changed; by the prefix of
            the columns, as in `paper.Row`.
    """

    label: str
    paper: dict[str, Any]
    ours: dict[str, Any]
    runs: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class TableReport:
    """A table, with the paper's rows and ours besides."""

    number: int
    title: str
    note: str
    columns: list[str]
    rows: list[RowReport]
    variants: list[RowReport]


@dataclass(frozen=True)
class Tables:
    """The tables asked for."""

    tables: list[TableReport]


def tables(numbers: list[str] = ALL, *, runs: str = "runs") -> Tables:
    """Prints the paper's tables beside what this code measures: parameters, multiply-accumulates, accuracies of finished runs.

    Args:
        numbers: 1 to 11; all of them if not given.
        runs: folder with run directories named like the recipes, such as runs/k400_smallbig_r50.

    Raises:
        SmallBigError: the paper has no such table; a report that can't be read.
    """
    found = [table for number in numbers for table in find_tables(number)]
    return Tables([measure(table, Path(runs)) for table in found])


def measure(table: Table, runs: Path) -> TableReport:
    """A table with our figures."""
    layers = architecture() if table.number == 1 else {}

    def report(row: Row) -> RowReport:
        tests = {prefix: test for prefix, recipe in row.recipes.items() if (test := read_test(runs, recipe, table.views))}
        return RowReport(row.label, dict(row.figures), layers.get(row.label) or cost(row), tests)

    rows, variants = ([report(row) for row in part] for part in (table.rows, table.variants))
    return TableReport(table.number, table.title, table.note, list(table.columns), rows, variants)


def cost(row: Row) -> dict[str, Any]:
    """What the row's networks cost together, each with a clip of its own; nothing for a quoted row."""
    if not row.networks:
        return {}
    costs = [network.complexity() for network in row.networks]
    return {
        "params": sum(cost.params for cost in costs),
        "gmacs": sum(cost.macs for cost in costs) / 1e9,
        "conv_gmacs": sum(cost.conv_macs for cost in costs) / 1e9,
        "clip": ", ".join(by(network.clip) for network in row.networks),
    }


def read_test(runs: Path, recipe: str, views: str) -> dict[str, Any] | None:
    """The test that ended a recipe's run: its report's figures, the recipe and the settings changed; None without a run.

    Args:
        views: those that the test must have, if any.

    Raises:
        SmallBigError: a report that is none.
    """
    directory = RunDirectory(runs / recipe)
    if not directory.is_finished:
        return None
    test = directory.report().test
    if views and views != test.views:
        return None
    changed = directory.changed_settings(load_recipe(recipe))
    return asdict(test) | {
        "recipe": recipe,
        "changed": [setting for setting in changed if not setting.startswith(("data.", "run."))],
    }


def architecture() -> dict[str, dict[str, str]]:
    """Table 1 of our networks, by layer: blocks of R23 (or R50), and the size of R23's output."""
    with torch.device("meta"), torch.no_grad():
        small: Any = build_model("c2d_r23").eval()
        large: Any = build_model("c2d_r50")
        stages = {name: (getattr(small, name), getattr(large, name)) for name in ("res2", "res3", "res4", "res5")}
        output: dict[str, str] = {}

        def note(name: str, x: torch.Tensor) -> None:
            output[name] = by(x.shape[2:])

        small.stem.register_forward_hook(lambda module, inputs, x: note("conv1", x))
        small.res2[0].register_forward_pre_hook(lambda module, inputs: note("pool1", inputs[0]))
        for name, (blocks, _) in stages.items():
            blocks[-1].register_forward_hook(lambda module, inputs, x, name=name: note(name, x))
        small(torch.empty(1, 3, 8, 224, 224))
    stem = small.stem.conv
    text = {"conv1": f"{convolution(stem)}, stride {by(stem.stride)}", "pool1": "1x3x3 max, stride 1x2x2"}
    for name, (blocks, more) in stages.items():
        units = (blocks[0].unit1, blocks[0].unit2, blocks[0].unit3)
        text[name] = f"({'; '.join(convolution(unit.conv) for unit in units)}) x {len(blocks)} (or {len(more)})"
    layers = {name: {"block": text[name], "output": output[name]} for name in text}
    return layers | {"head": {"block": f"global average pool, fc from {small.fc.in_features}", "output": "1x1x1"}}


def by(sizes: Iterable[int]) -> str:
    """Extents as the paper writes them: 1x3x3."""
    return "x".join(map(str, sizes))


def convolution(conv: torch.nn.Conv3d) -> str:
    """Kernel and channels, as the paper writes them."""
    return f"{by(conv.kernel_size)}, {conv.out_channels}"


def show(report: Tables) -> Group:
    """All tables for people, ours to the right of the paper's."""
    return Group(*(part for table in report.tables for part in (show_table(table), "")))


def show_table(table: TableReport) -> RichTable:
    """One table; a "quoted" row is of a network that isn't built here."""
    names = ("blocks", "output") if table.number == 1 else ("params", "GMACs", "clip", "top-1/5")
    tests = {test["recipe"]: describe_test(test) for row in [*table.rows, *table.variants] for test in row.runs.values()}
    caption = "\n".join([*([table.note] if table.note else []), *tests.values()])
    title = f"Table {table.number}. {table.title}"
    shown = RichTable(title=title, caption=caption, title_justify="left", caption_justify="left", padding=(0, 1, 0, 0))
    shown.add_column("")
    for column in table.columns:
        shown.add_column(
            f"paper\n{HEADINGS[column]}", justify="left" if column in WORDS else "right", no_wrap=column != "block"
        )
    for name in names:
        shown.add_column(f"our\n{name}", justify="left" if table.number == 1 else "right", no_wrap=name != "blocks")
    for part in (table.rows, table.variants):
        for row in part:
            paper = (str(row.paper.get(column, "" if part is table.variants else "-")) for column in table.columns)
            shown.add_row(row.label, *paper, *our_cells(row))
        shown.add_section()
    return shown


def our_cells(row: RowReport) -> list[str]:
    """What is ours of a row."""
    if "block" in row.ours:
        return [row.ours["block"], row.ours["output"]]
    tests = [f"{prefix.upper()[:2]} {100 * test['top1']:.1f}/{100 * test['top5']:.1f}" for prefix, test in row.runs.items()]
    accuracy = "\n".join(tests).strip() or "-"
    if not row.ours:
        return ["quoted", "", "", accuracy]
    convolutions, whole = row.ours["conv_gmacs"], row.ours["gmacs"]
    attention = whole > 1.01 * convolutions
    gmacs = f"{convolutions:.2f}\n+ {whole - convolutions:.2f}" if attention else f"{whole:.2f}"
    return [f"{row.ours['params'] / 1e6:.2f}M", gmacs, row.ours["clip"], accuracy]


def describe_test(test: dict[str, Any]) -> str:
    """Which run an accuracy is of."""
    changed = f"; not the recipe's: {', '.join(test['changed'])}" if test["changed"] else ""
    return f"Ours, {test['recipe']}: {test['videos']} videos, views {test['views']}{changed}"
