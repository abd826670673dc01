"""PyTorchVideo's Kinetics-400 networks: SlowOnly (there "Slow") and SlowFast, and SmallBig networks around SlowOnly's weights.

github.com/facebookresearch/pytorchvideo, key layout `blocks.N...`. Its head pools 7x7 windows, which ours then does too.
"""

from __future__ import annotations

from typing import Any

from smallbignet.data.sampling import ClipSpec
from smallbignet.data.transforms import InputSpec
from smallbignet.errors import SmallBigError
from smallbignet.models.network import VideoNetwork
from smallbignet.models.zoo import create_model
from smallbignet.weights.adapter import Rules, State, load_exact, rename

INPUT = InputSpec(size=256, mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))

# name: (our network, its blocks where they differ, clips: of SlowFast, the fast pathway's). PyTorchVideo's names; then two of
# our networks around SlowOnly's convolutions, with big views switched off: they answer as SlowOnly does, to be trained further.
PYTORCHVIDEO: dict[str, tuple[str, tuple[str, str, str, str] | None, ClipSpec]] = {
    "slow_r50": ("slowonly_r50", None, ClipSpec("dense", 8, 8)),
    "slow_4x16_r50": ("slowonly_r50", None, ClipSpec("dense", 4, 16)),
    "slowfast_r50": ("slowfast_r50", None, ClipSpec("dense", 32, 2)),
    "slowfast_4x16_r50": ("slowfast_4x16_r50", None, ClipSpec("dense", 32, 2)),
    "slowfast_r101": ("slowfast_r101", None, ClipSpec("dense", 32, 2)),
    "slowfast_16x8_r101_50_50": ("slowfast_16x8_r101", None, ClipSpec("dense", 64, 2)),
    "smallbig_slowonly_r50": ("smallbig_slowonly_r50", None, ClipSpec("dense", 8, 8)),
    "smallbig_r50": ("smallbig_r50", ("2d", "full", "full+3d", "full+3d"), ClipSpec("dense", 8, 8)),
}

BIG_VIEWS = r".*\.(bn_big|extra)\..*"  # what no network there has


def _pathway(theirs: str, ours: str) -> Rules:
    """Rules for a stem and its stages, each in block N of the network."""
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


RULES: Rules = (
    *_pathway("", ""),
    *_pathway(r"multipathway_blocks\.0\.", "slow."),
    *_pathway(r"multipathway_blocks\.1\.", "fast."),
    (r"blocks\.(\d)\.multipathway_fusion\.conv_fast_to_slow\.weight", r"laterals.\1.conv.weight"),
    (r"blocks\.(\d)\.multipathway_fusion\.norm\.(\w+)", r"laterals.\1.bn.\2"),
    (r"blocks\.\d\.proj\.(\w+)", r"fc.\1"),
)


def from_pytorchvideo(state: State, network: str, source: object = "") -> tuple[VideoNetwork, dict[str, Any]]:
    """The network that a PyTorchVideo state dict makes, in eval mode, and how `create_model` builds it.

    Args:
        network: a key of `PYTORCHVIDEO`.
        source: what the checkpoint is called in messages.

    Raises:
        SmallBigError: an unknown network, or keys that are missing, unexpected or of another shape.
    """
    if network not in PYTORCHVIDEO:
        raise SmallBigError(f"unknown network; PyTorchVideo's that convert: {', '.join(PYTORCHVIDEO)}", network)
    name, stages, _ = PYTORCHVIDEO[network]
    renamed = rename(state, RULES)
    num_classes = len(renamed["fc.bias"]) if "fc.bias" in renamed else 400
    how: dict[str, Any] = {"name": name, "num_classes": num_classes, "stages": stages, "head_window": 7}
    model = create_model(**how)
    load_exact(model, renamed, source or network, may_miss=(BIG_VIEWS,))
    return model.eval(), how
