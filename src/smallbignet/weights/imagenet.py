"""ImageNet weights through torchvision, inflated to video: "All the models are pretrained on ImageNet" (Section 6)."""

from __future__ import annotations

import re

import torch
import torchvision
from torch import Tensor

from smallbignet.models.smallbig import SmallBigNet
from smallbignet.weights.adapter import RESNET_RULES, State, load_exact, rename

# What an image network knows nothing of: the big views, the extra units, non-local blocks, the classifier.
VIDEO_ONLY = (r".*\.(bn_big|conv_big|extra|nonlocal_after)\..*", r"fc\..*")


def load_imagenet(model: SmallBigNet, depth: int) -> None:
    """Loads torchvision's IMAGENET1K_V1 ResNet of that depth (R23 takes the first blocks of each stage of ResNet-50)."""
    tag = torchvision.models.get_weight(f"ResNet{101 if depth == 101 else 50}_Weights.IMAGENET1K_V1")
    inflate_image_weights(model, tag.get_state_dict(progress=True, check_hash=True), str(tag))


def inflate_image_weights(model: SmallBigNet, state: State, source: object) -> None:
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
