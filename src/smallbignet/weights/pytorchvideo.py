"""PyTorchVideo's Kinetics-400 networks (github.com/facebookresearch/pytorchvideo): SlowOnly (there "Slow") and SlowFast.

The key layout is `blocks.N...`: the stem, res2 to res5 and the head are blocks 0 to 5 (SlowFast has one for pooling before
the head).
"""

from __future__ import annotations

from smallbignet.weights.adapter import Rules, State, rename


def _pathway(theirs: str, ours: str) -> Rules:
    """Returns the rules for a stem and its stages, each in block N of the network."""
    block, stage = rf"blocks\.(\d)\.{theirs}", rf"{ours}res{{\1+1}}.\2."
    units = (("a", 1), ("b", 2), ("c", 3))
    return (
        (rf"blocks\.0\.{theirs}conv\.weight", rf"{ours}stem.conv.weight"),
        (rf"blocks\.0\.{theirs}norm\.(\w+)", rf"{ours}stem.bn.\1"),
        *((rf"{block}res_blocks\.(\d+)\.branch2\.conv_{x}\.weight", rf"{stage}unit{i}.conv.weight") for x, i in units),
        *((rf"{block}res_blocks\.(\d+)\.branch2\.norm_{x}\.(\w+)", rf"{stage}unit{i}.bn.\3") for x, i in units),
        (rf"{block}res_blocks\.(\d+)\.branch1_conv\.weight", rf"{stage}shortcut.conv.weight"),
        (rf"{block}res_blocks\.(\d+)\.branch1_norm\.(\w+)", rf"{stage}shortcut.bn.\3"),
    )


ANCHOR = r"blocks\.0\.(?:multipathway_blocks\.0\.)?conv\.weight"

RULES: Rules = (
    *_pathway("", ""),
    *_pathway(r"multipathway_blocks\.0\.", "slow."),
    *_pathway(r"multipathway_blocks\.1\.", "fast."),
    (r"blocks\.(\d)\.multipathway_fusion\.conv_fast_to_slow\.weight", r"laterals.\1.conv.weight"),
    (r"blocks\.(\d)\.multipathway_fusion\.norm\.(\w+)", r"laterals.\1.bn.\2"),
    (r"blocks\.\d\.proj\.(\w+)", r"fc.\1"),
)


def adapt(state: State, network: str) -> State:
    """Returns the state dict of a PyTorchVideo checkpoint under our names."""
    return rename(state, RULES)
