"""The inference form of a network in operators that every runtime has: 2-D convolutions and poolings, and reshapes.

Frames are images here, (N*T, C, H, W), from the first layer to the last, and no tensor inside has more than four dimensions
(but in the rare big views that are not maxima): 3-D convolutions are slow or missing in ONNX Runtime, XNNPACK and LiteRT. T,
the number of frames in a clip, is fixed when the form is made; N, H and W are those of the input.

- Normalisations are folded into convolutions, as in `inference/fuse.py`.
- A convolution over t frames is one of images whose channels are those of t frames, one after the other.
- A maximum over T x H x W positions is one over H x W positions, and then one over frames.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallbignet.errors import SmallBigError
from smallbignet.inference.folded_conv import fold, scale_and_shift
from smallbignet.models.baselines import NonLocal, SqueezeExcite, TemporalShift
from smallbignet.models.network import VideoNetwork
from smallbignet.models.pooling import Pool, pool_clip, pool_views
from smallbignet.models.slowfast import Pathway, SlowFast, slow_frames
from smallbignet.models.smallbig import Bottleneck, ExtraUnit, SmallBigNet, SmallBigUnit, centre
from smallbignet.models.timm_cnn import FrameBlock, FrameConv, Frames, FrameUnit, TimmNet
from smallbignet.ops.max_pool import Window


def portable(model: VideoNetwork, clip_len: int) -> nn.Module:
    """Return the portable form of a network: (N, 3, clip_len, H, W) -> logits (N, num_classes), features (N, num_features).

    Raises:
        SmallBigError: not a network of this package, or SlowFast and no multiple of its alpha.
    """
    forms: dict[type[nn.Module], Any] = {SmallBigNet: PortableSmallBigNet, SlowFast: PortableSlowFast, TimmNet: PortableTimmNet}
    if type(model) not in forms:
        raise SmallBigError("only networks of this package can be exported", type(model).__name__)
    return forms[type(model)](model, clip_len).eval().requires_grad_(False)


def by_clip(x: Tensor, clip_len: int) -> Tensor:
    """(N*T, C, H, W) -> (N, T, C, H*W)."""
    return x.flatten(2).unflatten(0, (-1, clip_len))


def as_frames(x: Tensor, like: Tensor) -> Tensor:
    """(N, T, C, H*W) -> (N*T, C, H, W), with the H and W of `like`."""
    return x.reshape(-1, x.shape[2], *like.shape[2:])


class PortableNetwork(nn.Module):
    """The head, and how clips become frames. A subclass computes the `features` of its last maps."""

    def __init__(self, model: VideoNetwork, clip_len: int):
        super().__init__()
        self.clip_len, self.head_window = clip_len, model.head_window
        self.fc = copy.deepcopy(model.fc)

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(clips)
        return self.fc(features), features

    def features(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, num_features)."""
        raise NotImplementedError

    def pooled(self, x: Tensor, clip_len: int) -> Tensor:
        """(N*T, C, H, W) -> (N, C): the mean over T, H and W, or that of `VideoNetwork.head_window`."""
        if self.head_window:
            height, width = x.shape[2:]
            x = F.avg_pool2d(x, (min(height, self.head_window), min(width, self.head_window)), 1)
        return x.mean((2, 3)).unflatten(0, (-1, clip_len)).mean(1)


def frames_of(x: Tensor) -> Tensor:
    """(N, 3, T, H, W) -> (N*T, 3, H, W)."""
    return x.transpose(1, 2).flatten(0, 1)


class PortableSmallBigNet(PortableNetwork):
    def __init__(self, model: SmallBigNet, clip_len: int):
        super().__init__(model, clip_len)
        self.trunk = PortableTrunk(model, clip_len)

    def features(self, x: Tensor) -> Tensor:
        y = self.trunk.stem_and_pool(frames_of(x))
        for stage in self.trunk.stages:
            y = stage(y)
        return self.pooled(y, self.clip_len)


