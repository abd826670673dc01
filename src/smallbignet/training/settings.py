"""The settings of a training run. A recipe is a YAML file with them; the command line changes them: --section.key value."""

from __future__ import annotations

import json
import re
from argparse import SUPPRESS
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any, Literal, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from smallbignet.data.sampling import ClipSpec, Views, ViewsText
from smallbignet.data.split import DataSpec
from smallbignet.data.transforms import AugmentSpec, InputSpec, check_size
from smallbignet.errors import SmallBigError, did_you_mean
from smallbignet.models.zoo import DropRate, Width, check_clip_len, find_blocks, saved_stages, stages_to_save
from smallbignet.training.auto import choose, to_recipe
from smallbignet.training.facts import find_facts
from smallbignet.utils.checks import NON_EMPTY, Must, Range, Seed, WorkersOrAll, check_fields, described, read_as
from smallbignet.utils.console import note

AUTO = "auto"  # in place of a recipe's name
MOST_BYTES = 2**15  # of a recipe; reading one of a megabyte takes minutes
MOST_LEVELS = 20  # of nesting in a recipe
OPENING = (yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken, yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken)
CLOSING = (yaml.BlockEndToken, yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
MOST_ALIASES = 20  # of a recipe; ever more aliases of aliases would fill the memory
DEVICE = Must("cpu or cuda, where CUDA_VISIBLE_DEVICES chooses among GPUs", ("", "cpu", "cuda").__contains__)


@dataclass(frozen=True)
class NetworkSpec:
    """The network.

    Attributes:
        name: one of the names that `smallbig models` lists, or timm/NAME, any CNN of timm.
        stages: other blocks for res2, res3, res4 and res5, such as [2d, full, full, full]. A list in place of one of them has
            the blocks of that stage in order, and is repeated, such as [2d, full] for every second block.
        width: channels of the first convolution; 64 in the paper.
        drop_rate: share of the features that dropout sets to zero before the classifier.
        weights: what to start from: "imagenet" or "imagenet_v2" (torchvision's, or for timm/NAME timm's) or "timm/NAME.TAG";
            a model or run directory, a published network's name, org/name on the hub or a checkpoint file, of this network or
            its 2-D parent; or nothing for random weights.
        zero_init_residual: where weights are random, the last normalisation of each block of our own networks starts with a
            scale of zero, so that the block starts by returning its shortcut (P. Goyal et al., "Accurate, Large Minibatch SGD",
            2017).
        freeze: the last stage that is not trained: stem, res2, res3, res4 or res5. The stages up to it keep the weights and the
            statistics that they start with, which takes less time and memory.
    """

    name: str = "smallbig_r50"
    stages: list[str | list[str]] | None = None
    width: Width = 64
    drop_rate: DropRate = 0.5
    weights: str = ""
    zero_init_residual: bool = False
    freeze: Literal["", "stem", "res2", "res3", "res4", "res5"] = ""

    def __post_init__(self) -> None:
        check_fields(self, "model")
        try:
            find_blocks(self.name, self.stages)
        except SmallBigError as error:
            raise SmallBigError(f"model: {error}") from error
        object.__setattr__(self, "stages", stages_to_save(self.stages))


@dataclass(frozen=True)
class OptimSpec:
    """The optimizer and its schedule.

    Attributes:
        name: "sgd", or "adamw", which wants a lower rate, such as 0.0005, and a higher weight decay, such as 0.05.
        epochs: passes over the training videos.
        batch_size: clips per optimizer step, over all processes.
        accumulate: number of parts in which a batch is computed, one after the other; more parts need less memory.
        lr: highest learning rate.
        backbone_lr: factor of the rate of the layers that weights are loaded into, from 0 to 1. The classifier, the big views,
            the extra units and the non-local blocks have the full rate.
        lr_base_size: batch size that `lr` is meant for. With another one the rate is changed in proportion; 0 means never.
        momentum: momentum of SGD.
        nesterov: whether SGD's momentum is Nesterov's.
        weight_decay: weight decay of all parameters.
        decay_norms: whether the weight decay applies to the scales and shifts of batch normalisations, too.
        schedule: "cosine", which falls to zero, or "step", which multiplies the rate by `gamma` at each of `milestones`.
        milestones: epochs at which the schedule "step" lowers the rate.
        gamma: factor of the schedule "step".
        warmup_epochs: epochs in which the rate rises linearly from zero.
        label_smoothing: share of the target that is spread evenly over all classes.
        clip_grad: largest norm of the gradient; 0 means no limit.
        freeze_bn: normalise with the statistics that the network starts with, as in a test.
        ema_decay: decay of an exponential moving average of the weights, which is then validated and kept instead of the
            weights; 0 means none. After n steps it is at most (1 + n) / (10 + n).
        patience: epochs without a better validation, in top-1 or in loss, after which the run ends; 0 means never.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    epochs: Annotated[int, Range(ge=1, le=100_000)] = 30
    batch_size: Annotated[int, Range(ge=1, le=1_000_000)] = 16
    accumulate: Annotated[int, Range(ge=1, le=10_000)] = 1
    lr: Annotated[float, Range(ge=0, le=1000)] = 0.01
    backbone_lr: Annotated[float, Range(ge=0, le=1)] = 1.0
    lr_base_size: Annotated[int, Range(ge=0, le=1_000_000)] = 0
    momentum: Annotated[float, Range(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Range(ge=0, le=100)] = 1e-4
    decay_norms: bool = True
    schedule: Literal["cosine", "step"] = "cosine"
    milestones: list[Annotated[int, Range(ge=0, le=100_000)]] = field(default_factory=list)
    gamma: Annotated[float, Range(ge=0, le=1)] = 0.1
    warmup_epochs: Annotated[float, Range(ge=0, le=100_000)] = 0.0
    label_smoothing: Annotated[float, Range(ge=0, lt=1)] = 0.0
    clip_grad: Annotated[float, Range(ge=0, le=1_000_000)] = 0.0
    freeze_bn: bool = False
    ema_decay: Annotated[float, Range(ge=0, lt=1)] = 0.0
    patience: Annotated[int, Range(ge=0, le=100_000)] = 0

    def __post_init__(self) -> None:
        check_fields(self, "optim")
        if self.nesterov and not self.momentum:
            raise SmallBigError("Nesterov's momentum needs an optim.momentum above 0", "optim.nesterov")


@dataclass(frozen=True)
class RunSpec:
    """Where and how the run takes place.

    Attributes:
        dir: the run directory, for settings, metrics, the best and the last model, and the state to resume from.
        seed: seed of the first weights, the batches, the crops and the dropout.
        device: "cpu" or "cuda"; if not given, a GPU if there is one.
        wanted_precision: share of right answers, at which the threshold for "unknown" is fitted on the validation videos.
        precision: "fp32", "bf16", "auto" (bf16 where the device has instructions for it, else fp32), or "fp16" (on a GPU, with
            gradient scaling).
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

    dir: Annotated[str, NON_EMPTY] = "runs/latest"
    seed: Seed = 0
    device: Annotated[str, DEVICE] = ""
    precision: Literal["fp32", "bf16", "fp16", "auto"] = "fp32"
    workers: WorkersOrAll = -1
    wanted_precision: Annotated[float, Range(ge=0.5, le=0.999)] = 0.9
    grad_checkpointing: bool = False
    channels_last: bool = True
    save_steps: Annotated[int, Range(ge=1, le=1_000_000)] = 500
    val_epochs: Annotated[int, Range(ge=1, le=100_000)] = 1
    val_views: ViewsText = "1x1"
    views: ViewsText = "10x3"
    trackers: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] | None = None

    def __post_init__(self) -> None:
        check_fields(self, "run")


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

    def __post_init__(self) -> None:
        check_clip_len(self.model.name, self.clip.clip_len)
        for views in (self.run.val_views, self.run.views):
            check_size(self.clip, self.input, Views.parse(views))

    def to_yaml(self) -> str:
        """A recipe with these settings."""
        plain = asdict(self)
        plain["input"] = {key: list(v) if isinstance(v, tuple) else v for key, v in plain["input"].items()}
        return yaml.safe_dump(plain, sort_keys=False)


