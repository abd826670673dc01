"""ImageNet weights of torchvision and timm, for video networks: "All the models are pretrained on ImageNet" (Section 6)."""

from __future__ import annotations

import re
from difflib import get_close_matches

import torchvision

from smallbignet.errors import SmallBigError
from smallbignet.models.network import VideoNetwork
from smallbignet.models.smallbig import SmallBigNet
from smallbignet.models.timm_cnn import TimmNet
from smallbignet.models.zoo import DEPTHS
from smallbignet.weights.adapter import RESNET_RULES, State, add_time_axis, rename
from smallbignet.weights.hub import hub_errors
from smallbignet.weights.published import CHECKPOINTS
from smallbignet.weights.timm_weights import download_timm_weights

# torchvision's entry for our name of the weights and our name of the image network
TORCHVISION = {(record.name, record.network): record.address for record in CHECKPOINTS if record.source == "torchvision"}
NAMES = sorted({name for name, _ in TORCHVISION})


def is_image_weights(name: str) -> bool:
    """Whether a name stands for the weights of an image network: "imagenet", "imagenet_v2" or "timm/TAG"."""
    return name in NAMES or name.startswith("timm/")


def download_image_weights(model: VideoNetwork, weights: str) -> State:
    """Returns ImageNet weights for a network, from the image ResNet of its depth; downloaded, or from the cache.

    Args:
        weights: "imagenet" or "imagenet_v2", torchvision's; or "timm/TAG", such as "timm/resnet50.a1h_in1k". R23 takes those of
            ResNet-50.

    Returns:
        What `prepare_image_weights` returns.

    Raises:
        SmallBigError: SlowFast, a network of timm's that is not a plain ResNet of that depth, or timm is not installed.
        WorkError: the download failed.
    """
    if isinstance(model, TimmNet):
        return download_timm_weights(model, weights)
    if not isinstance(model, SmallBigNet):
        raise SmallBigError("SlowFast has two pathways, and no image network's weights fit them", weights)
    depth = 101 if len(model.res4) == DEPTHS[101][2] else 50
    if weights in NAMES:
        entry = torchvision.models.get_weight(TORCHVISION[weights, f"c2d_r{depth}"])
        return prepare_image_weights(model, entry.get_state_dict(progress=True, check_hash=True))
    return prepare_image_weights(model, timm_state(f"resnet{depth}", weights))


def timm_state(architecture: str, weights: str) -> State:
    """Returns the state dict of timm's weights for a plain ResNet, "timm/resnet50.TAG".

    Raises:
        SmallBigError: another architecture, an unknown tag, or timm is not installed.
        WorkError: the download failed.
    """
    name = weights.removeprefix("timm/")
    if name.split(".")[0] != architecture:  # some, such as resnetblur50, have the same keys and yet compute something else
        what = f"this network starts from timm's {architecture}, not {name.split('.')[0]}, whose stem or blocks differ"
        raise SmallBigError(f"{what}: give timm/{architecture}.TAG", weights)
    try:
        import timm
    except ImportError as error:
        raise SmallBigError("timm is not installed: pip install 'smallbignet[timm]'", weights) from error
    known = timm.list_pretrained(f"{architecture}.*")
    if name not in known:
        some = get_close_matches(name, known, n=4, cutoff=0) if name != architecture else known
        raise SmallBigError(f"timm has no weights with this name; it has {', '.join(some)}", weights)
    with hub_errors(weights):
        return timm.create_model(name, pretrained=True).state_dict()


def prepare_image_weights(model: VideoNetwork, state: State) -> State:
    """Returns an image ResNet's state dict, in torchvision's key layout, under our names and with a time axis.

    Its classifier is left out, and so are blocks that the model does not have: R23 takes the first blocks of each stage of
    ResNet-50.
    """
    own = model.state_dict()
    renamed = rename(state, RESNET_RULES)
    surplus = {key for key in renamed if key.startswith("fc.") or (key not in own and re.match(r"res\d\.\d+\.", key))}
    return add_time_axis({key: value for key, value in renamed.items() if key not in surplus})