class PortableSlowFast(PortableNetwork):
    def __init__(self, model: SlowFast, clip_len: int):
        super().__init__(model, clip_len)
        self.slow_frames = slow_frames(clip_len, model.alpha)
        self.slow = PortableTrunk(model.slow, len(self.slow_frames))
        self.fast = PortableTrunk(model.fast, clip_len)
        laterals: Any = model.laterals
        self.laterals = nn.ModuleList(PortableConv(lateral.conv, lateral.bn, clip_len) for lateral in laterals)

    def features(self, x: Tensor) -> Tensor:
        slow = self.slow.stem_and_pool(frames_of(x[:, :, self.slow_frames]))
        fast = self.fast.stem_and_pool(frames_of(x))
        parts: Any = (self.laterals, self.slow.stages, self.fast.stages)
        for lateral, slow_stage, fast_stage in zip(*parts, strict=True):
            slow = slow_stage(torch.cat([slow, lateral(fast).relu()], 1))
            fast = fast_stage(fast)
        return torch.cat([self.pooled(slow, len(self.slow_frames)), self.pooled(fast, self.clip_len)], 1)


class PortableTrunk(nn.Module):
    """The stem and the stages of a network or of one pathway."""

    def __init__(self, model: SmallBigNet | Pathway, clip_len: int):
        super().__init__()
        self.stem = PortableUnit(model.stem, clip_len)
        stages: Any = (model.res2, model.res3, model.res4, model.res5)
        self.stages = nn.ModuleList(nn.Sequential(*(PortableBlock(block, clip_len) for block in stage)) for stage in stages)

    def stem_and_pool(self, x: Tensor) -> Tensor:
        """(N*T, 3, H, W) -> (N*T, C, H/4, W/4)."""
        return F.max_pool2d(self.stem(x).relu(), 3, stride=2, padding=1)


class PortableTimmNet(PortableNetwork):
    def __init__(self, model: TimmNet, clip_len: int):
        super().__init__(model, clip_len)
        stages: Any = (model.res2, model.res3, model.res4, model.res5)
        parts = [model.stem, *(part for stage in stages for part in stage), model.tail]
        self.parts = nn.Sequential(*(PortableFrames(part, clip_len) for part in parts))

    def features(self, x: Tensor) -> Tensor:
        return self.pooled(self.parts(frames_of(x)), self.clip_len)


class PortableFrames(nn.Module):
    """A module of timm's on each frame, with the parts that a spec added."""

    def __init__(self, frames: Frames, clip_len: int):
        super().__init__()
        self.module = copy.deepcopy(nn.Sequential(frames.module))
        units = {name: unit for name, unit in self.module.named_modules() if isinstance(unit, FrameUnit)}
        for name, unit in units.items():
            self.module.set_submodule(name, nn.Sequential(portable_part(unit.shift, clip_len), PortableUnit(unit, clip_len)))
        self.before: nn.Module = nn.Identity()
        self.after: nn.Module = nn.Identity()
        if isinstance(frames, FrameBlock):
            extra, nonlocal_after = (portable_part(part, clip_len) for part in (frames.extra, frames.nonlocal_after))
            self.before = extra if frames.extra_is_first else nn.Identity()
            self.after = nonlocal_after if frames.extra_is_first else nn.Sequential(extra, nonlocal_after)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.module(self.before(x)))


class PortableConv(nn.Module):
    """A convolution with the normalisation after it: (N*T, C, H, W) -> (N*T', C', H', W')."""

    def __init__(self, conv: Any, bn: nn.Module | None, clip_len: int):
        super().__init__()
        source = conv.frame if isinstance(conv, FrameConv) else conv
        weight, bias = (tensor.float() for tensor in fold(source, bn))
        self.clip_len, self.num_taps, self.step = clip_len, 1, 1
        self.margins: list[int] = []
        if pads_by_size(source):
            (height, width), (rows, columns) = source.kernel_size, source.stride
            self.margins = [*sides(width, columns), *sides(height, rows)]
            self.conv = nn.Conv2d(
                source.in_channels, source.out_channels, (height, width), (rows, columns), groups=source.groups
            )
        elif isinstance(source, nn.Conv2d):
            self.conv = copy.deepcopy(source)
        else:
            self.num_taps, (self.step, stride, _) = source.kernel_size[0], source.stride
            weight = weight.transpose(1, 2).flatten(1, 2)  # (C', t*C, h, w)
            kernel, padding = source.kernel_size[1:], source.padding[1:]
            self.conv = nn.Conv2d(weight.shape[1], len(weight), kernel, stride, padding)
        self.conv.weight, self.conv.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.margins:
            x = F.pad(x, self.margins)
        return self.conv(x if self.num_taps == 1 else self.taps(x))

    def taps(self, x: Tensor) -> Tensor:
        """Return the frames that each output frame sees, as its channels: (N*T, C, H, W) -> (N*T', t*C, H, W)."""
        around = self.num_taps // 2
        padded = F.pad(by_clip(x, self.clip_len), (0, 0, 0, 0, around, around))
        taps = [padded[:, k : k + self.clip_len : self.step] for k in range(self.num_taps)]
        return as_frames(torch.cat(taps, 2), x)


