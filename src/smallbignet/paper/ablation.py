"""What an ablation measures: the runs of a table's rows, their statistics, and the text that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from smallbignet.paper.tables import HEADINGS


@dataclass(frozen=True)
class Run:
    """One network, trained with one seed and on all folds but one.

    Attributes:
        fold: that fold, "" where there are none.
        top1: of the test that ends the run, 0 to 1; None where it failed or is still to come.
        top5: likewise.
        speed: clips a second in training.
        error: why it failed, or "".
    """

    directory: str
    seed: int
    fold: str
    top1: float | None = None
    top5: float | None = None
    speed: float | None = None
    error: str = ""


@dataclass(frozen=True)
class RowResult:
    """A row of the table.

    Attributes:
        paper: the paper's figures, by column, as printed.
        params: number of parameters.
        macs: multiply-accumulates, for a clip of the recipe's.
        runs: by seed, then by fold.
        values: top-1, 0 to 1: of each seed, the mean over its folds where it has all; of a single seed, of each fold.
    """

    label: str
    paper: dict[str, Any]
    params: int
    macs: int
    runs: list[Run]
    values: dict[str, float]


@dataclass(frozen=True)
class Pair:
    """Two rows that are neighbours in the paper's table, and how much more top-1 the second has, in points.

    Attributes:
        ours: mean over what both have values for; None where that is nothing.
        error: its standard error, from the differences; None for a single one.
    """

    first: str
    second: str
    paper: float
    ours: float | None
    error: float | None

    def verdict(self) -> str:
        """Whether the paper's order appears."""
        if self.ours is None:
            return "not measured"
        order = "as in the paper" if self.ours * self.paper > 0 else "not as in the paper"
        if self.error is None:
            return f"{order}, one run"
        return f"{order}, {'more' if abs(self.ours) > self.error else 'less'} than the standard error"


@dataclass(frozen=True)
class Ablation:
    """A table of the paper, measured.

    Attributes:
        spread_over: what the values are of: "seeds" or "folds".
        how: recipe, data, versions, machine, by name.
        files: the table (Markdown) and the plot.
    """

    table: int
    title: str
    spread_over: str
    rows: list[RowResult]
    pairs: list[Pair]
    how: dict[str, str]
    files: list[str]

    @property
    def exit_status(self) -> int:
        """1 where a run failed."""
        return int(bool(self.errors()))

    def errors(self) -> list[str]:
        """What failed, a line each."""
        return list(dict.fromkeys(f"{run.directory}: {run.error}" for row in self.rows for run in row.runs if run.error))

    def report(self) -> dict[str, Any]:
        """All figures, as plain data."""
        rows = []
        for row in self.rows:
            mean, spread = mean_and_spread(row.values)
            rows.append(asdict(row) | {"mean": mean, "spread": spread})
        return asdict(self) | {"rows": rows, "pairs": [asdict(pair) | {"verdict": pair.verdict()} for pair in self.pairs]}


def values_of(runs: Sequence[Run], folds: Sequence[str]) -> dict[str, float]:
    """Top-1 of each seed that has all its folds, their mean; of a single seed, of each fold."""
    done = {(run.seed, run.fold): run.top1 for run in runs if run.top1 is not None}
    seeds = list(dict.fromkeys(run.seed for run in runs))
    if len(seeds) == 1 and len(folds) > 1:
        return {fold: done[seeds[0], fold] for fold in folds if (seeds[0], fold) in done}
    whole = [seed for seed in seeds if all((seed, fold) in done for fold in folds)]
    return {str(seed): fmean(done[seed, fold] for fold in folds) for seed in whole}


def mean_and_spread(values: dict[str, float]) -> tuple[float | None, float | None]:
    """Mean and standard deviation, as far as there are values enough."""
    numbers = list(values.values())
    return fmean(numbers) if numbers else None, stdev(numbers) if len(numbers) > 1 else None


def compare(first: RowResult, second: RowResult) -> Pair:
    """Two rows, compared seed by seed (fold by fold): what all of them share, such as a hard fold, drops out."""
    differences = {key: 100 * (second.values[key] - first.values[key]) for key in first.values if key in second.values}
    ours, spread = mean_and_spread(differences)
    error = None if spread is None else spread / len(differences) ** 0.5
    paper = round(second.paper["top1"] - first.paper["top1"], 2)
    return Pair(first.label, second.label, paper, ours, error)


def headings(ablation: Ablation) -> list[str]:
    """Of the columns: the label, the paper's, ours."""
    ours = ("top-1", "params", "GMACs", "clips/s", "runs")
    return ["", *(f"paper {HEADINGS[column]}" for column in ablation.rows[0].paper), *(f"our {name}" for name in ours)]


def cells(row: RowResult) -> list[str]:
    """A row in words, as `headings` has it."""
    mean, spread = mean_and_spread(row.values)
    top1 = "-" if mean is None else f"{100 * mean:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")
    speeds = [run.speed for run in row.runs if run.speed is not None]
    failed = sum(bool(run.error) for run in row.runs)
    done = f"{len(speeds)} of {len(row.runs)}" + (f", {failed} failed" if failed else "")
    cost = [f"{row.params / 1e6:.2f}M", f"{row.macs / 1e9:.2f}", f"{fmean(speeds):.1f}" if speeds else "-"]
    return [row.label, *map(str, row.paper.values()), top1, *cost, done]


def orderings(ablation: Ablation) -> list[str]:
    """A line for each pair of neighbours."""

    def ours(pair: Pair) -> str:
        if pair.ours is None:
            return ""
        return f", here {pair.ours:+.1f}" + ("" if pair.error is None else f" (standard error {pair.error:.1f})")

    return [f"{p.first} -> {p.second}: paper {p.paper:+.1f}{ours(p)}: {p.verdict()}" for p in ablation.pairs]


def markdown(ablation: Ablation) -> str:
    """The table, the orderings, and how they were measured."""
    header = headings(ablation)
    lines = [header, ["---"] * len(header), *(cells(row) for row in ablation.rows)]
    sections = {
        f"Each of the {ablation.spread_over}": [f"{row.label}: {percents(row.values)}" for row in ablation.rows],
        "Neighbours in the paper's table: how much more the second has": orderings(ablation),
        "Failed": ablation.errors(),
        "How": [f"{name}: {text}" for name, text in ablation.how.items() if name != "settings"],
    }
    text = f"# {ablation.title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
    text += f"\nTop-1 in percent, mean and standard deviation over {ablation.spread_over}.\n"
    text += f"\n![the paper's top-1 beside ours]({Path(ablation.files[1]).name})\n"
    for heading, items in sections.items():
        text += f"\n## {heading}\n\n" + "".join(f"- {item}\n" for item in items) if items else ""
    return f"{text}\nSettings of all runs:\n\n```yaml\n{ablation.how['settings']}```\n"


def percents(values: dict[str, float]) -> str:
    """Single values in a line."""
    return ", ".join(f"{100 * value:.1f}" for value in values.values()) or "-"
