"""`smallbig tables`: prints the paper's tables, with the figures of our networks and of finished runs beside them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table as RichTable

from smallbignet.inference.scores import average, load_aligned
from smallbignet.paper.architecture import architecture, by
from smallbignet.paper.reproduce import PaperRun, list_commands, runs_of
from smallbignet.paper.tables import HEADINGS, NUMBERS, Row, Table, find_tables
from smallbignet.training.run_directory import RunDirectory

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
        runs: figures of the finished runs: model, views, videos, top1 and top5 (0 to 1), the names of the run directories, and
            the settings that differ from the row's; by the prefix of the columns, as in `paper.tables.Row`.
        commands: the commands that train and test the row, likewise.
    """

    label: str
    paper: dict[str, Any]
    ours: dict[str, Any]
    runs: dict[str, dict[str, Any]]
    commands: dict[str, list[str]]


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
    """The tables asked for.

    Attributes:
        tables: one for each number, two for Table 11.
        only_commands: whether people are shown the commands in place of the figures.
    """

    tables: list[TableReport]
    only_commands: bool = False


def tables(numbers: list[str] = ALL, *, runs: str = "runs", commands: bool = False) -> Tables:
    """Prints the paper's tables. Beside them: our parameters, multiply-accumulates, and accuracies of finished runs.

    Args:
        numbers: numbers of the tables, 1 to 11; all of them if not given.
        runs: folder with the run directories, such as runs/k400_smallbig_r50.
        commands: print the commands that train and test each row, in place of the figures.

    Raises:
        SmallBigError: the paper has no such table, or a run's report can't be read.
    """
    found = [table for number in numbers for table in find_tables(number)]
    return Tables([measure(table, runs) for table in found], commands)


def measure(table: Table, folder: str) -> TableReport:
    """A table with our figures."""
    layers = architecture() if table.number == 1 else {}

    def measure_row(row: Row) -> RowReport:
        runs = {prefix: runs_of(row, prefix) for prefix in row.recipes}
        tests = {prefix: test for prefix in runs if (test := read_test(Path(folder), runs[prefix], row.views))}
        steps = {prefix: list_commands(runs[prefix], row.views, folder) for prefix in runs}
        return RowReport(row.label, dict(row.figures), layers.get(row.label) or cost(row), tests, steps)

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


def read_test(folder: Path, runs: list[PaperRun], views: str) -> dict[str, Any] | None:
    """The figures of a row's test, as `RowReport.runs` has them; None if it hasn't been made.

    They are those of the test that ended the training, or of the scores files that `evaluate` left in the run directories.

    Args:
        views: clips x crops that the test must have had; "" for any.

    Raises:
        SmallBigError: a run's report or its scores can't be read.
    """
    directories = [RunDirectory(folder / run.name) for run in runs]
    files = [directory.path / run.scores(views) for directory, run in zip(directories, runs, strict=True)]
    ended = directories[0].report().test if len(runs) == 1 and directories[0].is_finished else None
    if ended and views in ("", ended.views):
        test = asdict(ended)
    elif all(file.is_file() for file in files):
        scores = average(load_aligned([str(file) for file in files]))
        figures = {"top1": scores.accuracy(), "top5": scores.accuracy(5)}
        test = {"model": "last", "views": views, "videos": len(scores.videos)} | figures
    else:
        return None
    changed = [
        setting
        for directory, run in zip(directories, runs, strict=True)
        for setting in (directory.changed_settings(run.config()) if directory.is_started else [])
        if not setting.startswith(("data.", "run."))
    ]
    return test | {"names": [run.name for run in runs], "changed": changed}


def show(report: Tables) -> Group | str:
    """The tables for people, our figures to the right of the paper's; or the commands of their rows."""
    if report.only_commands:
        return "\n\n".join(map(show_commands, report.tables))
    return Group(*(part for table in report.tables for part in (show_table(table), "")))


def show_commands(table: TableReport) -> str:
    """The commands of a table's rows, each row under a comment with its label; a row that the paper quotes has none."""
    lines = [f"# Table {table.number}. {table.title}"]
    for row in [*table.rows, *table.variants]:
        for prefix, steps in row.commands.items():
            label = " ".join(filter(None, [row.label, row.paper.get("backbone"), str(row.paper.get("frames", ""))]))
            lines += ["", f"# {label}{', ' + prefix.strip('_').upper() if prefix else ''}", *steps]
    return "\n".join(lines)


def show_table(table: TableReport) -> RichTable:
    """One table. A row is marked "quoted" if the paper quotes it from others."""
    is_text = table.number == 1
    rows = [*table.rows, *table.variants]
    notes = {describe_test(test): None for row in rows for test in row.runs.values()}
    shown = RichTable(
        title=f"Table {table.number}. {table.title}",
        caption="\n".join(filter(None, [table.note, *notes])),
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
    changed = f"; other settings: {', '.join(test['changed'])}" if test["changed"] else ""
    return f"Ours, {' + '.join(test['names'])}: {test['videos']} videos, views {test['views']}{changed}"