def pads_by_size(module: nn.Module) -> bool:
    """Return whether a convolution is timm's with the padding of TensorFlow, which depends on the size of the frames."""
    return type(module).__name__ == "Conv2dSame"


def sides(kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding of TensorFlow before and after an axis whose length is a multiple of the stride."""
    total = max(kernel - stride, 0)
    return total // 2, total - total // 2


class PortableUnit(nn.Module):
    """A `SmallBigUnit`, without the sum and the ReLU after it."""

    def __init__(self, unit: SmallBigUnit, clip_len: int):
        super().__init__()
        self.clip_len, self.pool = clip_len, unit.pool
        self.window = centre(unit.window, clip_len) if unit.window and unit.centred else unit.window
        self.small = PortableConv(unit.conv, unit.bn, clip_len)
        self.big = None
        if unit.bn_big:
            # A view of the whole clip has one frame.
            frames = 1 if self.window and self.window[0] is None else clip_len
            self.big = PortableConv(unit.conv_big or unit.conv, unit.bn_big, frames)

    def forward(self, x: Tensor) -> Tensor:
        if self.window is None:
            return self.small(x)
        big = window_view(x, self.window, self.pool, self.clip_len)
        if self.window[0] is not None:
            return self.small(x) + self.big(big) if self.big else self.small(x + big)
        if self.big is None:
            return self.small(x + repeat(big, self.clip_len))
        return self.small(x) + repeat(self.big(big), self.clip_len)


def repeat(x: Tensor, clip_len: int) -> Tensor:
    """(N, C, H, W) -> (N*T, C, H, W), the same for all frames of a clip."""
    return x.flatten(1).unsqueeze(1).expand(-1, clip_len, -1).reshape(-1, *x.shape[1:])


def window_view(x: Tensor, window: Window, pool: Pool, clip_len: int) -> Tensor:
    """Return the big view that `pool_views` makes: (N*T, C, H, W) -> the same shape, or (N, C, H, W) with all frames."""
    t, h, w = window
    if pool != "max":
        clips = x.unflatten(0, (-1, clip_len)).transpose(1, 2)
        return frames_of(pool_views(clips, window, pool)[1])
    y = F.max_pool2d(x, (h, w), 1, (h // 2, w // 2)) if (h, w) != (1, 1) else x
    if t == 1:
        return y
    rows = by_clip(y, clip_len).flatten(2).unsqueeze(1)  # (N, 1, T, C*H*W)
    if t is None:
        return rows.amax(2).reshape(-1, *x.shape[1:])
    return F.max_pool2d(rows, (t, 1), 1, (t // 2, 0)).reshape(-1, *x.shape[1:])


def clip_view(x: Tensor, pool: Pool, clip_len: int) -> Tensor:
    """Return the pooling over the whole clip that `pool_clip` makes: (N*T, C, H, W) -> (N, C)."""
    if pool == "max":
        return x.amax((2, 3)).unflatten(0, (-1, clip_len)).amax(1)
    return pool_clip(x.unflatten(0, (-1, clip_len)).transpose(1, 2), pool)[1].flatten(1)


class PortableBlock(nn.Module):
    """A `Bottleneck`."""

    def __init__(self, block: Bottleneck, clip_len: int):
        super().__init__()
        extra, self.shift, self.shortcut, nonlocal_after = (
            portable_part(part, clip_len) for part in (block.extra, block.shift, block.shortcut, block.nonlocal_after)
        )
        units = (block.unit1, block.unit2, block.unit3)
        self.unit1, self.unit2, self.unit3 = (PortableUnit(unit, clip_len) for unit in units)
        self.before = extra if block.extra_is_first else nn.Identity()
        self.after = nonlocal_after if block.extra_is_first else nn.Sequential(extra, nonlocal_after)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        y = self.unit1(self.shift(x)).relu()
        y = self.unit2(y).relu()
        y = (self.unit3(y) + self.shortcut(x)).relu()
        return self.after(y)


def portable_part(module: nn.Module, clip_len: int) -> nn.Module:
    """Return the portable form of a part that a block may lack."""
    if isinstance(module, nn.Identity):
        return module
    forms: dict[type[nn.Module], Any] = {
        ExtraUnit: PortableExtraUnit,
        SqueezeExcite: PortableSqueezeExcite,
        NonLocal: PortableNonLocal,
        TemporalShift: PortableShift,
        SmallBigUnit: PortableUnit,
    }
    return forms[type(module)](module, clip_len)


class PortableExtraUnit(nn.Module):
    def __init__(self, unit: ExtraUnit, clip_len: int):
        super().__init__()
        self.clip_len, self.pool = clip_len, unit.pool
        self.conv1, self.conv2 = PortableConv(unit.conv1, None, clip_len), PortableConv(unit.conv2, unit.bn, clip_len)
        self.conv1_big = PortableConv(unit.conv1_big or unit.conv1, None, 1)

    def forward(self, x: Tensor) -> Tensor:
        big = clip_view(x, self.pool, self.clip_len)[..., None, None]  # (N, C, 1, 1)
        attention = repeat(self.conv1_big(big).sigmoid(), self.clip_len)
        return x + self.conv2(self.conv1(x) * attention)


class PortableSqueezeExcite(nn.Module):
    """A `SqueezeExcite` as one multiplication and one addition per channel."""

    scale: Tensor
    shift: Tensor

    def __init__(self, unit: SqueezeExcite, clip_len: int):
        super().__init__()
        self.clip_len, self.pool = clip_len, unit.pool
        scale, shift = scale_and_shift(unit.bn)
        self.register_buffer("scale", scale.float().view(-1, 1, 1))
        self.register_buffer("shift", shift.float().view(-1, 1, 1))
        self.conv1, self.conv2 = PortableConv(unit.conv1, None, 1), PortableConv(unit.conv2, None, 1)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = clip_view(x, self.pool, self.clip_len)[..., None, None]  # (N, C, 1, 1)
        attention = self.conv2(self.conv1(squeezed).relu()).sigmoid()
        return x * repeat(1 + self.scale * attention, self.clip_len) + self.shift


class PortableNonLocal(nn.Module):
    """A `NonLocal`, whose attention is two matrix products: no exporter takes PyTorch's own with a scale of 1."""

    def __init__(self, module: NonLocal, clip_len: int):
        super().__init__()
        self.clip_len = clip_len
        parts = (module.theta, module.phi, module.g)
        self.theta, self.phi, self.g = (PortableConv(conv, None, clip_len) for conv in parts)
        self.out = PortableConv(module.out, module.bn, clip_len)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (by_clip(embed(x), self.clip_len) for embed in (self.theta, self.phi, self.g))  # (N, T, C/2, H*W)
        query, value = (part.transpose(2, 3).flatten(1, 2) for part in (query, value))  # (N, T*H*W, C/2)
        weights = (query @ key.transpose(1, 2).flatten(2)).softmax(2)
        y = (weights @ value).unflatten(1, (self.clip_len, -1)).transpose(2, 3)  # (N, T, C/2, H*W)
        return x + self.out(as_frames(y, x))


class PortableShift(nn.Module):
    def __init__(self, module: TemporalShift, clip_len: int):
        super().__init__()
        self.clip_len = clip_len

    def forward(self, x: Tensor) -> Tensor:
        fold = x.shape[1] // 8
        back, forward, still = by_clip(x, self.clip_len).split([fold, fold, x.shape[1] - 2 * fold], dim=2)
        back = F.pad(back[:, 1:], (0, 0, 0, 0, 0, 1))
        forward = F.pad(forward[:, :-1], (0, 0, 0, 0, 1, 0))
        return as_frames(torch.cat([back, forward, still], 2), x)
