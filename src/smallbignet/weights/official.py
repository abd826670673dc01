"""The paper authors' released checkpoints (github.com/xhl-video/SmallBigNet): seven networks, by the names used there."""

from __future__ import annotations

from typing import Any

from smallbignet.errors import SmallBigError
from smallbignet.models.network import VideoNetwork
from smallbignet.models.zoo import NETWORKS, create_model
from smallbignet.weights.adapter import RESNET_RULES, State, load_exact, rename

# their name: (our network, blocks where they differ from our network's)
OFFICIAL: dict[str, tuple[str, tuple[str, str, str, str] | None]] = {
    "res50": ("c2d_r50", None),
    "slowonly50": ("slowonly_r50", None),
    "slowonly50_extra": ("smallbig_slowonly_r50", ("2d", "2d", "3d+extra", "3d+extra")),
    "smallbig23_no_extra": ("smallbig_r23", ("2d", "typical", "typical", "typical")),
    "smallbig50_no_extra": ("smallbig_r50", ("2d", "typical", "typical", "typical")),
    "smallbig101_no_extra": ("smallbig_r101", None),
    "smallbig50_extra": ("smallbig_r50", None),
}

RULES = (
    *RESNET_RULES,
    (r"layer(\d)\.(\d+)\.big(\d)\.1\.(\w+)", r"res{\1+1}.\2.unit\3.bn_big.\4"),
    (r"layer(\d)\.(\d+)\.big4_1\.weight", r"res{\1+1}.\2.extra.conv1.weight"),
    (r"layer(\d)\.(\d+)\.big4_2\.0\.weight", r"res{\1+1}.\2.extra.conv2.weight"),
    (r"layer(\d)\.(\d+)\.big4_2\.1\.(\w+)", r"res{\1+1}.\2.extra.bn.\3"),
)


def from_official(state: State, network: str, source: object = "") -> tuple[VideoNetwork, dict[str, Any]]:
    """The network that an official checkpoint's state dict makes, in eval mode, and how `create_model` builds it.

    Args:
        network: the authors' name (a key of `OFFICIAL`), or one of ours with the same blocks.
        source: what the checkpoint is called in messages.

    Raises:
        SmallBigError: an unknown network, or keys that are missing, unexpected or of another shape.
    """
    if network not in OFFICIAL and network not in NETWORKS:
        raise SmallBigError(f"unknown network; the authors' networks: {', '.join(OFFICIAL)}", network)
    name, stages = OFFICIAL.get(network, (network, None))
    num_classes = len(state["fc.bias"]) if "fc.bias" in state else 400
    how: dict[str, Any] = {"name": name, "num_classes": num_classes, "stages": stages}
    model = create_model(**how)
    load_exact(model, rename(state, RULES), source or network)
    return model.eval(), how
