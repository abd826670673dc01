"""How a row of the paper's tables is reproduced: the runs that train its networks, and the commands for them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from smallbignet.models.zoo import find_blocks
from smallbignet.paper.tables import Network, Row
from smallbignet.training.settings import TrainConfig, load_recipe

DATA = {"k400": "/data/kinetics400", "ssv1": "/data/something-v1", "ssv2": "/data/something-v2"}  # by the recipe's first word


@dataclass(frozen=True)
class PaperRun:
    """The training of one network of a row: a shipped recipe, with the row's blocks and clip in place of the recipe's own.

    Attributes:
        recipe: the shipped recipe.
        network: the row's network.
    """

    recipe: str
    network: Network

    @property
    def recipe_config(self) -> TrainConfig:
        """The settings of the recipe itself."""
        return _shipped(self.recipe)

    @property
    def stages(self) -> tuple[str, ...]:
        """The row's blocks, if the recipe has others."""
        model = self.recipe_config.model
        is_same = find_blocks(self.network.name, self.network.stages) == find_blocks(model.name, model.stages)
        return () if is_same else self.network.stages or ()

    @property
    def frames(self) -> int | None:
        """The row's number of frames, if the recipe has another one."""
        frames, _ = self.network.clip
        return None if frames == self.recipe_config.clip.clip_len else frames

    @property
    def changes(self) -> list[str]:
        """The words that change the recipe on the command line."""
        stages = ["--model.stages", f"[{', '.join(self.stages)}]"] if self.stages else []
        return stages + (["--clip.clip_len", str(self.frames)] if self.frames else [])

    @property
    def name(self) -> str:
        """The name of the run directory: the recipe's, and what is changed in it."""
        blocks = self.stages[:1] if len(set(self.stages)) == 1 else self.stages
        return "-".join([self.recipe, *blocks, *([f"{self.frames}f"] if self.frames else [])])

    def config(self, overrides: Sequence[str] = ()) -> TrainConfig:
        """The settings of the run; `overrides` are words as on the command line."""
        return load_recipe(self.recipe, [*self.changes, *overrides])

    def scores(self, views: str) -> str:
        """Where in the run directory the scores of a test with other views are kept."""
        return f"scores_{views}.npz"


def runs_of(row: Row, prefix: str) -> list[PaperRun]:
    """The runs that a row's accuracy comes from, one for each network; `prefix` is that of the columns, as in `Row.recipes`."""
    return [PaperRun(recipe, network) for recipe, network in zip(row.recipes[prefix], row.networks, strict=True)]


def list_commands(runs: Sequence[PaperRun], views: str, folder: str = "runs") -> list[str]:
    """The commands that train and test a row, one for each step.

    Args:
        views: clips x crops of the test; "" for the recipe's.
        folder: of the run directories.
    """
    train = [
        ["train", run.recipe, *run.changes, "--data.train", _data(run), "--run.dir", f"{folder}/{run.name}"] for run in runs
    ]
    if len(runs) == 1 and views in ("", runs[0].recipe_config.run.views):  # the test that ends the training is the row's
        return [_line(words) for words in train]
    files = [f"{folder}/{run.name}/{run.scores(views)}" for run in runs]
    test = [
        ["evaluate", f"{folder}/{run.name}/last", _data(run), "--views", views, "--scores", file]
        for run, file in zip(runs, files, strict=True)
    ]
    average = [["ensemble", *files]] if len(runs) > 1 else []
    return [_line(words) for words in (*train, *test, *average)]


@cache
def _shipped(recipe: str) -> TrainConfig:
    return load_recipe(recipe)


def _data(run: PaperRun) -> str:
    return DATA[run.recipe.partition("_")[0]]


def _line(words: Sequence[str]) -> str:
    return shlex.join(["smallbig", *words])