def add_settings(parser: ArgumentParser) -> None:
    """Adds all settings to a parser: --config RECIPE.yaml and --section.key value."""
    parser.add_argument("--base", help=SUPPRESS)  # a key of recipes, which `recipe_words` has already followed
    shipped = ", ".join(shipped_recipes())
    recipes = (
        f"the recipe, which is named first: auto, which is chosen for your videos; a YAML file; or a shipped one ({shipped})"
    )
    parser.add_argument("--config", action="config", metavar="RECIPE", help=recipes)
    parser.add_class_arguments(TrainConfig, None)


def read_settings(values: Namespace) -> TrainConfig:
    """The settings from the values that such a parser has parsed and instantiated."""
    return TrainConfig(**{name: getattr(values, name) for name in TrainConfig.__dataclass_fields__})


def load_recipe(recipe: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """The settings of a recipe, some of them changed.

    Args:
        recipe: name of a shipped recipe, path of a YAML file, or "auto", which is chosen for the videos of `data.train`.
        overrides: words as on the command line: "--optim.lr", "0.01", ...

    Raises:
        SmallBigError: no such recipe or setting, or a value that doesn't fit.
    """
    parser = ArgumentParser(exit_on_error=False)
    add_settings(parser)
    before = [] if recipe == AUTO else recipe_words(recipe)
    try:
        if recipe == AUTO:
            before = auto_words(read_settings(parser.instantiate(parser.parse_args(list(overrides)))))
        return read_settings(parser.instantiate(parser.parse_args([*before, *overrides])))
    except (ArgumentError, TypeError, ValueError) as error:
        raise SmallBigError(explain(error, parser, get_type_hints(TrainConfig)), recipe) from error
    except SmallBigError as error:
        raise SmallBigError(error.what, error.where or recipe) from error


def explain(error: Exception, parser: ArgumentParser, hints: Mapping[str, Any]) -> str:
    """A parser's message in one line, with the probable name of an unknown option, or what is allowed for a wrong value.

    Args:
        hints: types of the options, and of the dataclasses that options with dots in their names are fields of.
    """
    what = one_line(error)
    known = [action.dest for action in parser._actions]
    unknown = r"unrecognized arguments: --([\w.]+)|Group '(.+)' does not accept option '(.+)'|Option '(.+)' is not accepted"
    if match := re.match(unknown, what):
        name = ".".join(filter(None, match.groups()))
        meant = [dest for dest in known if dest.endswith(f".{name}")] or [name]  # perhaps its section was left out
        return f"unknown option {name}; {did_you_mean(meant[0], known)}".rstrip("; ")
    if match := re.match(r'Parser key "([\w.]+)":(.*(Got|Given) value: ?(.*))?', what):
        given = f", not {shorten(match[4] or 'empty', 100)}" if match[2] else ""
        return f"{match[1]} must be {described(_find_hint(hints, match[1]))}{given}"
    return what


def _find_hint(hints: Mapping[str, Any], name: str) -> Any:
    section, _, field_name = name.partition(".")
    hint = hints[section]
    return get_type_hints(hint, include_extras=True)[field_name] if field_name else hint


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
        content = _read_recipe(path)
        words = ["--config", str(path), *_stages_saved_before(path, content), *words]
        try:
            recipe = read_as(str, content.get("base") or "", "base")
            recipe = str(recipe_path(str(path.parent / recipe), recipe)) if recipe else ""
        except SmallBigError as error:
            raise SmallBigError(error.what if error.what.startswith("base") else f"base: {error}", path) from error
    return words


def auto_words(config: TrainConfig) -> list[str]:
    """The words for the recipe that is chosen for the videos and the device of some settings; prints the recipe."""
    facts = find_facts(config.data, config.run.device)
    text = to_recipe(facts, choose(facts))
    note(text.rstrip())
    return ["--config", text]


def _stages_saved_before(path: Path, content: dict[str, Any]) -> list[str]:
    """The words for the stages of a run's config.yaml with "+avg", which has had another meaning since: see `saved_stages`.

    A recipe is such a file if it has all sections. People write only those that they change, in today's words.
    """
    model = content.get("model")
    stages = model.get("stages") if isinstance(model, dict) else None
    if not isinstance(stages, list) or not all(isinstance(stage, str) for stage in stages) or stages_to_save(stages) == stages:
        return []
    if content.keys() >= TrainConfig.__dataclass_fields__.keys():
        return ["--model.stages", json.dumps(saved_stages(stages))]
    _note_average(path)
    return []


@cache  # a recipe is read several times
def _note_average(path: Path) -> None:
    note(f"note: since version 0.1.0, +avg averages in the extra unit, too; +avgviews is what it was before ({path})")


def _read_recipe(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SmallBigError(f"not a recipe: it has more than {MOST_BYTES:,} bytes", path)
        text = path.read_text(encoding="utf-8-sig")
        _check_tokens(text, path)
        content = yaml.safe_load(text)
    except (UnicodeDecodeError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise SmallBigError(f"not a recipe: {one_line(error)}", path) from error
    if not isinstance(content, dict):
        raise SmallBigError("not a recipe: expected sections such as model, data and optim", path)
    for section, hint in get_type_hints(TrainConfig).items():
        if not isinstance(content.get(section, {}), dict):
            given = "nothing" if content[section] is None else shorten(repr(content[section]), 100)
            raise SmallBigError(f"{section} must be {described(hint)}, not {given}", path)
    return content


def _check_tokens(text: str, path: Path) -> None:
    """Refuses YAML that would take all memory, by aliases of aliases, or hours, by nesting."""
    aliases = depth = 0
    for token in yaml.scan(text):
        aliases += isinstance(token, yaml.AliasToken)
        depth += isinstance(token, OPENING) - isinstance(token, CLOSING)
        if aliases > MOST_ALIASES:
            raise SmallBigError(f"not a recipe: it has more than {MOST_ALIASES} aliases (*name)", path)
        if depth > MOST_LEVELS:
            raise SmallBigError(f"not a recipe: it is nested more than {MOST_LEVELS} levels deep", path)


def recipe_path(*recipes: str) -> Path:
    """The YAML file of a recipe, which is given by its name or as that file; the first that exists of several."""
    recipe = recipes[-1]
    for path in (*map(Path, recipes), Path(str(files("smallbignet"))) / "recipes" / f"{recipe}.yaml"):
        if path.is_file():
            return path
    hint = did_you_mean(recipe, shipped_recipes())
    raise SmallBigError(f"no such recipe; {hint}`smallbig train --help` lists the shipped ones; or give a YAML file", recipe)


def shipped_recipes() -> list[str]:
    """Names of the recipes in the package, sorted."""
    return sorted(path.stem for path in (Path(str(files("smallbignet"))) / "recipes").glob("*.yaml"))
