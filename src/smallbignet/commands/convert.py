"""`smallbig convert`: makes a model directory from a published checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smallbignet.errors import SmallBigError
from smallbignet.utils.checks import Folder, checked
from smallbignet.weights.directory import CONFIG, local_directory
from smallbignet.weights.sources import convert_checkpoint, find_checkpoint


@dataclass(frozen=True)
class Conversion:
    """A model directory that was made.

    Attributes:
        directory: its path.
        network: the arguments of `create_model` that build its network.
        tensors: the number of tensors in the checkpoint's network.
    """

    directory: str
    network: dict
    tensors: int


@checked
def convert(
    file: str, directory: Folder, *, source: str = "official", network: str, classes: str = "", entry: str = ""
) -> Conversion:
    """Makes a model directory from a published checkpoint. Every key gets its place in the network, or the error names it.

    Args:
        file: .pth, .pyth or .safetensors, with or without what training code wraps around a network. Nothing is unpickled.
        directory: the folder to write, new or empty, or that of a model, which is replaced.
        source: who published it: official (the paper's authors), pytorchvideo, mmaction2 or tsm (TSM's repository).
        network: the checkpoint's network, by its source's name, such as smallbig50_extra or slow_r50.
        classes: a file with one class name per line, or a shipped list (kinetics400, ssv1, ssv2). By default kinetics400 for
            PyTorchVideo's networks with 400 classes, and numbers for others.
        entry: place of the network in the file, such as state_dict_ema. By default the moving average of the weights, if there
            is one, else the first network.

    Raises:
        SmallBigError: names what is missing, unexpected or of another shape; or the file belongs to a model directory already,
            or the folder holds something else.
    """
    record = find_checkpoint(source, network)
    if Path(directory).is_dir() and any(Path(directory).iterdir()) and not (Path(directory) / CONFIG).is_file():
        raise SmallBigError("this folder holds something else than a model; choose a new or empty one", directory)
    if given := local_directory(file):
        raise SmallBigError("this is a model directory already: predict, evaluate and model.weights take it as it is", given)
    model_args, tensors = convert_checkpoint(file, record, directory, {"file": Path(file).name}, classes, entry)
    return Conversion(directory, model_args, tensors)


def show(result: Conversion) -> str:
    """One line."""
    blocks = f" with blocks {', '.join(result.network['stages'])}" if result.network["stages"] else ""
    return (
        f"{result.directory}: {result.network['name']}{blocks}, all {result.tensors} tensors of the checkpoint's network placed"
    )
