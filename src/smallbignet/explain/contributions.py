"""How much every place of a clip contributes to a class: exact, because the head is a mean and a linear map.

The logit of class c is `sum over t, h, w of w_c . f(t, h, w) / (T H W)`, plus the bias of c, where f is the last feature map.
Each term of the sum is the contribution of one place, as in class activation maps (B. Zhou et al., "Learning Deep Features for
Discriminative Localization", CVPR 2016). A place sees more of the clip than its own square, because convolutions and big views
bring features together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from smallbignet.errors import WorkError
from smallbignet.models.network import VideoNetwork
from smallbignet.models.slowfast import BETA, SlowFast


@dataclass(frozen=True)
class Contributions:
    """The contributions of all places of a clip to one logit, or to the difference of two.

    Attributes:
        parts: (T', H', W') float64 for each pathway of the network. SlowFast has two, "slow" and "fast"; other networks have
            one, "map".
        bias: the part of the logit that does not depend on the clip.
        logit: what the network itself returns.
    """

    parts: dict[str, np.ndarray]
    bias: float
    logit: float

    @property
    def map(self) -> np.ndarray:
        """The sum of the parts, (T', H', W')."""
        return sum(self.parts.values(), start=np.zeros(()))

    @property
    def size(self) -> tuple[int, int, int]:
        """(T', H', W') of the map."""
        frames, height, width = self.map.shape
        return frames, height, width

    @property
    def total(self) -> float:
        """The sum of the map and the bias, which is the logit but for rounding."""
        return float(self.map.sum()) + self.bias

    @property
    def error(self) -> float:
        """The distance of `total` from the logit, relative to the logit, the bias or the sum of absolute contributions.

        Whichever is largest counts. A logit near 0 is the difference of large sums, and its rounding error is that of the sums.
        """
        size = max(abs(self.logit), abs(self.bias), float(np.abs(self.map).sum()))
        return abs(self.total - self.logit) / max(size, np.finfo(np.float32).tiny)


def contributions(network: VideoNetwork, clip: Tensor, label: int, against: int | None = None) -> Contributions:
    """Return what each place of a clip contributes to a class.

    Args:
        network: in eval mode.
        clip: normalised frames (1, 3, T, H, W) on the network's device.
        label: class whose logit is explained.
        against: another class; the difference of the two logits is explained then ("why `label` and not `against`").

    Raises:
        WorkError: the network returns values that are not numbers.
    """
    with torch.no_grad():
        features = network.forward_features(clip)
    direction = torch.zeros(network.num_classes, dtype=torch.float64, device=clip.device)
    direction[label] += 1
    if against is not None:
        direction[against] -= 1
    leaf = features.detach().requires_grad_()
    with torch.enable_grad():
        logit = network.forward_head(leaf)[0].double() @ direction
        [slope] = torch.autograd.grad(logit, leaf)  # w_c / (T H W), or as the head's pooling window weights the places
    if not torch.isfinite(logit):
        raise WorkError("the network returns NaN or infinite logits, so there is nothing to explain: its weights are damaged")
    with torch.no_grad():
        bias = network.forward_head(torch.zeros_like(features))[0].double() @ direction
    terms = (features.double() * slope.double())[0]  # (C, T', H', W')
    parts = {name: terms[channels].sum(0).cpu().numpy() for name, channels in pathways(network).items()}
    return Contributions(parts, bias.item(), logit.item())


def pathways(network: VideoNetwork) -> dict[str, slice]:
    """Return the channels of the last feature map that belong to each pathway, by its name."""
    if not isinstance(network, SlowFast):
        return {"map": slice(None)}
    slow = network.num_features * BETA // (BETA + 1)
    return {"slow": slice(slow), "fast": slice(slow, None)}
