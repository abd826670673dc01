"""SmallBigNet in the paper's order: the unit (Eq. 2), the extra unit (Fig. 2f), the block (Fig. 2), the network (Table 1).

X. Li, Y. Wang, Z. Zhou, Y. Qiao, "SmallBigNet: Integrating Core and Contextual Views for Video Classification", CVPR 2020.
Section, equation, figure and table numbers below are that paper's. Everything is NCTHW: (N, C, T, H, W).

What is worth noticing:
- A big view is a max pooling of stride 1 in front of the SAME convolution that the small view passes through, with a batch
  normalisation of its own. It adds no weights but that normalisation's, and nothing at all at the start: its scale is zero,
  so a new SmallBigNet answers exactly as the 2-D network whose weights it was given.
- Nothing depends on the clip's length or size: T in "Tx3x3" is the T of the input.
- Without a 3x1x1 convolution, every temporal operation is symmetric: a clip and its reversal get the same logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallbignet.models.baselines import NonLocal, SqueezeExcite, TemporalShift
from smallbignet.models.network import VideoNetwork
from smallbignet.ops.conv import Conv3d
from smallbignet.ops.max_pool import global_views, max_views
from smallbignet.ops.norm_relu import norm_relu

Views = tuple[str | None, str | None, str | None]


@dataclass(frozen=True)
class BlockSpec:
    """One residual block of Fig. 2 and Tables 2-9. The default is the 2-D block of Fig. 2a.

    Attributes:
        views: the big view's pooling window in front of each of the three convolutions, such as "3x3x3" or "Tx3x3" (T: all
            frames); None where the convolution has a small view only.
        temporal: temporal extent of the first convolution, 1 or 3 (Fig. 2b).
        extra: what stands in front of the block: None, "smallbig" (Fig. 2f) or "se" (Table 9's simple version).
        pool: "max" or "avg" (Table 6).
        shared: whether both views share the convolution (Table 6).
        single_bn: one normalisation of the sum instead of one a view (Table 6). Then it takes only one convolution, of the
            summed views, and the network no longer starts as its 2-D parent.
        shift: temporal shift in front of the first convolution (TSM).
        nonlocal_after: a non-local operation behind the block (Eq. 3).
    """

    views: Views = (None, None, None)
    temporal: int = 1
    extra: str | None = None
    pool: str = "max"
    shared: bool = True
    single_bn: bool = False
    shift: bool = False
    nonlocal_after: bool = False


def pool_views(x: Tensor, window: str, pool: str = "max") -> tuple[Tensor, Tensor]:
    """`x`, and the contexts around its every position: pooling of stride 1 over a T x H x W window, as "3x3x3" (Section 3).

    Args:
        x: (N, C, T, H, W).
        window: odd extents. "T" stands for all frames: then the pooling has one temporal position, (N, C, 1, H, W).
        pool: "max", or "avg", which leaves the padding out of the mean.
    """
    t, h, w = window.split("x")
    if pool == "max":
        return max_views(x, (None if t == "T" else int(t), int(h), int(w)))
    kernel = (x.shape[2] if t == "T" else int(t), int(h), int(w))
    padding = (0 if t == "T" else kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    around = [edge for p in reversed(padding) for edge in (p, p)]  # padded by hand: avg_pool3d refuses maps below its kernel
    inside = F.pad(torch.ones_like(x[:1, :1]), around)
    return x, F.avg_pool3d(F.pad(x, around), kernel, stride=1) / F.avg_pool3d(inside, kernel, stride=1)


class SmallBigUnit(nn.Module):
    """A convolution that sees a small and a big view: `BN(conv(x)) + BN_big(conv(pool(x)))` (Eq. 2, Section 6 "Training").

    Without a big view it is a convolution and its normalisation.

    Args:
        kernel: extents (t, h, w), odd; padded to keep the size.
        stride: spatial stride, of both views.
        view: window of the big view's pooling, or None.
        spec: how the views are combined (pool, shared, single_bn).
    """

    def __init__(self, cin: int, cout: int, kernel: tuple[int, int, int], stride: int, view: str | None, spec: BlockSpec):
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        conv = partial(Conv3d, cin, cout, kernel, stride=(1, stride, stride), padding=padding, bias=False)
        self.view, self.pool, self.single_bn = view, spec.pool, spec.single_bn
        self.conv = conv()
        self.bn = nn.BatchNorm3d(cout)
        self.conv_big = conv() if view and not (spec.shared or spec.single_bn) else None
        self.bn_big = zero_scale(nn.BatchNorm3d(cout)) if view and not spec.single_bn else None

    def forward(self, x: Tensor, shortcut: Tensor | None = None, relu: bool = False) -> Tensor:
        """(N, C, T, H, W) -> (N, C', T, H/stride, W/stride); with what follows in a block: the residual sum, the ReLU."""
        if self.view is None:
            return norm_relu(self.conv(x), self.bn, shortcut=shortcut, relu=relu)
        x, big = pool_views(x, self.view, self.pool)  # (N, C, T, H, W), (N, C, T or 1, H, W)
        if self.bn_big is None:  # a convolution of the sum is the sum of the convolutions
            return norm_relu(self.conv(x + big), self.bn, shortcut=shortcut, relu=relu)
        return norm_relu(self.conv(x), self.bn, (self.conv_big or self.conv)(big), self.bn_big, shortcut, relu)


class ExtraUnit(nn.Module):
    """`x + BN(conv2(conv1(x) * sigmoid(conv1(g))))`, g the maximum over T, H and W: a global big view (Fig. 2f).

    `conv1` (C to C/4) is shared by the two views, the whole clip's acting as a channel-wise attention.
    """

    def __init__(self, channels: int, shared: bool = True):
        super().__init__()
        self.conv1 = Conv3d(channels, channels // 4, 1, bias=False)
        self.conv1_big = None if shared else Conv3d(channels, channels // 4, 1, bias=False)
        self.conv2 = Conv3d(channels // 4, channels, 1, bias=False)
        self.bn = zero_scale(nn.BatchNorm3d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> the same shape."""
        x, big = global_views(x)  # (N, C, T, H, W), (N, C, 1, 1, 1)
        attention = (self.conv1_big or self.conv1)(big).sigmoid()  # (N, C/4, 1, 1, 1)
        return norm_relu(self.conv2(self.conv1(x) * attention), self.bn, shortcut=x)


class Bottleneck(nn.Module):
    """A residual block of three convolutions, any of Fig. 2a-f or of the networks the paper compares with.

    Args:
        cin: input channels.
        mid: channels of the middle convolution; the output has four times as many.
        stride: spatial stride of the middle convolution.
    """

    def __init__(self, cin: int, mid: int, stride: int, spec: BlockSpec):
        super().__init__()
        cout, (view1, view2, view3) = 4 * mid, spec.views
        extra: dict[str | None, Callable[[int], nn.Module]] = {None: nn.Identity, "se": SqueezeExcite}
        extra["smallbig"] = partial(ExtraUnit, shared=spec.shared)
        self.extra = extra[spec.extra](cin)
        self.shift = TemporalShift() if spec.shift else nn.Identity()
        self.unit1 = SmallBigUnit(cin, mid, (spec.temporal, 1, 1), 1, view1, spec)
        self.unit2 = SmallBigUnit(mid, mid, (1, 3, 3), stride, view2, spec)
        self.unit3 = SmallBigUnit(mid, cout, (1, 1, 1), 1, view3, spec)
        same = cin == cout and stride == 1
        self.shortcut = nn.Identity() if same else SmallBigUnit(cin, cout, (1, 1, 1), stride, None, spec)
        self.nonlocal_after = NonLocal(cout) if spec.nonlocal_after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, 4 mid, T, H/stride, W/stride)."""
        x = self.extra(x)
        y = self.unit1(self.shift(x), relu=True)  # (N, mid, T, H, W)
        y = self.unit2(y, relu=True)  # (N, mid, T, H/stride, W/stride)
        y = self.unit3(y, shortcut=self.shortcut(x), relu=True)
        return self.nonlocal_after(y)


class SmallBigNet(VideoNetwork):
    """The video ResNet of Table 1, each of its four stages made of one kind of block; any T, H and W.

    Args:
        depths: number of blocks in res2, res3, res4, res5.
        stages: block spec of each.
        width: channels of the first convolution; 64 is the paper's.
        drop_rate, head_window: see `VideoNetwork`.
    """

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        stages: tuple[BlockSpec, BlockSpec, BlockSpec, BlockSpec],
        num_classes: int = 400,
        width: int = 64,
        drop_rate: float = 0.0,
        head_window: int | None = None,
    ):
        super().__init__(drop_rate, head_window)
        self.stem = SmallBigUnit(3, width, (1, 7, 7), 2, None, BlockSpec())
        self.res2 = make_stage(width, width, 1, [stages[0]] * depths[0])
        self.res3 = make_stage(4 * width, 2 * width, 2, [stages[1]] * depths[1])
        self.res4 = make_stage(8 * width, 4 * width, 2, [stages[2]] * depths[2])
        self.res5 = make_stage(16 * width, 8 * width, 2, [stages[3]] * depths[3])
        self.finish(32 * width, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, num_features, T, H/32, W/32)."""
        x = stem_pool(self.stem(x, relu=True))  # (N, width, T, H/4, W/4)
        for stage in (self.res2, self.res3, self.res4, self.res5):
            x = self.run_stage(stage, x)
        return x


def stem_pool(x: Tensor) -> Tensor:
    """(N, C, T, H, W) -> (N, C, T, H/2, W/2): the 1x3x3 max pooling behind the first convolution."""
    return F.max_pool3d(x, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))


def make_stage(cin: int, mid: int, stride: int, specs: list[BlockSpec]) -> nn.Sequential:
    """A block a spec: (N, cin, T, H, W) -> (N, 4 mid, T, H/stride, W/stride)."""
    first = Bottleneck(cin, mid, stride, specs[0])
    return nn.Sequential(first, *(Bottleneck(4 * mid, mid, 1, spec) for spec in specs[1:]))


def zero_scale(bn: nn.BatchNorm3d) -> nn.BatchNorm3d:
    """Start a branch at nothing: "we initialize its scale parameter as zero" (Section 6, "Training")."""
    nn.init.zeros_(bn.weight)
    return bn
