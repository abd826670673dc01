"""Checkpoints of TSM's own repository (github.com/mit-han-lab/temporal-shift-module): ResNet-50, shift8, blockres.

The key layout is that of its `ops/models.py`: torchvision's ResNet as `base_model`, the first convolution of every block
wrapped in a shift (`conv1.net`), and the classifier `new_fc`. That an eighth of the channels moves each way (`shift8` in the
file's name) can't be read off the keys.
"""

from __future__ import annotations

from typing import Any

from smallbignet.errors import SmallBigError
from smallbignet.models.network import VideoNetwork
from smallbignet.weights.adapter import RESNET_RULES, State, rename
from smallbignet.weights.mmaction2 import build

RULES = (
    (r"base_model\.layer(\d)\.(\d+)\.conv1\.net\.weight", r"res{\1+1}.\2.unit1.conv.weight"),
    # a block whose conv1 isn't shifted belongs to another network
    *((r"base_model\.(?!fc|layer\d\.\d+\.conv1)" + theirs, ours) for theirs, ours in RESNET_RULES),
    (r"new_fc\.(\w+)", r"fc.\1"),
)


def from_tsm(state: State, network: str, source: object = "") -> tuple[VideoNetwork, dict[str, Any]]:
    """The network that a TSM checkpoint's state dict makes, in eval mode, and how `create_model` builds it.

    Args:
        network: "tsm_r50".
        source: what the checkpoint is called in messages.

    Raises:
        SmallBigError: another network, or keys that are missing, unexpected or of another shape.
    """
    if network != "tsm_r50":
        raise SmallBigError("unknown network; of TSM's repository this converts: tsm_r50", network)
    return build(rename(state, RULES), network, source or network)
