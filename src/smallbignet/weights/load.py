"""The way in: a name, and the model or the weights that it stands for.

A name is a model directory or a run directory (whose best model is taken), a published network's name such as "slow_r50",
or "org/name" on the Hugging Face hub. Weights to start a network from may also be an image network's ("imagenet",
"imagenet_v2", "timm/TAG") or in a checkpoint file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch

from smallbignet.errors import SmallBigError, did_you_mean
from smallbignet.models.network import VideoNetwork
from smallbignet.models.timm_cnn import TimmNet
from smallbignet.models.zoo import DropRate, HeadWindow, NumClasses, Stages, Width, build_model
from smallbignet.weights import imagenet, official, timm_weights
from smallbignet.weights.adapter import ADDED, CLASSIFIER, State, build_exact, inflate, load_exact, rename, start_big_views
from smallbignet.weights.checkpoint import read_checkpoint
from smallbignet.weights.directory import CONFIG, WEIGHTS, ModelConfig, local_directory, read_config, read_state
from smallbignet.weights.hub import download_model
from smallbignet.weights.published import PUBLISHED
from smallbignet.weights.sources import fetch

ANCHOR = r"(?<!slow\.)(?<!fast\.)stem\.conv\.weight|laterals\.0\.conv\.weight"  # of our networks


def create_model(
    name: str,
    num_classes: NumClasses = 400,
    *,
    stages: Stages = None,
    width: Width = 64,
    drop_rate: DropRate = 0.0,
    head_window: HeadWindow | None = None,
    weights: str | Path | None = None,
) -> VideoNetwork:
    """Creates a network: (N, 3, T, H, W) -> (N, num_classes), for any T, H and W (SlowFast: T a multiple of its alpha).

    Args:
        name: one of `list_models()`; or "timm/NAME", any CNN of timm with batch normalisation, see `TimmNet`. "timm/NAME.TAG"
            starts from timm's weights with this tag if no others are given.
        stages: other blocks for res2, res3, res4 and res5: names (see `block_spec`) or specs, or lists of them where the
            blocks of a stage differ (see `build_model`).
        width: channels of the first convolution; 64 in the paper. A multiple of 8.
        drop_rate: dropout before the classifier, in training.
        head_window: side of the head's pooling window, which some published networks need; see `VideoNetwork`.
        weights: None for random weights; or "imagenet", "imagenet_v2" or "timm/TAG"; a model or run directory, a published
            network's name, org/name on the hub, or a checkpoint file; of this network or its 2-D parent. See `load_weights`.

    Raises:
        SmallBigError: an unknown name, not four stages, a width that is not a multiple of 8, or weights that do not exist or
            do not fit.
        WorkError: a download failed.
    """
    model = build_model(name, num_classes, stages=stages, width=width, drop_rate=drop_rate, head_window=head_window)
    if weights := weights or tagged_weights(name):
        load_weights(model, weights)
    return model


def tagged_weights(name: str) -> str:
    """Returns the weights that a network's name asks for: those of the tag in "timm/NAME.TAG", or "" for random ones."""
    return name if name.startswith("timm/") and "." in name else ""


def load_weights(model: VideoNetwork, weights: str | Path, classes: Sequence[str] | None = None) -> None:
    """Loads weights into a network that may have more parts than the weights have.

    Big views, extra units and non-local blocks keep the network's values where the weights lack them: they have a zero scale at
    the start, so the network then returns what its parent does. A big view with a convolution of its own ("+unshared") starts
    with a copy of the small view's. Kernels of temporal extent 1 are inflated to the network's. The classifier is loaded only
    where the classes are the same.

    Args:
        weights: "imagenet" or "imagenet_v2" (torchvision's), "timm/TAG" (a ResNet of timm's); what `find_model` takes; or a
            checkpoint file (.pth, .pyth or .safetensors) with our names or with those of torchvision's ResNet, as FILE or as
            FILE#PLACE (see `read_checkpoint`).
        classes: the network's class names in order. Without them, the same number of classes is enough.

    Raises:
        SmallBigError: there are no such weights, or they do not fit the network.
        WorkError: a download failed.
    """
    state, names = _read_weights(model, str(weights))
    same_number = "fc.bias" in state and len(state["fc.bias"]) == model.num_classes
    if not same_number or (classes is not None and classes != names):
        state = {key: value for key, value in state.items() if not re.fullmatch(CLASSIFIER, key)}
    own = model.state_dict()
    load_exact(model, start_big_views(inflate(state, own), own), weights, may_miss=(*ADDED, CLASSIFIER))


def _read_weights(model: VideoNetwork, weights: str) -> tuple[State, list[str] | None]:
    """Returns a state dict under our names, and its class names where they are known."""
    if imagenet.is_image_weights(weights):
        return imagenet.download_image_weights(model, weights), None
    file, _, entry = weights.rpartition("#") if not Path(weights).exists() else (weights, "", "")
    if Path(file).is_file() and not local_directory(file):
        return _read_file(model, file, entry), None
    directory = find_model(weights)
    return read_state(directory), read_config(directory).classes


def _read_file(model: VideoNetwork, file: str, entry: str) -> State:
    if isinstance(model, TimmNet):
        return timm_weights.read_file(model, file, entry)
    state = read_checkpoint(file, f"{ANCHOR}|{official.ANCHOR}", entry)
    if any(value.dim() == 4 for value in state.values()):  # kernels without a time axis: an image network's
        state = imagenet.prepare_image_weights(model, state)
    state = rename(state, official.RULES)
    if not state.keys() & model.state_dict().keys():
        what = "a checkpoint with keys of another toolkit: make a model directory of it with `smallbig convert`, and give that"
        raise SmallBigError(what, file)
    return state


def load_model(source: str | Path, device: str | torch.device = "cpu") -> VideoNetwork:
    """Returns the network of a model directory, in eval mode and channels_last_3d.

    Args:
        source: see `find_model`.

    Raises:
        SmallBigError: there is no such model, or its files are missing or do not fit each other.
        WorkError: the download failed.
    """
    directory = find_model(source)
    model = build_exact(read_config(directory).network, read_state(directory), directory / WEIGHTS)
    return model.to(device).to(memory_format=torch.channels_last_3d).eval()


def load_config(source: str | Path) -> ModelConfig:
    """Returns the configuration of a model directory; arguments and errors are those of `load_model`."""
    return read_config(find_model(source))


def find_model(source: str | Path) -> Path:
    """Returns the model directory that a name stands for.

    Args:
        source: a model directory; a run directory, whose best model is taken; a published network's name, such as "slow_r50"
            (a key of `PUBLISHED`); or "org/name" on the Hugging Face hub. The last two are downloaded at their first use, and
            then come from a cache.

    Raises:
        SmallBigError: there is no such model.
        WorkError: the download failed.
    """
    if directory := local_directory(source):
        return directory
    name = str(source)
    if name in PUBLISHED:
        return fetch(name)
    if imagenet.is_image_weights(name):
        what = "these weights are an image network's, not a video classifier's: train from them with --model.weights"
        raise SmallBigError(what, name)
    if Path(source).is_file():
        raise SmallBigError("a checkpoint file without class names: make a model directory of it with `smallbig convert`", name)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not Path(source).parent.exists():  # otherwise a path was meant
        return download_model(name)
    expected = f"a folder with {CONFIG} and {WEIGHTS}, org/name on the hub, or one of {', '.join(PUBLISHED)}"
    suggestion = did_you_mean(name, [*PUBLISHED, *imagenet.NAMES])
    raise SmallBigError(f"no model here: {suggestion}expected {expected}", source)
