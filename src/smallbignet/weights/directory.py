"""A model directory: what people hand each other. `model.safetensors`, and `config.json` with all that predicting needs.

Nothing in it is ever unpickled.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from smallbignet.data.sampling import ClipSpec, Views
from smallbignet.data.transforms import InputSpec
from smallbignet.errors import SmallBigError
from smallbignet.models.network import VideoNetwork
from smallbignet.utils.files import fresh_folder, install, writing
from smallbignet.weights.adapter import State

CONFIG, WEIGHTS = "config.json", "model.safetensors"


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
    """

    network: dict[str, Any]
    classes: list[str]
    clip: ClipSpec = field(default_factory=ClipSpec)
    input: InputSpec = field(default_factory=InputSpec)
    views: str = "10x3"
    weights: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if self.network.get("num_classes") != len(self.classes):
            raise SmallBigError(f"{len(self.classes)} class names for {self.network.get('num_classes')} classes")
        Views.parse(self.views)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Reads what `to_json` wrote.

        Raises:
            SmallBigError: the text is not such a configuration.
        """
        try:
            values = json.loads(text)
            clip, frames = ClipSpec(**values.pop("clip", {})), values.pop("input", {})
            tuples: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in frames.items()}
            return cls(**values, clip=clip, input=InputSpec(**tuples))
        except (ValueError, TypeError, AttributeError) as error:
            raise SmallBigError(f"not a model's configuration: {error}") from error

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


def save_model(model: VideoNetwork, config: ModelConfig, directory: str | Path) -> None:
    """Writes a model directory. One that is already there is replaced as a whole, so it is never half written."""
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    fresh = fresh_folder(Path(directory))
    with writing(Path(directory)):
        save_file(state, fresh / WEIGHTS, metadata={"format": "pt"})
        (fresh / CONFIG).write_text(config.to_json(), encoding="utf-8")
    install(fresh, Path(directory))


def local_directory(path: str | Path) -> Path | None:
    """Returns the model directory at a path: the path itself, its `best` if it is a run directory, or the folder of a
    `model.safetensors`; None if there is none."""
    given = Path(path)
    candidates = (given, given / "best", given.parent) if given.name == WEIGHTS else (given, given / "best")
    return next((directory for directory in candidates if (directory / CONFIG).is_file()), None)


def read_config(directory: Path) -> ModelConfig:
    """Reads a model directory's configuration.

    Raises:
        SmallBigError: the file is not a model's configuration.
    """
    file = directory / CONFIG
    try:
        return ModelConfig.from_json(file.read_text(encoding="utf-8"))
    except SmallBigError as error:
        raise SmallBigError(error.what, file) from error


def read_state(directory: Path) -> State:
    """Reads a model directory's weights.

    Raises:
        SmallBigError: the file is missing or broken.
    """
    file = directory / WEIGHTS
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise SmallBigError(f"can't read the weights: {error}", file) from error
