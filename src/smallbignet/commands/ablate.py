"""`smallbig ablate`: every row of one of the paper's tables, trained and tested under one budget, beside the paper's figures.

A run is a network, a seed and a fold. Its directory is named by them and not by the table, so tables share runs; finished runs
are read, interrupted ones go on.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Collection
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
import yaml
from rich.console import Group
from rich.table import Table as RichTable

from smallbignet.commands.train import train
from smallbignet.data.annotations import Annotations
from smallbignet.data.source import read_annotations
from smallbignet.data.split import DataSpec, read_split
from smallbignet.errors import SmallBigError
from smallbignet.models.zoo import NETWORKS
from smallbignet.paper.ablation import Ablation, RowResult, Run, cells, compare, headings, markdown, orderings, values_of
from smallbignet.paper.tables import Network, Row, Table, find_tables
from smallbignet.training.run_directory import RunDirectory, TrainReport
from smallbignet.training.settings import TrainConfig, load_recipe, one_line
from smallbignet.utils import plots
from smallbignet.utils.console import console
from smallbignet.utils.files import write_text
from smallbignet.version import __version__

TABLES = range(2, 10)  # those that compare networks under one budget; Tables 10 and 11 compare with other people's
VARIES = ("model.name", "model.stages", "data.select", "data.val_select", "run.seed", "run.dir")  # between runs


def ablate(
    table: str, *, recipe: str, data: str = "", seeds: str = "0,1,2", folds: str = "", out: str = "runs/ablate"
) -> Ablation:
    """Trains and tests every row of a table of the paper under one budget, and prints it beside the paper's figures.

    Args:
        table: 2 to 9.
        recipe: the budget: a shipped recipe's name or a YAML file, whose network each row replaces by its own.
        data: a data set as `train` takes it; the recipe's if not given.
        seeds: of the runs, such as 0,1,2.
        folds: column of a .csv, such as fold: each of its values validates once, the others train.
        out: folder for the runs, the table (Markdown) and its plot; several tables of one recipe and data set share it.

    Raises:
        SmallBigError: no such table, recipe, data or column; a folder with runs of another recipe or data set.
    """
    if table not in map(str, TABLES):
        raise SmallBigError(f"Tables {TABLES[0]} to {TABLES[-1]} compare networks under one budget; name one of them", table)
    config = load_recipe(recipe, ["--data.train", data] if data else [])
    [rows_of] = find_tables(table)
    study = Study(rows_of, config, recipe, parse_seeds(seeds), folds, Path(out))
    study.read()
    for number, settings in enumerate(study.settings, 1):
        if study.runs[settings.run.dir].top1 is None:
            console.print(f"\nrun {number} of {len(study.settings)}: {settings.run.dir}")
            study.runs[settings.run.dir] = perform(study.runs[settings.run.dir], settings)
            study.publish()
    return study.publish()


def parse_seeds(text: str) -> list[int]:
    """Numbers of "0,1,2", each once."""
    try:
        return list(dict.fromkeys(int(seed) for seed in text.split(",")))
    except ValueError as error:
        raise SmallBigError("seeds are numbers, such as 0,1,2", text) from error


class Study:
    """The runs of a table, and what has come of them so far."""

    def __init__(self, table: Table, config: TrainConfig, recipe: str, seeds: list[int], column: str, out: Path):
        self.table, self.config, self.recipe, self.seeds, self.column, self.out = table, config, recipe, seeds, column, out
        self.folds = fold_values(config.data, column) if column else [""]
        # reading all of it first shows mistakes in the data before hours of training
        self.parts = [read_split(self._data(fold)) for fold in self.folds]
        networks = list(dict.fromkeys(row.networks[0] for row in table.rows))
        plan = [(network, seed, fold) for seed in seeds for fold in self.folds for network in networks]
        self.settings = [self._settings(*run) for run in plan]
        self.runs = {self._directory(*run): Run(self._directory(*run), *run[1:]) for run in plan}

    def _data(self, fold: str) -> DataSpec:
        return replace(self.config.data, select="", val_select=f"{self.column}={fold}") if fold else self.config.data

    def _directory(self, network: Network, seed: int, fold: str) -> str:
        name = f"{run_name(network)}-seed{seed}"
        return str(self.out / (f"{name}-{quote(self.column, safe='')}={quote(fold, safe='')}" if fold else name))

    def _settings(self, network: Network, seed: int, fold: str) -> TrainConfig:
        stages = list(network.stages) if network.stages else None
        model = replace(self.config.model, name=network.name, stages=stages)
        run = replace(self.config.run, seed=seed, dir=self._directory(network, seed, fold))
        return replace(self.config, model=model, data=self._data(fold), run=run)

    def read(self) -> None:
        """Reads the finished runs.

        Raises:
            SmallBigError: a run in the folder was made with other settings.
        """
        for directory in map(RunDirectory, sorted(self.out.glob("*"))):
            if directory.is_started:
                check_settings(directory, self.config, VARIES)
        for settings in self.settings:
            directory = RunDirectory(settings.run.dir)
            if directory.is_finished:
                check_settings(directory, settings)
                self.runs[settings.run.dir] = with_figures(self.runs[settings.run.dir], directory.report())
        console.print(f"{sum(run.top1 is not None for run in self.runs.values())} of {len(self.runs)} runs are finished")

    def publish(self) -> Ablation:
        """The table as it stands, also written as Markdown and plotted."""
        rows = [self._measure(row) for row in self.table.rows]
        pairs = [compare(first, second) for first, second in pairwise(rows)]
        files = [str(self.out / f"table{self.table.number}.{suffix}") for suffix in ("md", "png")]
        over = "folds" if len(self.seeds) == 1 and len(self.folds) > 1 else "seeds"
        title = f"Table {self.table.number}. {self.table.title}"
        result = Ablation(self.table.number, title, over, rows, pairs, self._how(), files)
        if os.environ.get("RANK", "0") == "0":  # of several processes one writes
            write_text(Path(files[0]), markdown(result))
            figures = {row.label: (float(row.paper["top1"]), [100 * v for v in row.values.values()]) for row in rows}
            plots.ablation(figures, title, over, Path(files[1]))
        return result

    def _measure(self, row: Row) -> RowResult:
        [network] = row.networks
        seen = replace(network, clip=(self.config.clip.clip_len, self.config.input.size))
        cost = seen.complexity(len(self.parts[0][0].classes), self.config.model.width)
        runs = [self.runs[self._directory(network, seed, fold)] for seed in self.seeds for fold in self.folds]
        return RowResult(row.label, dict(row.figures), cost.params, cost.macs, runs, values_of(runs, self.folds))

    def _how(self) -> dict[str, str]:
        sizes = sorted({(len(train_set), len(val_set)) for train_set, val_set in self.parts})
        machine = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads of torch"
        if torch.cuda.is_available() and self.config.run.device != "cpu":
            machine = f"{torch.cuda.get_device_name()}; {machine}"
        return {
            "recipe": self.recipe,
            "data": self.config.data.train,
            "videos": "; ".join(f"{to_train} to train, {to_test} to test" for to_train, to_test in sizes),
            "classes": str(len(self.parts[0][0].classes)),
            "always the same answer": f"{100 * fmean(map(most_frequent, self.parts)):.1f} %",
            "seeds": ", ".join(map(str, self.seeds)),
            "folds": f"{self.column} {', '.join(self.folds)}" if self.column else "none",
            "test": f"the last epoch's model, views {self.config.run.views}",
            "versions": f"smallbignet {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
            "machine": machine,
            "settings": yaml.safe_dump(fixed_settings(self.config), sort_keys=False, default_flow_style=None, width=120),
        }


def check_settings(directory: RunDirectory, config: TrainConfig, may_differ: Collection[str] = ()) -> None:
    """Raises an error if a run was made with other settings than `config`, apart from those that may differ."""
    if changed := [setting for setting in directory.changed_settings(config) if setting.split()[0] not in may_differ]:
        what = f"this run was made with other settings: {', '.join(changed)}; choose another --out"
        raise SmallBigError(what, directory.path)


def perform(run: Run, settings: TrainConfig) -> Run:
    """Trains and tests one run, from where it was interrupted; one that fails says why."""
    directory = RunDirectory(settings.run.dir)
    try:
        report = train(settings, resume=directory.is_started)
    except (SmallBigError, RuntimeError) as error:  # the others go on
        console.print(f"failed: {one_line(error)}")
        return replace(run, error=one_line(error))
    shutil.rmtree(directory.state, ignore_errors=True)  # twice the size of a model, and no longer needed
    return with_figures(run, report)


def with_figures(run: Run, report: TrainReport) -> Run:
    """A run with the figures of its report."""
    return replace(run, top1=report.test.top1, top5=report.test.top5, speed=report.clips_per_second)


def run_name(network: Network) -> str:
    """A name of depth and blocks: networks that are the same have the same, whatever a table calls them."""
    depth, own = NETWORKS[network.name]
    stages = network.stages or own
    return "-".join([f"r{depth}", *(stages[:1] if len(set(stages)) == 1 else stages)])


def fold_values(data: DataSpec, column: str) -> list[str]:
    """The values of a column of the data set, sorted.

    Raises:
        SmallBigError: no such column, or fewer than two values.
    """
    columns = read_annotations(data.train, data).columns
    if column not in columns:
        raise SmallBigError(f'no column "{column}" with folds (columns: {", ".join(columns) or "none"})', data.train)
    values = np.unique(columns[column]).tolist()
    if len(values) < 2:
        raise SmallBigError(f'folds take at least two values of "{column}"', data.train)
    return values


def most_frequent(parts: tuple[Annotations, Annotations]) -> float:
    """Share of the validation videos that have the most frequent label."""
    labels = parts[1].labels
    return float(np.bincount(labels).max() / len(labels))


def fixed_settings(config: TrainConfig) -> dict[str, Any]:
    """The settings that all runs share."""
    return {
        section: {key: value for key, value in values.items() if f"{section}.{key}" not in VARIES}
        for section, values in yaml.safe_load(config.to_yaml()).items()
    }


def show(ablation: Ablation) -> Group:
    """The table for people."""
    first, *others = headings(ablation)
    title = f"{ablation.title}: top-1 in percent, mean and standard deviation over {ablation.spread_over}"
    table = RichTable(first, title=title, title_justify="left")
    for name in others:
        table.add_column(name.replace(" ", "\n", 1), justify="right", no_wrap=True)
    for row in ablation.rows:
        table.add_row(*cells(row))
    return Group(table, *orderings(ablation), *ablation.errors(), f"written: {', '.join(ablation.files)}")
