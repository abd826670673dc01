"""From a published checkpoint to a model directory: the sources whose key layouts are known, and downloads by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock

from smallbignet.data.annotations import read_classes
from smallbignet.errors import SmallBigError, WorkError, did_you_mean
from smallbignet.models.network import VideoNetwork
from smallbignet.models.zoo import NETWORKS
from smallbignet.weights import mmaction2, official, pytorchvideo, tsm
from smallbignet.weights.adapter import ADDED, State, add_time_axis, build_exact
from smallbignet.weights.checkpoint import read_checkpoint
from smallbignet.weights.directory import CONFIG, ModelConfig, save_model
from smallbignet.weights.published import CHECKPOINTS, PUBLISHED, Checkpoint


class Source(NamedTuple):
    """A key layout.

    Attributes:
        adapt: takes a checkpoint's state dict and the name of our network; returns the state dict under our names.
        anchor: pattern of a key by which `read_checkpoint` finds a network.
    """

    adapt: Callable[[State, str], State]
    anchor: str


SOURCES = {
    "official": Source(official.adapt, official.ANCHOR),
    "pytorchvideo": Source(pytorchvideo.adapt, pytorchvideo.ANCHOR),
    "mmaction2": Source(mmaction2.adapt, mmaction2.ANCHOR),
    "tsm": Source(tsm.adapt, tsm.ANCHOR),
}


def find_checkpoint(source: str, network: str) -> Checkpoint:
    """Returns the record of a source's network.

    Args:
        source: a key of `SOURCES`.
        network: the source's name for its network; or one of ours, for a checkpoint that the source's code has trained but
            nobody published, which is then taken to be like the source's first one.

    Raises:
        SmallBigError: an unknown source or network.
    """
    if source not in SOURCES:
        raise SmallBigError(f"unknown source; {did_you_mean(source, SOURCES)}known: {', '.join(SOURCES)}", source)
    records = {record.name: record for record in CHECKPOINTS if record.source == source}
    if network in records:
        return records[network]
    if network in NETWORKS:
        first = next(iter(records.values()))
        return replace(first, name=network, network=network, stages=None)
    raise SmallBigError(f"unknown network; {did_you_mean(network, records)}{source} has {', '.join(records)}", network)


def adapt_checkpoint(state: State, record: Checkpoint, file: object = "") -> tuple[VideoNetwork, dict[str, Any]]:
    """Builds the network that a checkpoint's state dict holds.

    Args:
        file: what messages call the checkpoint.

    Returns:
        The network in eval mode, and the arguments of `create_model` that build it.

    Raises:
        SmallBigError: keys that are missing, unexpected or of another shape.
    """
    renamed = SOURCES[record.source].adapt(state, record.network)
    bias = renamed.get("fc.bias", torch.empty(400))
    model_args: dict[str, Any] = {
        "name": record.network,
        "num_classes": bias.shape[0] if bias.dim() else 1,
        "stages": record.stages,
        "head_window": record.head_window,
    }
    may_miss = ADDED if record.adds_big_views else ()
    return build_exact(model_args, add_time_axis(renamed), file or record.name, may_miss).eval(), model_args


def convert_checkpoint(
    file: str | Path,
    record: Checkpoint,
    directory: str | Path,
    origin: dict[str, str],
    classes: str = "",
    entry: str = "",
) -> tuple[dict[str, Any], int]:
    """Makes a model directory from a checkpoint file.

    Args:
        origin: what `config.json` says about where the weights came from, next to source and network.
        classes: a file with one class name per line, or a shipped list. If empty, it is the record's own list where the number
            of classes is that list's, else the class names are numbers.
        entry: place of the network in the file; see `read_checkpoint`.

    Returns:
        The arguments of `create_model` that build the network, and the number of tensors in the checkpoint.

    Raises:
        SmallBigError: the file is not such a checkpoint, or the class names do not fit.
    """
    state = read_checkpoint(file, SOURCES[record.source].anchor, entry)
    model, model_args = adapt_checkpoint(state, record, file)
    listed = classes or record.classes
    names = read_classes(listed) if listed else []
    if len(names) != model.num_classes:
        if classes:
            raise SmallBigError(f"{len(names)} class names for {model.num_classes} classes", classes)
        names = list(map(str, range(model.num_classes)))
    weights = {"source": record.source, "network": record.name} | origin
    save_model(model, ModelConfig(model_args, names, record.clip, record.input, record.views, weights), directory)
    return model_args, len(state)


def fetch(name: str) -> Path:
    """Returns the model directory of a published network in PyTorch's hub cache, downloaded and converted at its first use.

    Args:
        name: a key of `PUBLISHED`.

    Raises:
        WorkError: the download failed.
        SmallBigError: the file that is there is not that network.
    """
    record, hub = PUBLISHED[name], Path(torch.hub.get_dir())
    directory, file = hub / "smallbignet" / name, hub / "checkpoints" / Path(record.address).name
    if (directory / CONFIG).is_file():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{directory}.lock"):  # so that only one of several processes downloads
        if not (directory / CONFIG).is_file():
            _download(record, file)
            figures = f"{record.data} top-1 {record.top1}, top-5 {record.top5}, {record.views} views"
            origin = {"url": record.address, "licence": record.licence, "published": figures}
            try:
                convert_checkpoint(file, record, directory, origin)
            except SmallBigError as error:
                raise SmallBigError(f"{error.what}; delete it to download it again", file) from error
    return directory


def _download(record: Checkpoint, file: Path) -> None:
    """Puts a checkpoint at `file`. A file that is already there, put by hand or by other users of PyTorch's hub, is kept."""
    if file.is_file():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(record.address, str(file))
    except (OSError, HTTPException) as error:
        command = f"smallbig convert {file.name} DIR --source {record.source} --network {record.name}"
        what = f"the download failed: {' '.join(str(error).split())}; download it by hand to {file}, or use `{command}`"
        raise WorkError(what, record.address) from error
