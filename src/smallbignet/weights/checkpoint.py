"""Reads checkpoint files of any training code, and finds the network in them.

A checkpoint is a tree: dictionaries in dictionaries, with tensors whose keys are names of parts divided by dots. A network is
found by its anchor, a pattern of one key that every network of a kind has. What comes before the anchor is the network's
place, such as "state_dict" or "state_dict.student". Keys are returned without it.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smallbignet.errors import SmallBigError
from smallbignet.utils.console import note
from smallbignet.weights.adapter import State, some

# Parts of keys that belong to no network, wherever they stand: of DataParallel and DistributedDataParallel, torch.compile,
# DeepSpeed and Lightning, FSDP, activation checkpointing.
WRAPPERS = {"module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}

AVERAGES = {"ema", "average", "averaged", "swa", "teacher"}  # words in the place of a moving average of the weights
EXCHANGED = "ema_state_dict"  # MMEngine's. It exchanges the two when it saves, so that "state_dict" holds the average
TOP = "."  # what messages call the place of a network that nothing is wrapped around
DEPTH = 10  # most dictionaries in each other


def read_checkpoint(path: str | Path, anchor: str, entry: str = "") -> State:
    """Reads the state dict of a network in a `.pth`, `.pyth` or `.safetensors` file.

    Says on standard error which network was taken if there are several, and which tensors beside it were left out.

    Args:
        anchor: pattern of a key that every network of the wanted kind has once.
        entry: place of the network in the file, such as "state_dict_ema"; if empty, that of a moving average of the weights,
            or else the first network.

    Returns:
        the network's tensors by their keys; the largest state dict of the file if it holds no network of this kind.

    Raises:
        SmallBigError: there is no such file, it holds more than tensors and plain values (nothing else is unpickled) or no
            tensors, or there is no network at `entry`.
    """
    entries = _find_entries(_load(Path(path)), path)
    if not entries:
        raise SmallBigError("this file holds no state dict (names to tensors)", path)
    networks: dict[str, State] = {}
    left_out: dict[str, list[str]] = {}
    for name, state in entries.items():
        found, rest = _find_networks(state, anchor)
        for prefix, network in found.items():
            place = ".".join(filter(None, (name, prefix))) or TOP
            networks[place] = network
            left_out[place] = rest
    if not networks:
        return max(entries.values(), key=len)
    place = _choose(list(networks), entry, path)
    if left_out[place]:
        note(f"{path}: left out {len(left_out[place])} tensors that are not of the network: {some(left_out[place])}")
    return networks[place]


def _load(path: Path) -> Any:
    """What a file holds: for a file of PyTorch's whatever its writer put there, of plain values and tensors."""
    if not path.is_file():
        raise SmallBigError("no such checkpoint", path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if zipfile.is_zipfile(path):  # PyTorch doesn't compress, and a compressed file could fill the memory
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(item.file_size for item in archive.infolist())
            if unpacked > path.stat().st_size:
                raise SmallBigError("a compressed file, which PyTorch doesn't write", path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except SmallBigError:
        raise
    except Exception as error:  # the readers raise many kinds of errors for a broken file
        what = "not a checkpoint, or one that holds more than tensors, which is not loaded because it could run code"
        raise SmallBigError(what, path) from error


def _find_entries(content: Any, path: object) -> dict[str, State]:
    """The dictionaries in a file that hold tensors, by their places; keys are without wrappers."""
    entries: dict[str, State] = {}
    waiting = [("", content)]
    seen = set()  # a dictionary may be in several places, and even in itself
    while waiting:
        place, group = waiting.pop(0)
        if not isinstance(group, dict) or id(group) in seen or place.count(".") >= DEPTH:
            continue
        seen.add(id(group))
        state: State = {}
        for key, value in group.items():
            if isinstance(key, str) and isinstance(value, Tensor):
                own = ".".join(part for part in key.split(".") if part not in WRAPPERS)
                if own in state:
                    raise SmallBigError(f"two tensors are named {own}, apart from what was wrapped around them", path)
                state[own] = value
            elif isinstance(key, str):
                waiting.append((f"{place}.{key}".lstrip("."), value))
        if state:
            entries[place] = state
    return entries


def _find_networks(state: State, anchor: str) -> tuple[dict[str, State], list[str]]:
    """The networks among tensors, by the prefix of their keys; and the keys that are of no network."""
    anchors = (re.fullmatch(rf"(?:(.*)\.)?(?:{anchor})", key) for key in state)
    networks: dict[str, State] = {match[1] or "": {} for match in anchors if match}
    prefixes = sorted(networks, key=len, reverse=True)
    left_out = []
    for key, value in state.items():
        prefix = next((prefix for prefix in prefixes if key.startswith(f"{prefix}.") or not prefix), None)
        own = key.removeprefix(f"{prefix}.")
        if prefix is None:
            left_out.append(key)
        elif "." in own or value.numel() != 1:  # a single number is no part's: it counts, such as n_averaged
            networks[prefix][own] = value
    return networks, left_out


def _choose(places: list[str], entry: str, path: object) -> str:
    """The place of the network that is wanted, of which there may be several."""
    wanted = [place for place in places if not entry or place == entry or place.startswith(f"{entry}.")]
    if not wanted:
        raise SmallBigError(f"no network at {entry}; there are networks at {', '.join(places)}", path)
    averages = [place for place in wanted if _is_average(place, places)]
    chosen = (averages or wanted)[0]
    if len(wanted) > 1:
        kind = ", a moving average of the weights" if averages else ""
        how = "for another one, add --entry PLACE to convert, or #PLACE to the file of model.weights"
        note(f"{path}: there are networks at {', '.join(wanted)}; took {chosen}{kind}; {how}")
    return chosen


def _is_average(place: str, places: Iterable[str]) -> bool:
    if any(other.split(".")[0] == EXCHANGED for other in places):
        return place.split(".")[0] != EXCHANGED
    return bool(AVERAGES.intersection(re.split(r"[._-]", place)))
