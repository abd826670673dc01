"""`smallbig convert`: a published checkpoint into a model directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from smallbignet.data.annotations import read_classes
from smallbignet.data.sampling import ClipSpec
from smallbignet.errors import SmallBigError
from smallbignet.weights import pytorchvideo
from smallbignet.weights.adapter import read_checkpoint
from smallbignet.weights.directory import CONFIG, WEIGHTS, ModelConfig, save_model
from smallbignet.weights.mmaction2 import from_mmaction2
from smallbignet.weights.official import from_official
from smallbignet.weights.tsm import from_tsm

SOURCES = {
    "official": from_official,
    "pytorchvideo": pytorchvideo.from_pytorchvideo,
    "mmaction2": from_mmaction2,
    "tsm": from_tsm,
}


@dataclass(frozen=True)
class Conversion:
    """A model directory that was made."""

    directory: str
    network: dict
    tensors: int


def convert(
    file: str,
    directory: str,
    *,
    source: Literal["official", "pytorchvideo", "mmaction2", "tsm"] = "official",
    network: str,
    classes: str = "",
) -> Conversion:
    """Makes a model directory of a published checkpoint, every key accounted for.

    Args:
        file: .pth, .pyth or .safetensors, with or without a state_dict wrapper and module. prefixes; it is never unpickled.
        directory: to write.
        source: whose key layout it has: official, the paper's authors'; PyTorchVideo's; mmaction2's; TSM's repository's.
        network: the checkpoint's network, by its source's name (such as smallbig50_extra or slow_r50).
        classes: file with one class name a line, or a shipped list (kinetics400, ssv1, ssv2); if not given, kinetics400 for
            400 classes of PyTorchVideo, else numbers.

    Raises:
        SmallBigError: names what is missing, unexpected or of another shape; or it is a model directory already.
    """
    given = Path(file).parent if Path(file).name == WEIGHTS else Path(file)
    if any((directory / CONFIG).is_file() for directory in (given, given / "best")):
        raise SmallBigError("this is a model directory already: predict, evaluate and model.weights take it as it is", given)
    state = read_checkpoint(file)
    model, how = SOURCES[source](state, network, file)
    if source == "pytorchvideo" and model.num_classes == 400:
        classes = classes or "kinetics400"
    names = read_classes(classes) if classes else list(map(str, range(model.num_classes)))
    if len(names) != model.num_classes:
        raise SmallBigError(f"{len(names)} class names for {model.num_classes} classes", classes)
    weights = {"source": source, "network": network, "file": Path(file).name}
    save_model(model, ModelConfig(how, names, weights=weights, **source_settings(source, network)), directory)
    return Conversion(directory, how, len(state))


def source_settings(source: str, network: str) -> dict[str, Any]:
    """How a source's network takes clips and frames, where that isn't as this package's networks do."""
    if source == "pytorchvideo":
        return {"clip": pytorchvideo.PYTORCHVIDEO[network][2], "input": pytorchvideo.INPUT}
    if source in ("mmaction2", "tsm") and network != "slowonly_r50":
        return {"clip": ClipSpec("uniform", 8)}  # TSN and TSM: 8 segments
    return {}


def show(result: Conversion) -> str:
    """One line."""
    blocks = f" with blocks {', '.join(result.network['stages'])}" if result.network["stages"] else ""
    return f"{result.directory}: {result.network['name']}{blocks}, all {result.tensors} tensors of the checkpoint placed"
