"""The results of an ablation as data: the runs of a table's rows, their statistics, and the text that shows them."""

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
        directory: the run directory.
        seed: of the training.
        fold: the fold that it is validated on; "" without folds.
        top1: accuracy in the test that ends the run, 0 to 1; None before the test, and if the run failed.
        top5: likewise.
        speed: clips per second in training.
        error: why the run failed; "" if it did not.
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
    """The results of one row of the table.

    Attributes:
        label: the row's first cell.
        paper: the paper's figures by column, as printed.
        params: number of parameters.
        macs: multiply-accumulates for one clip of the recipe.
        runs: ordered by seed, then by fold.
        values: top-1, 0 to 1, as `values_of` returns it.
    """

    label: str
    paper: dict[str, Any]
    params: int
    macs: int
    runs: list[Run]
    values: dict[str, float]


@dataclass(frozen=True)
class Pair:
    """Two neighbouring rows of the paper's table, and how much higher the top-1 of the second is, in percentage points.

    Attributes:
        first: label of the first row.
        second: label of the second row.
        paper: difference in the paper.
        ours: our mean difference, over the seeds or folds that both rows have; None if there are none.
        error: standard error of `ours`; None with fewer than two differences.
    """

    first: str
    second: str
    paper: float
    ours: float | None
    error: float | None

    def verdict(self) -> str:
        """In words: whether our results have the order of the paper's, and how sure that is."""
        if self.ours is None:
            return "not measured"
        order = "as in the paper" if self.ours * self.paper > 0 else "not as in the paper"
        if self.error is None:
            return f"{order}, one run"
        return f"{order}, {'more' if abs(self.ours) > self.error else 'less'} than the standard error"


@dataclass(frozen=True)
class Ablation:
    """The results for one of the paper's tables.

    Attributes:
        table: its number.
        title: its number and the paper's title.
        spread_over: what each row has several values of: "seeds" or "folds".
        rows: one for each row of the table.
        pairs: one for each pair of neighbouring rows.
        how: how the results were obtained, such as recipe, data, versions and machine, by name.
        files: the table (Markdown), the plot and the page.
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
        """1 if a run failed, else 0."""
        return int(bool(self.errors()))

    def errors(self) -> list[str]:
        """The runs that failed and why, one line each."""
        return list(dict.fromkeys(f"{run.directory}: {run.error}" for row in self.rows for run in row.runs if run.error))

    def report(self) -> dict[str, Any]:
        """All figures as plain data."""
        rows = []
        for row in self.rows:
            mean, spread = mean_and_spread(row.values)
            rows.append(asdict(row) | {"mean": mean, "spread": spread})
        return asdict(self) | {"rows": rows, "pairs": [asdict(pair) | {"verdict": pair.verdict()} for pair in self.pairs]}


def values_of(runs: Sequence[Run], folds: Sequence[str]) -> dict[str, float]:
    """Top-1 of each seed, which is the mean over its folds if all are finished; with a single seed, top-1 of each fold."""
    done = {(run.seed, run.fold): run.top1 for run in runs if run.top1 is not None}
    seeds = list(dict.fromkeys(run.seed for run in runs))
    if len(seeds) == 1 and len(folds) > 1:
        return {fold: done[seeds[0], fold] for fold in folds if (seeds[0], fold) in done}
    whole = [seed for seed in seeds if all((seed, fold) in done for fold in folds)]
    return {str(seed): fmean(done[seed, fold] for fold in folds) for seed in whole}


def mean_and_spread(values: dict[str, float]) -> tuple[float | None, float | None]:
    """Mean and standard deviation of the values; None without any value, and with one, respectively."""
    numbers = list(values.values())
    return fmean(numbers) if numbers else None, stdev(numbers) if len(numbers) > 1 else None


def compare(first: RowResult, second: RowResult) -> Pair:
    """Compares two rows seed by seed, or fold by fold, so that what all rows share, such as a hard fold, does not count."""
    differences = {key: 100 * (second.values[key] - first.values[key]) for key in first.values if key in second.values}
    ours, spread = mean_and_spread(differences)
    error = None if spread is None else spread / len(differences) ** 0.5
    paper = round(second.paper["top1"] - first.paper["top1"], 2)
    return Pair(first.label, second.label, paper, ours, error)


def headings(ablation: Ablation) -> list[str]:
    """The headings of the columns: an empty one for the label, the paper's, ours."""
    ours = ("top-1", "params", "GMACs", "clips/s", "runs")
    return ["", *(f"paper {HEADINGS[column]}" for column in ablation.rows[0].paper), *(f"our {name}" for name in ours)]


def cells(row: RowResult) -> list[str]:
    """The cells of a row, in the order of `headings`."""
    mean, spread = mean_and_spread(row.values)
    top1 = "-" if mean is None else f"{100 * mean:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")
    speeds = [run.speed for run in row.runs if run.speed is not None]
    failed = sum(bool(run.error) for run in row.runs)
    done = f"{len(speeds)} of {len(row.runs)}" + (f", {failed} failed" if failed else "")
    cost = [f"{row.params / 1e6:.2f}M", f"{row.macs / 1e9:.2f}", f"{fmean(speeds):.1f}" if speeds else "-"]
    return [row.label, *map(str, row.paper.values()), top1, *cost, done]


def orderings(ablation: Ablation) -> list[str]:
    """One line for each pair of neighbouring rows."""

    def ours(pair: Pair) -> str:
        if pair.ours is None:
            return ""
        return f", here {pair.ours:+.1f}" + ("" if pair.error is None else f" (standard error {pair.error:.1f})")

    return [f"{p.first} -> {p.second}: paper {p.paper:+.1f}{ours(p)}: {p.verdict()}" for p in ablation.pairs]


def markdown(ablation: Ablation) -> str:
    """The results as a Markdown page: the table, the pairs of neighbouring rows, and how all of it was measured."""
    header = headings(ablation)
    lines = [header, ["---"] * len(header), *(cells(row) for row in ablation.rows)]
    sections = {
        f"Top-1 of each of the {ablation.spread_over}": [f"{row.label}: {percents(row.values)}" for row in ablation.rows],
        "Neighbouring rows: how much higher the second is": orderings(ablation),
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
    """The values in percent, in one line."""
    return ", ".join(f"{100 * value:.1f}" for value in values.values()) or "-"
