"""`smallbig ablate`: trains and tests every network of one of the paper's tables under one budget, and compares with the paper.

A run is a network, a seed and a fold. Its directory is named after these and not after the table, so that several tables share
runs. Finished runs are read, and interrupted ones are resumed.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, product
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
from smallbignet.paper.ablation import (
    Ablation,
    RowResult,
    Run,
    cells,
    compare,
    headings,
    markdown,
    mean_and_spread,
    orderings,
    values_of,
)
from smallbignet.paper.tables import Network, Row, Table, find_tables
from smallbignet.report.page import write_page
from smallbignet.training.run_directory import RunDirectory, TrainReport
from smallbignet.training.settings import TrainConfig, load_recipe, one_line
from smallbignet.utils import plots
from smallbignet.utils.checks import Folder, checked
from smallbignet.utils.console import console
from smallbignet.utils.files import write_text
from smallbignet.version import __version__

TABLES = range(2, 10)  # these compare networks under one budget; Tables 10 and 11 compare with other people's networks
VARIES = ("model.name", "model.stages", "data.select", "data.val_select", "run.seed", "run.dir")  # settings that runs differ in


@checked
def ablate(
    table: str, *, recipe: str = "", data: str = "", seeds: str = "0,1,2", folds: str = "", out: Folder = "runs/ablate"
) -> Ablation:
    """Trains and tests every network of one of the paper's tables, and compares with the paper's figures.

    Args:
        table: number of the table, 2 to 9.
        recipe: the budget of all rows: a shipped recipe's name or a YAML file. Its network is replaced by that of each row. If
            not given, each row has its own recipe, with the paper's settings.
        data: a data set as `train` takes it; the recipe's if not given.
        seeds: seeds of the runs, such as 0,1,2.
        folds: column of a .csv file, such as fold. Each of its values is validated on once, while the others train.
        out: folder for the runs, the table (Markdown), its plot, and a page with all of it (table2.html, ...). Tables with the
            same recipe and data set can share it.

    Raises:
        SmallBigError: no such table, recipe, data or column; or a folder with runs of another recipe or data set.
    """
    if table not in map(str, TABLES):
        what = f"Tables {TABLES[0]} to {TABLES[-1]} compare networks under one budget; name one of them"
        raise SmallBigError(what, table)
    [rows_of] = find_tables(table)
    recipes = {row.networks[0]: recipe or row.recipes[""][0] for row in rows_of.rows}
    overrides = ["--data.train", data] if data else []
    configs = {name: load_recipe(name, overrides) for name in dict.fromkeys(recipes.values())}
    study = Study(rows_of, recipes, configs, parse_seeds(seeds), folds, Path(out))
    study.read_finished()
    for number, (directory, settings) in enumerate(study.settings.items(), 1):
        if study.runs[directory].top1 is None:
            console.print(f"\nrun {number} of {len(study.settings)}: {directory}")
            study.runs[directory] = perform(study.runs[directory], settings)
            study.publish()
    return study.publish()


def parse_seeds(text: str) -> list[int]:
    """The numbers of "0,1,2", each once.

    Raises:
        SmallBigError: something else than numbers.
    """
    try:
        return list(dict.fromkeys(int(seed) for seed in text.split(",")))
    except ValueError as error:
        raise SmallBigError("seeds are whole numbers with commas between them, such as 0,1,2", text) from error


class Study:
    """The runs of a table, and their results so far.

    Args:
        recipes: the name of the recipe of each network.
        configs: the settings of each recipe, which all have the same data.
        seeds: of the runs.
        column: with the folds; "" without folds.
        out: folder for the runs.

    Attributes:
        folds: values of the column with the folds; [""] without folds.
        parts: training and validation videos of each fold.
        settings: of each run, by its directory.
        runs: the results, by the directory of the run.

    Raises:
        SmallBigError: the data can't be read, or has no such column.
    """

    def __init__(
        self,
        table: Table,
        recipes: Mapping[Network, str],
        configs: Mapping[str, TrainConfig],
        seeds: list[int],
        column: str,
        out: Path,
    ):
        self.table = table
        self.recipes = recipes
        self.configs = configs
        self.data = next(iter(configs.values())).data
        self.seeds = seeds
        self.column = column
        self.out = out
        self.folds = fold_values(self.data, column) if column else [""]
        self.parts = [read_split(self._data(fold)) for fold in self.folds]  # so mistakes show before hours of training
        self.settings: dict[str, TrainConfig] = {}
        self.runs: dict[str, Run] = {}
        for seed, fold, network in product(seeds, self.folds, recipes):
            directory = self._directory(network, seed, fold)
            self.settings[directory] = self._settings(network, seed, fold)
            self.runs[directory] = Run(directory, seed, fold)

    def _data(self, fold: str) -> DataSpec:
        return replace(self.data, select="", val_select=f"{self.column}={fold}") if fold else self.data

    def _directory(self, network: Network, seed: int, fold: str) -> str:
        name = f"{run_name(network)}-seed{seed}"
        if fold:
            name += f"-{quote(self.column, safe='')}={quote(fold, safe='')}"
        return str(self.out / name)

    def _settings(self, network: Network, seed: int, fold: str) -> TrainConfig:
        stages: Any = list(network.stages) if network.stages else None
        config = self.configs[self.recipes[network]]
        model = replace(config.model, name=network.name, stages=stages)
        run = replace(config.run, seed=seed, dir=self._directory(network, seed, fold))
        return replace(config, model=model, data=self._data(fold), run=run)

    def read_finished(self) -> None:
        """Reads the results of the runs that are finished.

        Raises:
            SmallBigError: a run in the folder was made with other settings.
        """
        for directory in map(RunDirectory, sorted(self.out.glob("*"))):
            if directory.is_started:
                check_settings(directory, [*self.configs.values()], VARIES)
        for path, settings in self.settings.items():
            directory = RunDirectory(path)
            if directory.is_finished:
                check_settings(directory, [settings])
                self.runs[path] = with_figures(self.runs[path], directory.report())
        finished = sum(run.top1 is not None for run in self.runs.values())
        console.print(f"{finished} of {len(self.runs)} runs are finished")

    def publish(self) -> Ablation:
        """Writes the table with the results so far, as Markdown, as a plot and as a page, and returns it."""
        rows = [self._measure(row) for row in self.table.rows]
        pairs = [compare(first, second) for first, second in pairwise(rows)]
        text, picture, page = (self.out / f"table{self.table.number}.{suffix}" for suffix in ("md", "png", "html"))
        over = "folds" if len(self.seeds) == 1 and len(self.folds) > 1 else "seeds"
        title = f"Table {self.table.number}. {self.table.title}"
        result = Ablation(self.table.number, title, over, rows, pairs, self._how(), [str(text), str(picture), str(page)])
        if os.environ.get("RANK", "0") == "0":  # of several processes only the first writes
            write_text(text, markdown(result))
            figures = {row.label: (float(row.paper["top1"]), [100 * v for v in row.values.values()]) for row in rows}
            plots.ablation(figures, title, over, picture)
            write_ablation_page(result, page)
        return result

    def _measure(self, row: Row) -> RowResult:
        [network] = row.networks
        config = self.configs[self.recipes[network]]
        clip = (config.clip.clip_len, config.input.size)
        cost = replace(network, clip=clip).complexity(self._num_classes, config.model.width)
        runs = [self.runs[self._directory(network, seed, fold)] for seed, fold in product(self.seeds, self.folds)]
        return RowResult(row.label, dict(row.figures), cost.params, cost.macs, runs, values_of(runs, self.folds))

    @property
    def _num_classes(self) -> int:
        train_set, _ = self.parts[0]
        return len(train_set.classes)

    def _how(self) -> dict[str, str]:
        """How the results were obtained, for people who want to repeat them."""
        sizes = sorted({(len(train_set), len(val_set)) for train_set, val_set in self.parts})
        most_frequent = fmean(share_of_most_frequent(val_set) for _, val_set in self.parts)
        run = next(iter(self.configs.values())).run
        settings = shared_settings([*self.configs.values()])
        return {
            "recipe": ", ".join(self.configs) if len(self.configs) == 1 else f"each row's own: {', '.join(self.configs)}",
            "data": self.data.train,
            "videos": "; ".join(f"{to_train} to train, {to_test} to test" for to_train, to_test in sizes),
            "classes": str(self._num_classes),
            "accuracy of always naming the most frequent class": f"{100 * most_frequent:.1f} %",
            "seeds": ", ".join(map(str, self.seeds)),
            "folds": f"{self.column} {', '.join(self.folds)}" if self.column else "none",
            "test": f"the last epoch's model, views {run.views}",
            "versions": f"smallbignet {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
            "machine": describe_machine(run.device),
            "settings": yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=120),
        }


def write_ablation_page(result: Ablation, file: Path) -> None:
    """Writes a page with all results, which needs no other file."""
    runs = [run for row in result.rows for run in row.runs]
    rows = [shown_row(row) for row in result.rows]
    ours = [value for row in rows for value in (*row["ours"], *(row["interval"] or ()))]
    write_page(
        file,
        "ablation.html",
        found=result,
        finished=sum(run.top1 is not None for run in runs),
        runs=len(runs),
        rows=rows,
        paper_scale=scale([row["paper"] for row in rows]),
        scale=scale(ours) if ours else None,
        headings=headings(result),
        lines=[cells(row) for row in result.rows],
    )


def shown_row(row: RowResult) -> dict[str, Any]:
    """A row of the page's chart: top-1 from 0 to 1, the paper's and ours, with the mean and one deviation to either side."""
    mean, spread = mean_and_spread(row.values)
    interval = None if mean is None or spread is None else (mean - spread, mean + spread)
    values = list(row.values.values())
    return {"label": row.label, "paper": row.paper["top1"] / 100, "mean": mean, "interval": interval, "ours": values}


def scale(values: Sequence[float]) -> tuple[float, float]:
    """Both ends of a chart with room for all values, in steps of 0.05."""
    return 0.05 * math.floor(20 * min(values)), 0.05 * (math.floor(20 * max(values)) + 1)


def check_settings(directory: RunDirectory, configs: Sequence[TrainConfig], may_differ: Collection[str] = ()) -> None:
    """Makes sure that a run was made with the settings of one of `configs`, apart from those that may differ.

    Raises:
        SmallBigError: it was not.
    """
    differences = [
        [setting for setting in directory.changed_settings(config) if setting.split()[0] not in may_differ]
        for config in configs
    ]
    if changed := min(differences, key=len):
        what = f"this run was made with other settings: {', '.join(changed)}; choose another --out"
        raise SmallBigError(what, directory.path)


def perform(run: Run, settings: TrainConfig) -> Run:
    """Trains and tests one run, which is resumed if it was interrupted. A run that fails keeps the reason."""
    directory = RunDirectory(settings.run.dir)
    try:
        report = train(settings, resume=directory.is_started)
    except (SmallBigError, RuntimeError) as error:  # the other runs go on
        console.print(f"failed: {one_line(error)}")
        return replace(run, error=one_line(error))
    shutil.rmtree(directory.state, ignore_errors=True)  # twice the size of a model, and no longer needed
    return with_figures(run, report)


def with_figures(run: Run, report: TrainReport) -> Run:
    """A run with the figures of its report."""
    return replace(run, top1=report.test.top1, top5=report.test.top5, speed=report.clips_per_second)


def run_name(network: Network) -> str:
    """A name made of depth and blocks, the same for networks that are the same, whatever the tables call them."""
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
        raise SmallBigError(f'folds need at least two different values in the column "{column}"', data.train)
    return values


def share_of_most_frequent(annotations: Annotations) -> float:
    """Share of the videos that have the most frequent label, 0 to 1."""
    return float(annotations.counts().max() / len(annotations))


def describe_machine(device: str) -> str:
    """The machine that the runs used, in words."""
    cpu = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads of torch"
    on_gpu = torch.cuda.is_available() and device != "cpu"
    return f"{torch.cuda.get_device_name()}; {cpu}" if on_gpu else cpu


def shared_settings(configs: Sequence[TrainConfig]) -> dict[str, Any]:
    """The settings that all runs share, by section and key."""
    first, *others = (yaml.safe_load(config.to_yaml()) for config in configs)
    return {
        section: {
            key: value
            for key, value in values.items()
            if f"{section}.{key}" not in VARIES and all(other[section][key] == value for other in others)
        }
        for section, values in first.items()
    }


def show(ablation: Ablation) -> Group:
    """The table for people, with a line on each pair of neighbours."""
    first, *others = headings(ablation)
    title = f"{ablation.title}: top-1 in percent, mean and standard deviation over {ablation.spread_over}"
    table = RichTable(first, title=title, title_justify="left")
    for name in others:
        table.add_column(name.replace(" ", "\n", 1), justify="right", no_wrap=True)
    for row in ablation.rows:
        table.add_row(*cells(row))
    return Group(table, *orderings(ablation), *ablation.errors(), f"written: {', '.join(ablation.files)}")
