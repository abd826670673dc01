"""ImageNet weights of torchvision and timm, inflated to video: "All the models are pretrained on ImageNet" (Section 6)."""

from __future__ import annotations

import re
from difflib import get_close_matches

import torch
import torchvision
from torch import Tensor, nn

from smallbignet.errors import SmallBigError
from smallbignet.weights.adapter import RESNET_RULES, State, load_exact, rename
from smallbignet.weights.hub import hub_errors

# What an image network knows nothing of: the big views, the extra units, non-local blocks, the classifier.
VIDEO_ONLY = (r".*\.(bn_big|conv_big|extra|nonlocal_after)\..*", r"fc\..*")

TORCHVISION = {"imagenet": "IMAGENET1K_V1", "imagenet_v2": "IMAGENET1K_V2"}  # the paper's time, and a longer training since


def load_imagenet(model: nn.Module, depth: int, weights: str = "imagenet") -> None:
    """Loads an image ResNet of that depth (R23 takes the first blocks of each stage of ResNet-50), downloaded, then cached.

    Args:
        weights: "imagenet" or "imagenet_v2", torchvision's; or "timm/TAG", such as "timm/resnet50.a1h_in1k".

    Raises:
        SmallBigError: no such weights, an image network that isn't a plain ResNet of that depth, or timm isn't installed.
    """
    architecture = f"resnet{101 if depth == 101 else 50}"
    if weights in TORCHVISION:
        tag = torchvision_weights(architecture, weights)
        inflate_image_weights(model, tag.get_state_dict(progress=True, check_hash=True), str(tag))
    elif weights.startswith("timm/"):
        inflate_image_weights(model, timm_state(architecture, weights), weights)
    else:
        raise SmallBigError(f"image weights are {', '.join(TORCHVISION)} or timm/TAG, such as timm/resnet50.a1h_in1k", weights)


def torchvision_weights(architecture: str, weights: str) -> torchvision.models.WeightsEnum:
    """torchvision's entry for "resnet50" or "resnet101" and a key of `TORCHVISION`; nothing is downloaded."""
    return torchvision.models.get_weight(f"{architecture.replace('resnet', 'ResNet')}_Weights.{TORCHVISION[weights]}")


def timm_state(architecture: str, weights: str) -> State:
    """The state dict of timm's weights of a plain ResNet, "timm/resnet50.TAG".

    Raises:
        SmallBigError: another architecture, an unknown tag, or timm isn't installed.
        WorkError: the download failed.
    """
    name = weights.removeprefix("timm/")
    if name.split(".")[0] != architecture:  # some, such as resnetblur50, have the same keys and yet compute something else
        what = f"this network starts from timm's {architecture}, not {name.split('.')[0]}, whose stem or blocks differ"
        raise SmallBigError(f"{what}: give timm/{architecture}.TAG", weights)
    try:
        import timm
    except ImportError as error:
        raise SmallBigError("timm isn't installed: pip install 'smallbignet[timm]'", weights) from error
    known = timm.list_pretrained(f"{architecture}.*")
    if name not in known:
        some = get_close_matches(name, known, n=4, cutoff=0) if name != architecture else known
        raise SmallBigError(f"timm has no weights of this name; among its own: {', '.join(some)}", weights)
    with hub_errors(weights):
        return timm.create_model(name, pretrained=True).state_dict()


def inflate_image_weights(model: nn.Module, state: State, source: object) -> None:
    """Loads a 2-D ResNet's state dict, torchvision's key layout, into a video network; big views and the classifier stay.

    A kernel of temporal extent 3 gets the image kernel three times, divided by three, so that it answers a still clip as the
    image network does, away from the clip's ends (Carreira and Zisserman, CVPR 2017).

    Raises:
        SmallBigError: the state dict isn't that of a ResNet with at least these blocks.
    """
    own = model.state_dict()
    renamed = {k: v for k, v in rename(state, RESNET_RULES).items() if not k.startswith("fc.")}
    deeper = {k for k in renamed if k not in own and re.match(r"res\d\.\d+\.", k)}  # blocks that R50 has and R23 has not
    inflated = {k: _inflate(v, own[k]) if k in own else v for k, v in renamed.items() if k not in deeper}
    load_exact(model, inflated, source, may_miss=VIDEO_ONLY)


def _inflate(weight: Tensor, like: Tensor) -> Tensor:
    if weight.dim() != 4 or like.dim() != 5:
        return weight
    t = like.shape[2]
    return torch.stack([weight / t] * t, dim=2)
