"""A model directory: what people hand each other. `model.safetensors`, and `config.json` with all that predicting needs.

Nothing in it is ever unpickled.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from smallbignet.data.sampling import ClipSpec, Views
from smallbignet.data.transforms import InputSpec
from smallbignet.errors import SmallBigError, did_you_mean
from smallbignet.models.network import VideoNetwork
from smallbignet.models.zoo import create_model
from smallbignet.utils.files import fresh_folder, install
from smallbignet.weights.adapter import load_exact

CONFIG, WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class ModelConfig:
    """What `config.json` says of a model.

    Attributes:
        network: arguments of `create_model`: name, num_classes, and what differs from its defaults.
        classes: class names in the order of the logits.
        clip: how clips are taken from a video.
        input: frame sizes and normalisation.
        views: of a test, clips x crops, such as "10x3".
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
            SmallBigError: it isn't such a text.
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
    """Writes a model directory; one that is there is replaced as a whole, never left half written."""
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    fresh = fresh_folder(Path(directory))
    save_file(state, fresh / WEIGHTS, metadata={"format": "pt"})
    (fresh / CONFIG).write_text(config.to_json(), encoding="utf-8")
    install(fresh, Path(directory))


def load_model(source: str | Path, device: str | torch.device = "cpu") -> VideoNetwork:
    """The network of a model directory, in eval mode and channels_last_3d.

    Args:
        source: a model directory; a run directory, whose best model is taken; a published network's name, such as
            "slow_r50" (`weights.published`); or "org/name" on the Hugging Face hub. The last two are downloaded, then cached.

    Raises:
        SmallBigError: no such model, or files that are missing or don't fit each other.
        WorkError: the download failed.
    """
    directory = find_model(source)
    model = create_model(**load_config(directory).network)
    try:
        state = load_file(directory / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise SmallBigError(f"can't read the weights: {error}", directory / WEIGHTS) from error
    load_exact(model, state, directory / WEIGHTS)
    return model.to(device).to(memory_format=torch.channels_last_3d).eval()


def load_config(source: str | Path) -> ModelConfig:
    """The configuration of a model directory; sources and errors as of `load_model`."""
    file = find_model(source) / CONFIG
    try:
        return ModelConfig.from_json(file.read_text(encoding="utf-8"))
    except SmallBigError as error:
        raise SmallBigError(error.what, file) from error


def find_model(source: str | Path) -> Path:
    """The model directory that `source` names; sources and errors as of `load_model`."""
    for directory in (Path(source), Path(source, "best")):
        if (directory / CONFIG).is_file():
            return directory
    from smallbignet.weights.published import PUBLISHED, fetch  # which needs this module

    name = str(source)
    if name in PUBLISHED:
        return fetch(name)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not Path(source).parent.exists():  # else a path was meant
        from smallbignet.weights.hub import download_model

        return download_model(name)
    what = f"expected a folder with {CONFIG} and {WEIGHTS}, org/name on the hub, or one of {', '.join(PUBLISHED)}"
    raise SmallBigError(f"no model here: {did_you_mean(name, PUBLISHED)}{what}", source)
