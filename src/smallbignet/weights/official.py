"""The paper authors' released checkpoints (github.com/xhl-video/SmallBigNet): torchvision's key layout, and the big views."""

from __future__ import annotations

from smallbignet.weights.adapter import RESNET_RULES, Rules, State, rename

ANCHOR = r"layer1\.0\.conv1\.weight"  # also of torchvision's ResNet

RULES: Rules = (
    *RESNET_RULES,
    (r"layer(\d)\.(\d+)\.big(\d)\.1\.(\w+)", r"res{\1+1}.\2.unit\3.bn_big.\4"),
    (r"layer(\d)\.(\d+)\.big4_1\.weight", r"res{\1+1}.\2.extra.conv1.weight"),
    (r"layer(\d)\.(\d+)\.big4_2\.0\.weight", r"res{\1+1}.\2.extra.conv2.weight"),
    (r"layer(\d)\.(\d+)\.big4_2\.1\.(\w+)", r"res{\1+1}.\2.extra.bn.\3"),
)


def adapt(state: State, network: str) -> State:
    """Returns the state dict of one of the authors' checkpoints under our names."""
    return rename(state, RULES)
