"""The settings of a training run, as a recipe (YAML) writes them and the command line overrides them: --section.key value."""

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
        name: one of those that `smallbig models` lists.
        stages: other blocks for res2, res3, res4 and res5, such as [2d, full+avg, full+avg, full+avg].
        width: channels of the first convolution; 64 is the paper's.
        drop_rate: dropout in front of the classifier.
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
        batch_size: clips an optimizer step, over all processes and accumulated parts.
        accumulate: parts that a batch is computed in, to save memory.
        lr: learning rate at its highest.
        lr_base_size: the batch size that `lr` is meant for: with another one, it changes in proportion; 0 for never.
        momentum: of SGD.
        nesterov: Nesterov's momentum.
        weight_decay: on all parameters.
        schedule: "cosine" to zero, or "step": times `gamma` at each of `milestones`.
        milestones: epochs.
        gamma: factor of a step.
        warmup_epochs: of linear rise from zero.
        label_smoothing: share of the target spread over all classes.
        clip_grad: largest norm of the gradient; 0 for no limit.
        freeze_bn: normalise with the statistics that the network starts with, as in a test.
        ema_decay: of an exponential moving average of the weights, which is then what is validated and kept; 0 for none.
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
            raise SmallBigError("Nesterov's momentum needs a momentum", "optim.nesterov")


@dataclass(frozen=True)
class RunSpec:
    """Where and how it runs.

    Attributes:
        dir: the run directory: settings, metrics, the best and the last model, the state to resume from.
        seed: of the weights, the batches, the crops and the dropout.
        device: "cpu", "cuda"; a GPU where there is one if not given.
        precision: "fp32", "bf16" or "fp16" (a GPU's, with gradient scaling).
        workers: processes that decode, a training process; -1 takes all cores but one.
        grad_checkpointing: compute each block again for the backward pass: less memory, more time.
        channels_last: channels_last_3d memory format: up to 3 times as fast on a processor, the same answers.
        save_steps: optimizer steps between two states to resume from; one is saved after every epoch besides.
        val_epochs: epochs from one validation to the next; the last epoch has one in any case.
        val_views: clips x crops of a validation.
        views: clips x crops of the test that ends the run, and of the model directory's tests.
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
        if self.save_steps < 1 or self.val_epochs < 1 or self.seed < 0:
            where = f"run.save_steps {self.save_steps}, run.val_epochs {self.val_epochs}, run.seed {self.seed}"
            raise SmallBigError("save_steps and val_epochs must be at least 1, and a seed not negative", where)
        if self.device not in ("", "cpu", "cuda"):
            raise SmallBigError("cpu or cuda; CUDA_VISIBLE_DEVICES chooses among GPUs", f"run.device {self.device}")


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
        """A recipe that says the same."""
        plain = asdict(self)
        plain["input"] = {key: list(v) if isinstance(v, tuple) else v for key, v in plain["input"].items()}
        return yaml.safe_dump(plain, sort_keys=False)


def add_settings(parser: ArgumentParser) -> None:
    """Gives a parser all settings: --config RECIPE.yaml, then --section.key value."""
    parser.add_argument("--base", help=SUPPRESS)  # a recipe's first key, which `recipe_words` has followed
    recipes = f"RECIPE, named first: a YAML file, or a shipped one ({', '.join(shipped_recipes())})"
    parser.add_argument("--config", action="config", metavar="RECIPE", help=recipes)
    parser.add_class_arguments(TrainConfig, None)


def read_settings(values: Namespace) -> TrainConfig:
    """The settings among what such a parser has parsed and instantiated."""
    return TrainConfig(**{name: getattr(values, name) for name in TrainConfig.__dataclass_fields__})


def load_recipe(recipe: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """The settings of a recipe, with some of them changed.

    Args:
        recipe: a shipped recipe's name, or a YAML file.
        overrides: as on the command line: "--optim.lr", "0.01", ...

    Raises:
        SmallBigError: no such recipe or setting, or a value of another kind.
    """
    parser = ArgumentParser(exit_on_error=False)
    add_settings(parser)
    try:
        return read_settings(parser.instantiate(parser.parse_args([*recipe_words(recipe), *overrides])))
    except ArgumentError as error:
        raise SmallBigError(explain(error, parser), recipe) from error


def explain(error: Exception, parser: ArgumentParser) -> str:
    """A parser's message in one line: what may have been meant by an unknown option, the help on one of a wrong value."""
    what, helps = one_line(error), {action.dest: action.help for action in parser._actions}
    unknown = r"unrecognized arguments: --([\w.]+)|Group '(.+)' does not accept option '(.+)'|Option '(.+)' is not accepted"
    if match := re.match(unknown, what):
        name = ".".join(filter(None, match.groups()))
        meant = [dest for dest in helps if dest.endswith(f".{name}")] or [name]  # a section was left out
        return f"unknown option {name}; {did_you_mean(meant[0], helps)}".rstrip("; ")
    if match := re.match(r'Parser key "(.+?)": (.+)', what):
        return f"{match[1]}: {match[2]}; its help: {helps.get(match[1])}"
    return what


def one_line(error: Exception) -> str:
    """A parser's message without its line breaks and Python's type names."""
    words = " ".join(str(error).split()).replace("a typing.Literal", "one of ").replace("<class 'float'>", "number")
    return re.sub(r"<class '(\w+)'>", r"\1", words)


def recipe_words(recipe: str) -> list[str]:
    """A recipe as words for a parser with all settings, behind those that it names as its base.

    Raises:
        SmallBigError: no such recipe, a file that isn't one, or recipes that are each other's base.
    """
    words: list[str] = []
    while recipe:
        path = recipe_path(recipe)
        if str(path) in words:
            raise SmallBigError("this recipe is its own base", path)
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
    """The YAML file of a shipped recipe's name, or the file itself."""
    shipped = Path(str(files("smallbignet"))) / "recipes" / f"{recipe}.yaml"
    for path in (Path(recipe), shipped):
        if path.is_file():
            return path
    hint = did_you_mean(recipe, shipped_recipes())
    raise SmallBigError(f"no such recipe; {hint}`smallbig train --help` lists those shipped; or give a YAML file", recipe)


def shipped_recipes() -> list[str]:
    """Names of the recipes in the package."""
    return sorted(path.stem for path in (Path(str(files("smallbignet"))) / "recipes").glob("*.yaml"))
