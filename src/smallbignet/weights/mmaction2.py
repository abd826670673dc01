"""mmaction2's checkpoints (github.com/open-mmlab/mmaction2): TSN, TSM and SlowOnly, ResNet-50, of versions 0.x and 1.x.

The key layout is that of its ResNet, ResNetTSM and ResNet3dSlowOnly, whose convolutions are mmcv's ConvModule (`conv`, `bn`),
and of its heads (`cls_head.fc_cls`); both versions have it. Checkpoints of 1.x that weren't prepared for publishing also hold
the normalisation of the input (`data_preprocessor`) and, beside the state dict, objects that are not loaded: mmaction2's
`tools/deployment/publish_model.py` removes them.
"""

from __future__ import annotations

from typing import Any

from smallbignet.errors import SmallBigError
from smallbignet.models.network import VideoNetwork
from smallbignet.models.zoo import create_model
from smallbignet.weights.adapter import Rules, State, load_exact, rename

MMACTION2 = {"tsn_r50": "c2d_r50", "tsm_r50": "tsm_r50", "slowonly_r50": "slowonly_r50"}  # their name: our network
NORMALISATION = ("data_preprocessor.mean", "data_preprocessor.std")  # config.json has it


def rules(shifted: bool) -> Rules:
    """`shifted`: the first convolution of every block is wrapped in a temporal shift, and of no block otherwise."""
    net = r"\.net" if shifted else ""
    return (
        (r"backbone\.conv1\.conv\.weight", r"stem.conv.weight"),
        (r"backbone\.conv1\.bn\.(\w+)", r"stem.bn.\1"),
        (rf"backbone\.layer(\d)\.(\d+)\.conv1\.conv{net}\.weight", r"res{\1+1}.\2.unit1.conv.weight"),
        (r"backbone\.layer(\d)\.(\d+)\.conv([23])\.conv\.weight", r"res{\1+1}.\2.unit\3.conv.weight"),
        (r"backbone\.layer(\d)\.(\d+)\.conv(\d)\.bn\.(\w+)", r"res{\1+1}.\2.unit\3.bn.\4"),
        (r"backbone\.layer(\d)\.(\d+)\.downsample\.conv\.weight", r"res{\1+1}.\2.shortcut.conv.weight"),
        (r"backbone\.layer(\d)\.(\d+)\.downsample\.bn\.(\w+)", r"res{\1+1}.\2.shortcut.bn.\3"),
        (r"cls_head\.fc_cls\.(\w+)", r"fc.\1"),
    )


def from_mmaction2(state: State, network: str, source: object = "") -> tuple[VideoNetwork, dict[str, Any]]:
    """The network that an mmaction2 checkpoint's state dict makes, in eval mode, and how `create_model` builds it.

    Args:
        network: mmaction2's name (a key of `MMACTION2`), or ours.
        source: what the checkpoint is called in messages.

    Raises:
        SmallBigError: an unknown network, or keys that are missing, unexpected or of another shape.
    """
    name = MMACTION2.get(network, network)
    if name not in MMACTION2.values():
        raise SmallBigError(f"unknown network; those of mmaction2 that convert: {', '.join(MMACTION2)}", network)
    weights = {key: value for key, value in state.items() if key not in NORMALISATION}
    return build(rename(weights, rules(shifted=name == "tsm_r50")), name, source or network)


def build(state: State, name: str, source: object) -> tuple[VideoNetwork, dict[str, Any]]:
    """One of our networks with a state dict under our names, whose image kernels get a temporal axis of length 1."""
    how: dict[str, Any] = {"name": name, "num_classes": len(state.get("fc.bias", range(400))), "stages": None}
    model = create_model(**how)
    load_exact(model, {key: value.unsqueeze(2) if value.dim() == 4 else value for key, value in state.items()}, source)
    return model.eval(), how
