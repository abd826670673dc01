"""`smallbig tables`: prints the paper's tables, with the figures of our networks and of finished runs beside them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table as RichTable

from smallbignet.paper.architecture import architecture, by
from smallbignet.paper.tables import HEADINGS, NUMBERS, Row, Table, find_tables
from smallbignet.training.run_directory import RunDirectory
from smallbignet.training.settings import load_recipe

TEXTS = ("block", "output", "backbone", "frames")  # columns that aren't numbers
ALL = [str(number) for number in NUMBERS]


@dataclass(frozen=True)
class RowReport:
    """A row: the paper's figures and ours, by name.

    Attributes:
        label: the row's first cell.
        paper: the paper's figures by column, as printed; empty for a variant that the paper doesn't list.
        ours: params; gmacs of one clip, and conv_gmacs without attention; clip, frames x size. In Table 1 block and output.
            Empty for a row that the paper quotes from others.
        runs: figures of the finished runs: model, views, videos, top1 and top5 (0 to 1), recipe, and the settings that differ
            from the recipe; by the prefix of the columns, as in `paper.tables.Row`.
    """

    label: str
    paper: dict[str, Any]
    ours: dict[str, Any]
    runs: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class TableReport:
    """A table: the paper's rows, and variants that the paper doesn't list. The fields are those of `paper.tables.Table`."""

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
    """Prints the paper's tables. Beside them: our parameters, multiply-accumulates, and accuracies of finished runs.

    Args:
        numbers: numbers of the tables, 1 to 11; all of them if not given.
        runs: folder with run directories that are named after their recipes, such as runs/k400_smallbig_r50.

    Raises:
        SmallBigError: the paper has no such table, or a run's report can't be read.
    """
    found = [table for number in numbers for table in find_tables(number)]
    return Tables([measure(table, Path(runs)) for table in found])


def measure(table: Table, runs: Path) -> TableReport:
    """A table with our figures."""
    layers = architecture() if table.number == 1 else {}

    def measure_row(row: Row) -> RowReport:
        tests = {prefix: test for prefix, recipe in row.recipes.items() if (test := read_test(runs, recipe, table.views))}
        return RowReport(row.label, dict(row.figures), layers.get(row.label) or cost(row), tests)

    return TableReport(
        number=table.number,
        title=table.title,
        note=table.note,
        columns=list(table.columns),
        rows=[measure_row(row) for row in table.rows],
        variants=[measure_row(row) for row in table.variants],
    )


def cost(row: Row) -> dict[str, Any]:
    """Parameters and GMACs of the row's networks together, each for its own clip; empty for a row quoted from others."""
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
    """The figures of the test that ended the run of a recipe, as `RowReport.runs` has them; None if there is no such test.

    Args:
        views: clips x crops that the test must have had; "" for any.

    Raises:
        SmallBigError: the run's report can't be read.
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


def show(report: Tables) -> Group:
    """The tables for people, our figures to the right of the paper's."""
    return Group(*(part for table in report.tables for part in (show_table(table), "")))


def show_table(table: TableReport) -> RichTable:
    """One table. A row is marked "quoted" if the paper quotes it from others."""
    is_text = table.number == 1
    rows = [*table.rows, *table.variants]
    notes = {test["recipe"]: describe_test(test) for row in rows for test in row.runs.values()}
    shown = RichTable(
        title=f"Table {table.number}. {table.title}",
        caption="\n".join(filter(None, [table.note, *notes.values()])),
        title_justify="left",
        caption_justify="left",
        padding=(0, 1, 0, 0),
    )
    shown.add_column("")
    for column in table.columns:
        justify: Any = "left" if column in TEXTS else "right"
        shown.add_column(f"paper\n{HEADINGS[column]}", justify=justify, no_wrap=column != "block")
    for name in ("blocks", "output") if is_text else ("params", "GMACs", "clip", "top-1/5"):
        shown.add_column(f"our\n{name}", justify="left" if is_text else "right", no_wrap=name != "blocks")
    for part, missing in ((table.rows, "-"), (table.variants, "")):
        for row in part:
            paper = (str(row.paper.get(column, missing)) for column in table.columns)
            shown.add_row(row.label, *paper, *our_cells(row))
        shown.add_section()
    return shown


def our_cells(row: RowReport) -> list[str]:
    """Our cells of a row."""
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
    """Which run an accuracy comes from."""
    changed = f"; changed in the recipe: {', '.join(test['changed'])}" if test["changed"] else ""
    return f"Ours, {test['recipe']}: {test['videos']} videos, views {test['views']}{changed}"
