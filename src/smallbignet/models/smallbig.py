"""SmallBigNet in the paper's order: the unit (Eq. 2), the extra unit (Fig. 2f), the block (Fig. 2), the network (Table 1).

X. Li, Y. Wang, Z. Zhou, Y. Qiao, "SmallBigNet: Integrating Core and Contextual Views for Video Classification", CVPR 2020.
Section, equation, figure and table numbers below are that paper's. Everything is NCTHW: (N, C, T, H, W).

Three properties to know:
- A big view is a max pooling of stride 1 before the SAME convolution that the small view passes through, with a batch
  normalisation of its own. It adds no weights except that normalisation's, and has no effect at the start, because its scale
  starts at zero: a new SmallBigNet computes exactly what the 2-D network computes whose weights it was given.
- Nothing depends on the clip's length or size: T in "Tx3x3" is the T of the input.
- Without a 3x1x1 convolution every temporal operation is symmetric: a clip and its reversal get the same logits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from smallbignet.models.baselines import NonLocal, SqueezeExcite, TemporalShift
from smallbignet.models.network import VideoNetwork
from smallbignet.models.pooling import Pool, pool_clip, pool_views
from smallbignet.ops.conv import Conv3d
from smallbignet.ops.max_pool import Window
from smallbignet.ops.norm_relu import norm_relu
from smallbignet.utils.checks import Must, check_fields, read_as

WINDOW = re.compile(r"(T|[0-9]?[13579])x([0-9]?[13579])x([0-9]?[13579])")
WINDOW_WORDS = 'a pooling window with odd extents TxHxW up to 99, such as "3x3x3", or "Tx3x3" for all frames'
WindowText = Annotated[str, Must(WINDOW_WORDS, WINDOW.fullmatch)]


@dataclass(frozen=True)
class BlockSpec:
    """One residual block of Fig. 2 and Tables 2-9. The default is the 2-D block of Fig. 2a.

    Attributes:
        views: the pooling window of the big view before each of the three convolutions, such as "3x3x3" or "Tx3x3" (T: all
            frames); None where the convolution has a small view only.
        temporal: temporal extent of the first convolution, 1 or 3 (Fig. 2b).
        extra: the extra unit: None, "smallbig" (Fig. 2f) or "se" (Table 9's simple version).
        pool: pooling of the big views: "max"; "avg" (Table 6); or "vector", the feature vector with the largest norm.
        shared: whether both views share the convolution (Table 6).
        single_bn: one normalisation of the sum instead of one for each view (Table 6). A unit then needs only one convolution,
            of the summed views, and the network no longer starts as its 2-D parent.
        shift: temporal shift before the first convolution (TSM).
        nonlocal_after: a non-local operation after the block (Eq. 3).
        extra_place: whether the extra unit comes "before" the block or "after" it.
        extra_pool: pooling of the extra unit over the whole clip; None: the maximum in "smallbig", the mean in "se".
        centred: T in a window stands for T frames around each frame (T + 1 if T is even), not for the whole clip.

    Raises:
        SmallBigError: a field that has another value than these.
    """

    views: tuple[WindowText | None, WindowText | None, WindowText | None] = (None, None, None)
    temporal: Literal[1, 3] = 1
    extra: Literal["smallbig", "se"] | None = None
    pool: Pool = "max"
    shared: bool = True
    single_bn: bool = False
    shift: bool = False
    nonlocal_after: bool = False
    extra_place: Literal["before", "after"] = "before"
    extra_pool: Pool | None = None
    centred: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "block")

    @cached_property
    def windows(self) -> list[Window | None]:
        """`views`, parsed."""
        return [None if view is None else parse_window(view) for view in self.views]


def parse_window(text: str) -> Window:
    """Return the extents (t, h, w) of a pooling window written "3x3x3", or "Tx3x3" for all frames, which is (None, 3, 3).

    Raises:
        SmallBigError: another form, or an extent that is even or above 99.
    """
    t, h, w = read_as(WindowText, text, "window").split("x")
    return None if t == "T" else int(t), int(h), int(w)


class SmallBigUnit(nn.Module):
    """A convolution of a small and a big view: `BN(conv(x)) + BN_big(conv(pool(x)))` (Eq. 2, Section 6 "Training").

    Without a big view it is a convolution with its normalisation.

    Args:
        kernel: odd extents (t, h, w); the padding keeps the size.
        stride: spatial stride of both views.
        window: pooling window of the big view, or None.
        spec: how the big view is made (pool, centred) and combined with the small one (shared, single_bn).
    """

    def __init__(self, cin: int, cout: int, kernel: tuple[int, int, int], stride: int, window: Window | None, spec: BlockSpec):
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        conv = partial(Conv3d, cin, cout, kernel, stride=(1, stride, stride), padding=padding, bias=False)
        self.window = window
        self.pool: Pool = spec.pool
        self.centred = spec.centred
        self.conv = conv()
        self.bn = nn.BatchNorm3d(cout)
        self.conv_big = conv() if window and not (spec.shared or spec.single_bn) else None
        self.bn_big = zero_scale(nn.BatchNorm3d(cout)) if window and not spec.single_bn else None

    def forward(self, x: Tensor, shortcut: Tensor | None = None, relu: bool = False) -> Tensor:
        """(N, C, T, H, W) -> (N, C', T, H/stride, W/stride), with the block's residual sum and ReLU where they are given."""
        if self.window is None:
            return norm_relu(self.conv(x), self.bn, shortcut=shortcut, relu=relu)
        window = centre(self.window, x.shape[2]) if self.centred else self.window
        x, big = pool_views(x, window, self.pool)  # (N, C, T, H, W), (N, C, T or 1, H, W)
        if self.bn_big is None:  # a convolution of the sum is the sum of the convolutions
            return norm_relu(self.conv(x + big), self.bn, shortcut=shortcut, relu=relu)
        return norm_relu(self.conv(x), self.bn, (self.conv_big or self.conv)(big), self.bn_big, shortcut, relu)


def centre(window: Window, num_frames: int) -> Window:
    """Return a window whose T is a tube around each frame: of all T frames or, because extents are odd, one more."""
    t, h, w = window
    return (2 * (num_frames // 2) + 1 if t is None else t), h, w


class ExtraUnit(nn.Module):
    """`x + BN(conv2(conv1(x) * sigmoid(conv1(g))))`, where g is the maximum over T, H and W: a global big view (Fig. 2f).

    The two views share `conv1` (C to C/4). The view of the whole clip acts as an attention over channels.

    Args:
        shared: whether both views share `conv1` (Table 6).
        pool: the pooling that makes g (Table 6).
    """

    def __init__(self, channels: int, shared: bool = True, pool: Pool = "max"):
        super().__init__()
        self.pool: Pool = pool
        self.conv1 = Conv3d(channels, channels // 4, 1, bias=False)
        self.conv1_big = None if shared else Conv3d(channels, channels // 4, 1, bias=False)
        self.conv2 = Conv3d(channels // 4, channels, 1, bias=False)
        self.bn = zero_scale(nn.BatchNorm3d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> the same shape."""
        x, big = pool_clip(x, self.pool)  # (N, C, T, H, W), (N, C, 1, 1, 1)
        attention = (self.conv1_big or self.conv1)(big).sigmoid()  # (N, C/4, 1, 1, 1)
        return norm_relu(self.conv2(self.conv1(x) * attention), self.bn, shortcut=x)


def make_extra(channels: int, spec: BlockSpec) -> nn.Module:
    """Return the extra unit that a spec names, which keeps the shape (N, C, T, H, W)."""
    kinds: dict[str | None, Callable[[int], nn.Module]] = {
        None: nn.Identity,
        "smallbig": partial(ExtraUnit, shared=spec.shared, pool=spec.extra_pool or "max"),
        "se": partial(SqueezeExcite, pool=spec.extra_pool or "avg"),
    }
    return kinds[spec.extra](channels)


class Bottleneck(nn.Module):
    """A residual block of three convolutions: any of Fig. 2a-f, or of the networks that the paper compares with.

    Args:
        cin: input channels.
        mid: channels of the middle convolution; the output has four times as many.
        stride: spatial stride of the middle convolution.
    """

    def __init__(self, cin: int, mid: int, stride: int, spec: BlockSpec):
        super().__init__()
        cout = 4 * mid
        window1, window2, window3 = spec.windows
        self.extra_is_first = spec.extra_place == "before"
        self.extra = make_extra(cin if self.extra_is_first else cout, spec)
        self.shift = TemporalShift() if spec.shift else nn.Identity()
        self.unit1 = SmallBigUnit(cin, mid, (spec.temporal, 1, 1), 1, window1, spec)
        self.unit2 = SmallBigUnit(mid, mid, (1, 3, 3), stride, window2, spec)
        self.unit3 = SmallBigUnit(mid, cout, (1, 1, 1), 1, window3, spec)
        same = cin == cout and stride == 1
        self.shortcut = nn.Identity() if same else SmallBigUnit(cin, cout, (1, 1, 1), stride, None, spec)
        self.nonlocal_after = NonLocal(cout) if spec.nonlocal_after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, 4 mid, T, H/stride, W/stride)."""
        if self.extra_is_first:
            x = self.extra(x)
        y = self.unit1(self.shift(x), relu=True)  # (N, mid, T, H, W)
        y = self.unit2(y, relu=True)  # (N, mid, T, H/stride, W/stride)
        y = self.unit3(y, shortcut=self.shortcut(x), relu=True)
        if not self.extra_is_first:
            y = self.extra(y)
        return self.nonlocal_after(y)


class SmallBigNet(VideoNetwork):
    """The video ResNet of Table 1 for any T, H and W.

    Args:
        stages: a list of block specs for each of res2, res3, res4, res5.
        width: channels of the first convolution; 64 is the paper's.
        drop_rate, head_window: see `VideoNetwork`.
    """

    def __init__(
        self,
        stages: list[list[BlockSpec]],
        num_classes: int = 400,
        width: int = 64,
        drop_rate: float = 0.0,
        head_window: int | None = None,
    ):
        super().__init__(drop_rate, head_window)
        self.stem = SmallBigUnit(3, width, (1, 7, 7), 2, None, BlockSpec())
        self.res2 = make_stage(width, width, 1, stages[0])
        self.res3 = make_stage(4 * width, 2 * width, 2, stages[1])
        self.res4 = make_stage(8 * width, 4 * width, 2, stages[2])
        self.res5 = make_stage(16 * width, 8 * width, 2, stages[3])
        self.finish(32 * width, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, num_features, T, H/32, W/32)."""
        x = stem_pool(self.stem(x, relu=True))  # (N, width, T, H/4, W/4)
        for stage in (self.res2, self.res3, self.res4, self.res5):
            x = self.run_stage(stage, x)
        return x


def stem_pool(x: Tensor) -> Tensor:
    """(N, C, T, H, W) -> (N, C, T, H/2, W/2): the 1x3x3 max pooling after the first convolution."""
    return F.max_pool3d(x, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))


def make_stage(cin: int, mid: int, stride: int, specs: list[BlockSpec]) -> nn.Sequential:
    """Return one block for each spec: (N, cin, T, H, W) -> (N, 4 mid, T, H/stride, W/stride)."""
    first = Bottleneck(cin, mid, stride, specs[0])
    return nn.Sequential(first, *(Bottleneck(4 * mid, mid, 1, spec) for spec in specs[1:]))


def zero_scale(bn: nn.BatchNorm3d) -> nn.BatchNorm3d:
    """Switch a branch off at the start: "we initialize its scale parameter as zero" (Section 6, "Training")."""
    nn.init.zeros_(bn.weight)
    return bn
