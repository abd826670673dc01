"""Checkpoints of TSM's own repository (github.com/mit-han-lab/temporal-shift-module): ResNet-50, shift8, blockres.

The key layout is that of its `ops/models.py`: torchvision's ResNet as `base_model`, the first convolution of every block
wrapped in a shift (`conv1.net`), and the classifier `new_fc`. The keys do not tell that an eighth of the channels moves each
way (`shift8` in the file's name).
"""

from __future__ import annotations

from smallbignet.weights.adapter import RESNET_RULES, Rules, State, rename

ANCHOR = r"base_model\.conv1\.weight"

RULES: Rules = (
    (r"base_model\.layer(\d)\.(\d+)\.conv1\.net\.weight", r"res{\1+1}.\2.unit1.conv.weight"),
    # a block whose conv1 is not shifted belongs to another network
    *((r"base_model\.(?!fc|layer\d\.\d+\.conv1)" + theirs, ours) for theirs, ours in RESNET_RULES),
    (r"new_fc\.(\w+)", r"fc.\1"),
)


def adapt(state: State, network: str) -> State:
    """Returns the state dict of a TSM checkpoint under our names."""
    return rename(state, RULES)
