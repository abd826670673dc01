"""`smallbig convert`: a published checkpoint into a model directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from smallbignet.errors import SmallBigError
from smallbignet.models.directory import ModelConfig, save_model
from smallbignet.weights.adapter import read_checkpoint
from smallbignet.weights.official import from_official

SOURCES = {"official": from_official}


@dataclass(frozen=True)
class Conversion:
    """A model directory that was made."""

    directory: str
    network: dict
    tensors: int


def convert(
    file: str, directory: str, *, source: Literal["official"] = "official", network: str, classes: str = ""
) -> Conversion:
    """Makes a model directory of a published checkpoint, every key accounted for.

    Args:
        file: .pth or .safetensors, with or without a state_dict wrapper and module. prefixes; it is never unpickled.
        directory: to write.
        source: whose key layout it has: official, the paper's authors'.
        network: the checkpoint's network, by its source's name (such as smallbig50_extra) or ours.
        classes: file with one class name a line; numbers if not given.

    Raises:
        SmallBigError: names what is missing, unexpected or of another shape.
    """
    state = read_checkpoint(file)
    model, how = SOURCES[source](state, network, file)
    names = Path(classes).read_text(encoding="utf-8").splitlines() if classes else list(map(str, range(model.num_classes)))
    if len(names) != model.num_classes:
        raise SmallBigError(f"{len(names)} class names for {model.num_classes} classes", classes)
    config = ModelConfig(how, names, weights={"source": source, "network": network, "file": Path(file).name})
    save_model(model, config, directory)
    return Conversion(directory, how, len(state))


def show(result: Conversion) -> str:
    """One line."""
    blocks = f" with blocks {', '.join(result.network['stages'])}" if result.network["stages"] else ""
    return f"{result.directory}: {result.network['name']}{blocks}, all {result.tensors} tensors of the checkpoint placed"
