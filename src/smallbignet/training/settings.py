"""The settings of a training run. A recipe is a YAML file with them; the command line changes them: --section.key value."""

from __future__ import annotations

import re
from argparse import SUPPRESS
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Literal

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from smallbignet.data.sampling import ClipSpec, Views
from smallbignet.data.split import DataSpec
from smallbignet.data.transforms import AugmentSpec, InputSpec
from smallbignet.errors import SmallBigError, did_you_mean


@dataclass(frozen=True)
class NetworkSpec:
    """The network.

    Attributes:
        name: one of the names that `smallbig models` lists.
        stages: other blocks for res2, res3, res4 and res5, such as [2d, full+avg, full+avg, full+avg].
        width: channels of the first convolution; 64 in the paper.
        drop_rate: share of the features that dropout sets to zero before the classifier.
        weights: what to start from: "imagenet" or "imagenet_v2" (torchvision's) or "timm/TAG" (a ResNet of timm's); a model or
            run directory, a published network's name, org/name on the hub or a checkpoint file, of this network or its 2-D
            parent; or nothing for random weights.
    """

    name: str = "smallbig_r50"
    stages: list[str] | None = None
    width: int = 64
    drop_rate: float = 0.5
    weights: str = ""


@dataclass(frozen=True)
class OptimSpec:
    """SGD and its schedule.

    Attributes:
        epochs: passes over the training videos.
        batch_size: clips per optimizer step, over all processes.
        accumulate: number of parts in which a batch is computed, one after the other; more parts need less memory.
        lr: highest learning rate.
        lr_base_size: batch size that `lr` is meant for. With another one the rate is changed in proportion; 0 means never.
        momentum: momentum of SGD.
        nesterov: whether the momentum is Nesterov's.
        weight_decay: weight decay of all parameters.
        schedule: "cosine", which falls to zero, or "step", which multiplies the rate by `gamma` at each of `milestones`.
        milestones: epochs at which the schedule "step" lowers the rate.
        gamma: factor of the schedule "step".
        warmup_epochs: epochs in which the rate rises linearly from zero.
        label_smoothing: share of the target that is spread evenly over all classes.
        clip_grad: largest norm of the gradient; 0 means no limit.
        freeze_bn: normalise with the statistics that the network starts with, as in a test.
        ema_decay: decay of an exponential moving average of the weights, which is then validated and kept instead of the
            weights; 0 means none. After n steps it is at most (1 + n) / (10 + n).
    """

    epochs: int = 30
    batch_size: int = 16
    accumulate: int = 1
    lr: float = 0.01
    lr_base_size: int = 0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    schedule: Literal["cosine", "step"] = "cosine"
    milestones: list[int] = field(default_factory=list)
    gamma: float = 0.1
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    clip_grad: float = 0.0
    freeze_bn: bool = False
    ema_decay: float = 0.0

    def __post_init__(self):
        for name in ("epochs", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise SmallBigError("must be at least 1", f"optim.{name} {getattr(self, name)}")
        for name in ("lr", "lr_base_size", "momentum", "weight_decay", "warmup_epochs", "clip_grad", "ema_decay"):
            if getattr(self, name) < 0:
                raise SmallBigError("must not be negative", f"optim.{name} {getattr(self, name)}")
        if self.nesterov and not self.momentum:
            raise SmallBigError("Nesterov's momentum needs an optim.momentum above 0", "optim.nesterov")


@dataclass(frozen=True)
class RunSpec:
    """Where and how the run takes place.

    Attributes:
        dir: the run directory, for settings, metrics, the best and the last model, and the state to resume from.
        seed: seed of the first weights, the batches, the crops and the dropout.
        device: "cpu" or "cuda"; if not given, a GPU if there is one.
        precision: "fp32", "bf16", or "fp16" (on a GPU, with gradient scaling).
        workers: processes that decode videos, for each training process; -1 means all cores but one.
        grad_checkpointing: compute each block again for the backward pass, which needs less memory and more time.
        channels_last: use the memory format channels_last_3d, which is up to 3 times as fast on a CPU, with the same results.
        save_steps: optimizer steps from one saved state to the next; a state is also saved after every epoch.
        val_epochs: epochs from one validation to the next; the last epoch always has one.
        val_views: clips x crops in a validation.
        views: clips x crops in the test that ends the run, and in later tests of the model.
        trackers: where metrics and settings are logged, besides metrics.jsonl, such as [wandb]; if not given, TensorBoard if
            it is installed.
    """

    dir: str = "runs/latest"
    seed: int = 0
    device: str = ""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    workers: int = -1
    grad_checkpointing: bool = False
    channels_last: bool = True
    save_steps: int = 500
    val_epochs: int = 1
    val_views: str = "1x1"
    views: str = "10x3"
    trackers: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] | None = None

    def __post_init__(self):
        Views.parse(self.val_views)
        Views.parse(self.views)
        for name in ("save_steps", "val_epochs"):
            if getattr(self, name) < 1:
                raise SmallBigError("must be at least 1", f"run.{name} {getattr(self, name)}")
        if self.seed < 0:
            raise SmallBigError("must not be negative", f"run.seed {self.seed}")
        if self.device not in ("", "cpu", "cuda"):
            what = "must be cpu or cuda; the environment variable CUDA_VISIBLE_DEVICES chooses among several GPUs"
            raise SmallBigError(what, f"run.device {self.device}")


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a training run."""

    model: NetworkSpec = field(default_factory=NetworkSpec)
    data: DataSpec = field(default_factory=DataSpec)
    clip: ClipSpec = field(default_factory=ClipSpec)
    input: InputSpec = field(default_factory=InputSpec)
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    optim: OptimSpec = field(default_factory=OptimSpec)
    run: RunSpec = field(default_factory=RunSpec)

    def to_yaml(self) -> str:
        """A recipe with these settings."""
        plain = asdict(self)
        plain["input"] = {key: list(v) if isinstance(v, tuple) else v for key, v in plain["input"].items()}
        return yaml.safe_dump(plain, sort_keys=False)


def add_settings(parser: ArgumentParser) -> None:
    """Adds all settings to a parser: --config RECIPE.yaml and --section.key value."""
    parser.add_argument("--base", help=SUPPRESS)  # a key of recipes, which `recipe_words` has already followed
    recipes = f"the recipe, which is named first: a YAML file, or a shipped recipe ({', '.join(shipped_recipes())})"
    parser.add_argument("--config", action="config", metavar="RECIPE", help=recipes)
    parser.add_class_arguments(TrainConfig, None)


def read_settings(values: Namespace) -> TrainConfig:
    """The settings from the values that such a parser has parsed and instantiated."""
    return TrainConfig(**{name: getattr(values, name) for name in TrainConfig.__dataclass_fields__})


def load_recipe(recipe: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """The settings of a recipe, some of them changed.

    Args:
        recipe: name of a shipped recipe, or path of a YAML file.
        overrides: words as on the command line: "--optim.lr", "0.01", ...

    Raises:
        SmallBigError: no such recipe or setting, or a value that doesn't fit.
    """
    parser = ArgumentParser(exit_on_error=False)
    add_settings(parser)
    try:
        return read_settings(parser.instantiate(parser.parse_args([*recipe_words(recipe), *overrides])))
    except ArgumentError as error:
        raise SmallBigError(explain(error, parser), recipe) from error


def explain(error: Exception, parser: ArgumentParser) -> str:
    """A parser's message in one line, with the probable name of an unknown option, or the help on a wrong value."""
    what = one_line(error)
    helps = {action.dest: action.help for action in parser._actions}
    unknown = r"unrecognized arguments: --([\w.]+)|Group '(.+)' does not accept option '(.+)'|Option '(.+)' is not accepted"
    if match := re.match(unknown, what):
        name = ".".join(filter(None, match.groups()))
        meant = [dest for dest in helps if dest.endswith(f".{name}")] or [name]  # perhaps its section was left out
        return f"unknown option {name}; {did_you_mean(meant[0], helps)}".rstrip("; ")
    if match := re.match(r'Parser key "(.+?)": (.+)', what):
        return f"{match[1]}: {match[2]}; its help: {helps.get(match[1])}"
    return what


