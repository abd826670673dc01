"""mmaction2's checkpoints (github.com/open-mmlab/mmaction2): TSN, TSM and SlowOnly, ResNet-50, of versions 0.x and 1.x.

The key layout is that of its ResNet, ResNetTSM and ResNet3dSlowOnly, whose convolutions are mmcv's ConvModule (`conv`, `bn`),
and of its heads (`cls_head.fc_cls`); both versions have it. Checkpoints of 1.x that were not prepared for publishing also hold
the normalisation of the input (`data_preprocessor`) and, next to the state dict, objects that are not loaded: mmaction2's
`tools/deployment/publish_model.py` removes them.
"""

from __future__ import annotations

from smallbignet.weights.adapter import Rules, State, rename

ANCHOR = r"backbone\.conv1\.conv\.weight"
NORMALISATION = ("data_preprocessor.mean", "data_preprocessor.std")  # config.json has it


def adapt(state: State, network: str) -> State:
    """Returns the state dict of an mmaction2 checkpoint under our names; `network` is our name of its network."""
    weights = {key: value for key, value in state.items() if key not in NORMALISATION}
    return rename(weights, rules(shifted=network == "tsm_r50"))


def rules(shifted: bool) -> Rules:
    """Returns the rules for networks in which a temporal shift wraps the first convolution of every block, or of none."""
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
