"""SlowFast, to which Table 10 compares: C. Feichtenhofer, H. Fan, J. Malik, K. He, ICCV 2019.

The slow pathway sees every alpha-th frame; the fast pathway sees all frames with an eighth of the channels. After the stem and
after res2, res3 and res4, a convolution over time passes the fast pathway's features to the slow one. Widths, kernels and the
choice of the slow frames are those of PyTorchVideo's networks, whose published weights load here.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallbignet.errors import SmallBigError
from smallbignet.models.network import VideoNetwork
from smallbignet.models.smallbig import BlockSpec, SmallBigUnit, make_stage, stem_pool

BETA = 8  # the slow pathway has this many times the channels of the fast one


class Pathway(nn.Module):
    """The stem and the stages of one pathway.

    Args:
        stem: temporal extent of the first convolution.
        stages: a list of block specs for each of res2, res3, res4, res5.
        width: channels of the first convolution.
        added: channels from the other pathway that enter a stage, as a share of this pathway's own.
    """

    def __init__(self, stem: int, stages: list[list[BlockSpec]], width: int, added: float = 0.0):
        super().__init__()
        self.stem = SmallBigUnit(3, width, (stem, 7, 7), 2, None, BlockSpec())
        channels = width
        for i, specs in enumerate(stages):
            mid = width * 2**i
            self.add_module(f"res{i + 2}", make_stage(int(channels * (1 + added)), mid, 2 if i else 1, specs))
            channels = 4 * mid


class Lateral(nn.Module):
    """From the fast pathway to the slow one: a convolution over time with a stride of alpha frames, to twice the channels."""

    def __init__(self, channels: int, kernel: int, alpha: int):
        super().__init__()
        padding = (kernel // 2, 0, 0)
        self.conv = nn.Conv3d(channels, 2 * channels, (kernel, 1, 1), (alpha, 1, 1), padding, bias=False)
        self.bn = nn.BatchNorm3d(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, 2C, T/alpha, H, W)."""
        return F.relu(self.bn(self.conv(x)))


class SlowFast(VideoNetwork):
    """Two pathways over one clip (N, 3, T, H, W), whose T is a multiple of alpha.

    Args:
        stages: a list of block specs for each of the slow pathway's res2, res3, res4, res5; those of the fast one are 3-D.
        alpha: frames of the fast pathway for each of the slow one. With 4, "8x8" is 8 + 32 frames; with 8, "4x16" is 4 + 32.
        lateral: temporal extent of the lateral convolutions.
        temporal_blocks: only this many first blocks of a stage have a temporal convolution.
        width: channels of the slow pathway's first convolution, a multiple of 8.
        drop_rate, head_window: see `VideoNetwork`.
    """

    def __init__(
        self,
        stages: list[list[BlockSpec]],
        num_classes: int = 400,
        width: int = 64,
        drop_rate: float = 0.0,
        head_window: int | None = None,
        *,
        alpha: int = 4,
        lateral: int = 7,
        temporal_blocks: int = 23,
    ):
        super().__init__(drop_rate, head_window)
        self.alpha = alpha

        def blocks(specs: list[BlockSpec]) -> list[BlockSpec]:
            return specs[:temporal_blocks] + [replace(spec, temporal=1) for spec in specs[temporal_blocks:]]

        thin = width // BETA
        slow = [blocks(specs) for specs in stages]
        fast = [blocks([BlockSpec(temporal=3)] * len(specs)) for specs in stages]
        self.slow = Pathway(1, slow, width, added=2 / BETA)
        self.fast = Pathway(5, fast, thin)
        self.laterals = nn.ModuleList(Lateral(channels * thin, lateral, alpha) for channels in (1, 4, 8, 16))
        self.finish(32 * (width + thin), num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, num_features, T/alpha, H/32, W/32), the fast pathway's features averaged over alpha frames.

        Raises:
            SmallBigError: T is not a multiple of alpha.
        """
        slow = stem_pool(self.slow.stem(x[:, :, slow_frames(x.shape[2], self.alpha)], relu=True))
        fast = stem_pool(self.fast.stem(x, relu=True))
        for lateral, stage in zip(self.laterals, ("res2", "res3", "res4", "res5"), strict=True):
            slow = self.run_stage(getattr(self.slow, stage), torch.cat([slow, lateral(fast)], 1))
            fast = self.run_stage(getattr(self.fast, stage), fast)
        return torch.cat([slow, F.avg_pool3d(fast, (self.alpha, 1, 1))], 1)


def slow_frames(clip_len: int, alpha: int) -> list[int]:
    """Return the indices of the slow pathway's frames: evenly spaced from the first to the last, as in PyTorchVideo.

    Raises:
        SmallBigError: `clip_len` is not a multiple of `alpha`.
    """
    if clip_len % alpha:
        raise SmallBigError(f"SlowFast needs a multiple of {alpha} frames", f"clip_len {clip_len}")
    count = clip_len // alpha
    return [i * (clip_len - 1) // max(count - 1, 1) for i in range(count)]
