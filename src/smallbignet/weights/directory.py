"""A model directory: what people hand each other. `model.safetensors`, and `config.json` with all that predicting needs.

Nothing in it is ever unpickled.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from safetensors.torch import load_file, save_file

from smallbignet.data.sampling import ClipSpec, Views, ViewsText
from smallbignet.data.transforms import InputSpec, check_size
from smallbignet.errors import SmallBigError
from smallbignet.models.network import VideoNetwork
from smallbignet.models.zoo import build_model, check_clip_len, find_blocks, saved_stages, stages_to_save
from smallbignet.utils.checks import Length, Must, Range, check_fields, read_arguments
from smallbignet.utils.console import note
from smallbignet.utils.files import fresh_folder, install, write_text, writing
from smallbignet.weights.adapter import State

CONFIG, WEIGHTS = "config.json", "model.safetensors"
EXPORTED = {"onnx": "model.onnx", "openvino": "model.xml", "torch": "model.pt2"}  # the file of an exported network, by runtime
MOST_BYTES = 2**22  # of a config.json; 30,000 class names take a fifth of it

UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # control characters, and halves of characters
ClassName = Annotated[
    str, Must("a text without control characters", lambda name: bool(name.strip()) and not UNPRINTABLE.search(name))
]


@dataclass(frozen=True)
class ScoreSpec:
    """How a video's scores are made, and when they are too low to answer.

    Attributes:
        kind: "softmax", where a video has one label, or "sigmoid", where it may have several.
        temperature: that softens or sharpens a video's mean score over its views; see `inference.calibration.temper`.
        thresholds: one score for all classes, or one for each; an answer below it is "unknown". None where it is empty.
    """

    kind: Literal["softmax", "sigmoid"] = "softmax"
    temperature: Annotated[float, Range(ge=0.01, le=100)] = 1.0
    thresholds: Annotated[list[Annotated[float, Range(ge=0, le=1)]], Length(0, 30_000)] = field(default_factory=list)

    def threshold(self, label: int) -> float:
        """Return the threshold of a class; 0 where there is none."""
        if not self.thresholds:
            return 0.0
        return self.thresholds[label] if len(self.thresholds) > 1 else self.thresholds[0]


@dataclass(frozen=True)
class ExportSpec:
    """What an exported network needs to run.

    Attributes:
        runtime: the program that runs it: ONNX Runtime, OpenVINO or PyTorch.
        precision: of its weights and activations.
        versions: of the packages that wrote it.
    """

    runtime: Literal["onnx", "openvino", "torch"]
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    versions: Annotated[Mapping[str, str], Length(0, 100)] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelConfig:
    """What `config.json` holds.

    Attributes:
        network: the arguments of `create_model`: name, num_classes, and what differs from its defaults.
        classes: class names in the order of the logits.
        clip: how clips are taken from a video.
        input: frame sizes and normalisation.
        views: clips x crops of a test, such as "10x3".
        weights: where the weights came from: at least a "source".
        scores: how scores are made.
        export: the runtime of an exported network; None for a network with weights alone.
    """

    network: Annotated[dict[str, Any], Length(1, 100)]
    classes: Annotated[list[ClassName], Length(1, 30_000)]
    clip: ClipSpec = field(default_factory=ClipSpec)
    input: InputSpec = field(default_factory=InputSpec)
    views: ViewsText = "10x3"
    weights: Annotated[Mapping[str, str | float | bool | None], Length(0, 100)] = field(default_factory=dict)
    scores: ScoreSpec = field(default_factory=ScoreSpec)
    export: ExportSpec | None = None

    def __post_init__(self) -> None:
        check_fields(self, "")
        network = read_arguments(build_model, self.network, "network")
        if network.get("num_classes") != len(self.classes):
            given = network.get("num_classes")
            raise SmallBigError(f"network.num_classes must be {len(self.classes)}, the number of classes, not {given}")
        if repeated := [name for name, times in Counter(self.classes).items() if times > 1]:
            raise SmallBigError(f'classes must be different names, and "{repeated[0]}" is there twice')
        if len(self.scores.thresholds) not in (0, 1, len(self.classes)):
            given = len(self.scores.thresholds)
            raise SmallBigError(f"scores.thresholds must be one number, or one for each of the classes, and there are {given}")
        try:
            find_blocks(network["name"], network.get("stages"))
        except SmallBigError as error:
            raise SmallBigError(f"network: {error}") from error
        check_clip_len(network["name"], self.clip.clip_len)
        check_size(self.clip, self.input, Views.parse(self.views))

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Reads what `to_json` wrote.

        A key of the whole document that this version doesn't know, such as one of a later version, is ignored, with a note on
        standard error. Unknown keys in network, clip and input are errors, because they would change the scores.

        Raises:
            SmallBigError: the text is not such a configuration. Names the field, what is there and what is allowed.
        """
        try:
            values = json.loads(text, object_pairs_hook=_without_repetition)
        except RecursionError as error:
            raise SmallBigError("not a model's configuration: nested too deeply") from error
        except ValueError as error:
            raise SmallBigError(f"not a model's configuration: not JSON: {error}") from error
        if isinstance(values, dict) and (unknown := values.keys() - {field.name for field in fields(cls)}):
            _note_unknown(", ".join(map(repr, sorted(unknown)[:5]))[:200])
            values = {key: value for key, value in values.items() if key not in unknown}
        config = cls(**read_arguments(cls, values))
        return replace(config, network=_with_stages(config.network, saved_stages))

    def to_json(self) -> str:
        values = asdict(self)
        values["network"] = _with_stages(values["network"], stages_to_save)
        if self.export is None:  # versions before exports don't know this key
            del values["export"]
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _with_stages(network: dict[str, Any], spell: Callable[[Any], Any]) -> dict[str, Any]:
    """A network's arguments, with its stages, if it has any, in other words."""
    return network | {"stages": spell(network["stages"])} if network.get("stages") else network


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        [(key, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise SmallBigError(f"not a model's configuration: the key {key[:60]!r} is there twice")
    return values


@cache  # a verb reads the same file several times
def _note_unknown(keys: str) -> None:
    note(f"note: this version of smallbignet doesn't know these keys of {CONFIG} and ignores them: {keys}")


def save_model(model: VideoNetwork, config: ModelConfig, directory: str | Path) -> None:
    """Writes a model directory. One that is already there is replaced as a whole, so it is never half written."""
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    fresh = fresh_folder(Path(directory))
    with writing(Path(directory)):
        save_file(state, fresh / WEIGHTS, metadata={"format": "pt"})
        (fresh / CONFIG).write_text(config.to_json(), encoding="utf-8")
    install(fresh, Path(directory))


def write_config(config: ModelConfig, directory: Path) -> None:
    """Replaces the configuration of a model directory."""
    write_text(directory / CONFIG, config.to_json())


def local_directory(path: str | Path) -> Path | None:
    """Returns the model directory at a path: the path itself, its `best` if it is a run directory, or the folder of a
    `model.safetensors`; None if there is none."""
    given = Path(path)
    candidates = (given, given / "best", given.parent) if given.name == WEIGHTS else (given, given / "best")
    return next((directory for directory in candidates if (directory / CONFIG).is_file()), None)


def read_config(directory: Path) -> ModelConfig:
    """Reads a model directory's configuration.

    Raises:
        SmallBigError: the file is not a model's configuration, or can't be read.
    """
    file = directory / CONFIG
    try:
        if (size := file.stat().st_size) > MOST_BYTES:
            raise SmallBigError(f"it has {size:,} bytes, and a model's configuration has {MOST_BYTES:,} at most")
        return ModelConfig.from_json(file.read_text(encoding="utf-8-sig"))  # some editors write a byte order mark
    except UnicodeDecodeError as error:
        raise SmallBigError("not a model's configuration: not text in UTF-8", file) from error
    except OSError as error:
        raise SmallBigError(f"can't read a model's configuration: {error.strerror}", file) from error
    except SmallBigError as error:
        raise SmallBigError(str(error), file) from error


def read_state(directory: Path) -> State:
    """Reads a model directory's weights.

    Raises:
        SmallBigError: the file is missing or broken, or the network was exported to another runtime.
    """
    file = directory / WEIGHTS
    if (export := read_config(directory).export) and not file.exists():
        what = f"this network was exported to {export.runtime} and can't be used for this; give the model that it was made of"
        raise SmallBigError(what, directory)
    try:
        return load_file(file)
    except Exception as error:  # the library raises many kinds of errors for a broken file
        raise SmallBigError(f"can't read the weights: {' '.join(str(error).split())[:200]}", file) from error