def one_line(error: Exception) -> str:
    """An error's message without line breaks and without Python's names of types."""
    words = " ".join(str(error).split()).replace("a typing.Literal", "one of ").replace("<class 'float'>", "number")
    return re.sub(r"<class '(\w+)'>", r"\1", words)


def recipe_words(recipe: str) -> list[str]:
    """The words that give a recipe to a parser with all settings, after the recipes that it is based on.

    Raises:
        SmallBigError: no such recipe, a file that isn't a recipe, or recipes that are based on each other.
    """
    words: list[str] = []
    while recipe:
        path = recipe_path(recipe)
        if str(path) in words:
            raise SmallBigError("this recipe is based on itself; name another recipe as its base", path)
        words = ["--config", str(path), *words]
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            raise SmallBigError(f"not a recipe: {one_line(error)}", path) from error
        if not isinstance(content, dict):
            raise SmallBigError("not a recipe: expected sections such as model, data and optim", path)
        recipe = str(content.get("base") or "")
        if recipe and (beside := path.parent / recipe).is_file():
            recipe = str(beside)
    return words


def recipe_path(recipe: str) -> Path:
    """The YAML file of a recipe, which is given by its name or as that file."""
    shipped = Path(str(files("smallbignet"))) / "recipes" / f"{recipe}.yaml"
    for path in (Path(recipe), shipped):
        if path.is_file():
            return path
    hint = did_you_mean(recipe, shipped_recipes())
    raise SmallBigError(f"no such recipe; {hint}`smallbig train --help` lists the shipped ones; or give a YAML file", recipe)


def shipped_recipes() -> list[str]:
    """Names of the recipes in the package, sorted."""
    return sorted(path.stem for path in (Path(str(files("smallbignet"))) / "recipes").glob("*.yaml"))
