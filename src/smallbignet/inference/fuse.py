"""The inference form of a network: the same outputs, several times as fast.

Most of a network's time is spent outside its multiply-accumulates: in pooling, normalisation and the order of memory. Here

- every normalisation is folded into its convolution (`folded_conv.py`): `BN_s(Wx) + BN_b(Wm)` is `(a_s W)x + (a_b W)m + b`. The
  second of these two convolutions adds to the result of the first, because one convolution of concatenated views would have to
  write the views again;
- activations are in memory as (N, T, H, W, C), which makes nearly all convolutions convolutions of images, and the maximum over
  a window three maxima of neighbouring rows (`pooling.py`);
- the T x 3 x 3 view keeps its single temporal position until it is added to the others;
- on a CPU, biases, residual sums and ReLUs are part of the convolution (`onednn.py`), and some 3 x 3 convolutions are computed
  by minimal filtering (`winograd.py`);
- on a GPU, biases, sums and ReLUs are one pass over memory after the convolutions (`fused_sum.py`).

Elsewhere, where neither is usable, and within `torch.compile`, PyTorch's public operations are used.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallbignet.errors import SmallBigError
from smallbignet.inference.folded_conv import FoldedConv, FoldedFrameConv, scale_and_shift
from smallbignet.inference.fused_sum import sum_relu, sums_are_fused
from smallbignet.inference.pooling import clip_view, stem_max, window_view
from smallbignet.inference.winograd import Winograd
from smallbignet.models.baselines import NonLocal, SqueezeExcite, TemporalShift
from smallbignet.models.network import VideoNetwork
from smallbignet.models.slowfast import Pathway, SlowFast, slow_frames
from smallbignet.models.smallbig import Bottleneck, ExtraUnit, SmallBigNet, SmallBigUnit, centre
from smallbignet.models.timm_cnn import FrameBlock, FrameConv, Frames, FrameUnit, TimmNet
from smallbignet.ops.choice import as_on_cpu

# T*H*W positions of the clips that pass through the network together on a CPU: more activations would not fit its cache.
CPU_POSITIONS = 2**19

# Where minimal filtering is faster than oneDNN's direct convolution, measured on 2 cores with AVX-512: in res3 and res4 of R50.
# In res2 there is too little to multiply; in res5 each weight, of which there are four times as many, is used too rarely.
WINOGRAD_CHANNELS = range(128, 257)
WINOGRAD_POSITIONS = 1500  # N*T*H*W, at least


def fuse(model: VideoNetwork, dtype: torch.dtype = torch.float32) -> VideoNetwork:
    """Return the inference form of a network of this package, on its device: (N, 3, T, H, W) -> float32 (N, num_classes).

    The network itself is not changed. Its inference form can't be trained; make a new one when the network has changed. It can
    be moved to another device, but fusing it there is faster: only on a CPU are weights for minimal filtering made.

    Args:
        dtype: of weights and activations, which can't be changed later. float32 gives the network's logits to 1e-5 relative;
            bfloat16 is faster, and on a GPU float16 is, too.

    Raises:
        SmallBigError: not a network of this package.
    """
    forms: dict[type[nn.Module], Any] = {SmallBigNet: FusedSmallBigNet, SlowFast: FusedSlowFast, TimmNet: FusedTimmNet}
    if type(model) not in forms:
        raise SmallBigError("only networks of this package can be fused", type(model).__name__)
    return forms[type(model)](model, dtype).eval()


class FusedNetwork(VideoNetwork):
    """The head and the methods of the network that it is made from.

    Attributes:
        layers: in their order, each (N, T, H, W, C) -> (N, T, H', W', C'). A subclass without any computes its own `features`.
    """

    def __init__(self, model: VideoNetwork, dtype: torch.dtype):
        super().__init__(head_window=model.head_window)
        self.num_features, self.num_classes, self.dtype = model.num_features, model.num_classes, dtype
        self.layers = nn.Sequential()
        self.fc = nn.Identity()
        if isinstance(model.fc, nn.Linear):
            self.fc = nn.Linear(model.fc.in_features, model.fc.out_features, device=model.fc.weight.device)
            self.fc.load_state_dict(model.fc.state_dict())
        self.requires_grad_(False)

    @torch.no_grad()
    def forward_features(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, num_features, T', H/32, W/32), float32."""
        x = x.to(self.dtype).permute(0, 2, 3, 4, 1)
        y = torch.cat([self.features(clips.contiguous()) for clips in x.split(clips_per_pass(x))])
        return y.permute(0, 4, 1, 2, 3).float()

    def features(self, x: Tensor) -> Tensor:
        """(N, T, H, W, 3) -> (N, T', H/32, W/32, num_features)."""
        return self.layers(x)


def clips_per_pass(x: Tensor) -> int:
    """Return how many of the clips (N, T, H, W, C) pass through a network together."""
    return max(CPU_POSITIONS // math.prod(x.shape[1:4]), 1) if as_on_cpu(x) else len(x)


class FusedSmallBigNet(FusedNetwork):
    def __init__(self, model: SmallBigNet, dtype: torch.dtype):
        super().__init__(model, dtype)
        trunk = FusedTrunk(model, dtype)
        stages: Any = trunk.stages
        self.layers = nn.Sequential(trunk.stem, *(block for stage in stages for block in stage))


class FusedSlowFast(FusedNetwork):
    def __init__(self, model: SlowFast, dtype: torch.dtype):
        super().__init__(model, dtype)
        self.alpha = model.alpha
        self.slow, self.fast = FusedTrunk(model.slow, dtype), FusedTrunk(model.fast, dtype)
        laterals: Any = model.laterals
        self.laterals = nn.ModuleList(FoldedConv(lateral.conv, lateral.bn, dtype) for lateral in laterals)

    def features(self, x: Tensor) -> Tensor:
        slow = self.slow.stem(x[:, slow_frames(x.shape[1], self.alpha)])
        fast = self.fast.stem(x)
        parts: Any = (self.laterals, self.slow.stages, self.fast.stages)
        for lateral, slow_stage, fast_stage in zip(*parts, strict=True):
            slow = slow_stage(torch.cat([slow, lateral(fast, relu=True)], -1))
            fast = fast_stage(fast)
        return torch.cat([slow, fast.unflatten(1, (-1, self.alpha)).mean(2)], -1)


class FusedTrunk(nn.Module):
    """The stem and the stages of a network or of one pathway."""

    def __init__(self, model: SmallBigNet | Pathway, dtype: torch.dtype):
        super().__init__()
        self.stem = FusedStem(model.stem, dtype)
        stages: Any = (model.res2, model.res3, model.res4, model.res5)
        self.stages = nn.ModuleList(nn.Sequential(*(FusedBlock(block, dtype) for block in stage)) for stage in stages)


class FusedStem(nn.Module):
    """The first convolution and the max pooling after it: (N, T, H, W, 3) -> (N, T, H/4, W/4, C)."""

    def __init__(self, unit: SmallBigUnit, dtype: torch.dtype):
        super().__init__()
        self.unit = FusedUnit(unit, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return stem_max(self.unit(x, relu=True))


class FusedUnit(nn.Module):
    """A `SmallBigUnit` with the residual sum and the ReLU after it."""

    shift: Tensor  # the biases of both views

    def __init__(self, unit: SmallBigUnit, dtype: torch.dtype):
        super().__init__()
        self.window, self.pool, self.centred = unit.window, unit.pool, unit.centred
        self.small = _folded(unit.conv, unit.bn, dtype)
        self.big = _folded(unit.conv_big or unit.conv, unit.bn_big, dtype) if unit.bn_big else None
        self.register_buffer("shift", self.small.shift + self.big.shift if self.big else None)
        self.winograd: Winograd | None = None
        if _suits_winograd(unit, dtype):
            parts = [self.small, self.big] if self.big else [self.small]
            weight = torch.cat([part.weight for part in parts], 1)
            bias = torch.stack([part.bias for part in parts]).sum(0)
            self.winograd = Winograd(weight, bias)

    def forward(self, x: Tensor, add: Tensor | None = None, relu: bool = False) -> Tensor:
        """(N, T, H, W, C) -> (N, T, H', W', C'). Where `add` is given, the result may be written to its memory."""
        views = [x]
        if self.window:
            big = window_view(x, centre(self.window, x.shape[1]) if self.centred else self.window, self.pool)
            views = [x, big] if self.big else [x + big]  # with a single normalisation, one convolution of the sum
        if self.winograd and relu and add is None and as_on_cpu(x) and math.prod(x.shape[:4]) >= WINOGRAD_POSITIONS:
            return self.winograd([view.flatten(0, 1) for view in views]).unflatten(0, x.shape[:2])
        if not self.big:
            return self.small(views[0], add, relu)
        if sums_are_fused(x):
            return sum_relu(self.small.convolve(x), self.big.convolve(big), self.shift, add, relu)
        if big.shape[1] == x.shape[1]:
            return self.big(big, self.small(x, add), relu)
        context = self.big(big)  # (N, 1, H, W, C'), the same for all frames
        add = context.expand(-1, x.shape[1], -1, -1, -1).contiguous() if add is None else add.add_(context)
        return self.small(x, add, relu)


def _folded(conv: nn.Module, bn: nn.Module | None, dtype: torch.dtype) -> Any:
    return FoldedFrameConv(conv.frame, bn, dtype) if isinstance(conv, FrameConv) else FoldedConv(conv, bn, dtype)  # type: ignore[arg-type]


def _suits_winograd(unit: SmallBigUnit, dtype: torch.dtype) -> bool:
    conv = unit.conv
    if isinstance(conv, FrameConv):
        return False
    is_3x3 = (conv.kernel_size, conv.stride) == ((1, 3, 3), (1, 1, 1))
    one_size = unit.window is None or unit.window[0] is not None  # both views have T frames
    on_cpu = conv.weight.device.type == "cpu"
    return on_cpu and dtype == torch.float32 and is_3x3 and one_size and conv.out_channels in WINOGRAD_CHANNELS


class FusedBlock(nn.Module):
    """A `Bottleneck`. It may write its output to the memory of its input."""

    def __init__(self, block: Bottleneck, dtype: torch.dtype):
        super().__init__()
        self.extra = _fused(block.extra, dtype)
        self.extra_is_first = block.extra_is_first
        self.shift = _fused(block.shift, dtype)
        self.unit1 = FusedUnit(block.unit1, dtype)
        self.unit2 = FusedUnit(block.unit2, dtype)
        self.unit3 = FusedUnit(block.unit3, dtype)
        self.shortcut = _fused(block.shortcut, dtype)
        self.nonlocal_after = _fused(block.nonlocal_after, dtype)

    def forward(self, x: Tensor) -> Tensor:
        if self.extra_is_first:
            x = self.extra(x)
        y = self.unit1(self.shift(x), relu=True)
        y = self.unit2(y, relu=True)
        y = self.unit3(y, add=self.shortcut(x), relu=True)
        if not self.extra_is_first:
            y = self.extra(y)
        return self.nonlocal_after(y)


def _fused(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return the inference form of a part that a block may lack."""
    if isinstance(module, nn.Identity):
        return module
    forms: dict[type[nn.Module], Any] = {
        ExtraUnit: FusedExtraUnit,
        SqueezeExcite: FusedSqueezeExcite,
        NonLocal: FusedNonLocal,
        TemporalShift: FusedShift,
        SmallBigUnit: FusedUnit,
    }
    return forms[type(module)](module, dtype)


class FusedExtraUnit(nn.Module):
    weight_big: Tensor

    def __init__(self, unit: ExtraUnit, dtype: torch.dtype):
        super().__init__()
        self.pool = unit.pool
        self.conv1, self.conv2 = FoldedConv(unit.conv1, None, dtype), FoldedConv(unit.conv2, unit.bn, dtype)
        self.register_buffer("weight_big", (unit.conv1_big or unit.conv1).weight.detach().flatten(1).to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        attention = F.linear(clip_view(x, self.pool), self.weight_big).sigmoid()  # (N, C/4)
        return self.conv2(self.conv1(x).mul_(attention[:, None, None, None]), add=x)


class FusedSqueezeExcite(nn.Module):
    """A `SqueezeExcite` as one multiplication and one addition per channel."""

    weight1: Tensor
    weight2: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, unit: SqueezeExcite, dtype: torch.dtype):
        super().__init__()
        self.pool = unit.pool
        scale, shift = scale_and_shift(unit.bn)
        self.register_buffer("scale", scale.to(dtype))
        self.register_buffer("shift", shift.to(dtype))
        self.register_buffer("weight1", unit.conv1.weight.detach().flatten(1).to(dtype))
        self.register_buffer("weight2", unit.conv2.weight.detach().flatten(1).to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        attention = F.linear(F.linear(clip_view(x, self.pool), self.weight1).relu(), self.weight2).sigmoid()  # (N, C)
        return torch.addcmul(self.shift, x, (1 + self.scale * attention)[:, None, None, None], out=x)


class FusedNonLocal(nn.Module):
    def __init__(self, module: NonLocal, dtype: torch.dtype):
        super().__init__()
        self.embeddings = nn.ModuleList(FoldedConv(conv, None, dtype) for conv in (module.theta, module.phi, module.g))
        self.out = FoldedConv(module.out, module.bn, dtype)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (embed(x).flatten(1, 3)[:, None] for embed in self.embeddings)  # (N, 1, T*H*W, C/2)
        y = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return self.out(y.reshape(*x.shape[:4], -1), add=x)


class FusedShift(nn.Module):
    def __init__(self, module: TemporalShift, dtype: torch.dtype):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        fold = x.shape[-1] // 8
        back, forward = slice(0, fold), slice(fold, 2 * fold)  # channels
        y = x.clone()
        y[:, :-1, :, :, back] = x[:, 1:, :, :, back]
        y[:, -1, :, :, back] = 0
        y[:, 1:, :, :, forward] = x[:, :-1, :, :, forward]
        y[:, 0, :, :, forward] = 0
        return y


class FusedTimmNet(FusedNetwork):
    def __init__(self, model: TimmNet, dtype: torch.dtype):
        super().__init__(model, dtype)
        stages: Any = (model.res2, model.res3, model.res4, model.res5)
        parts = [model.stem, *(part for stage in stages for part in stage), model.tail]
        self.layers = nn.Sequential(*(FusedFrames(part, dtype) for part in parts))


class FusedFrames(nn.Module):
    """A module of timm's on each frame, with the parts that a spec added: (N, T, H, W, C) -> (N, T, H', W', C')."""

    def __init__(self, frames: Frames, dtype: torch.dtype):
        super().__init__()
        self.extra_is_first = True
        self.extra: nn.Module = nn.Identity()
        self.nonlocal_after: nn.Module = nn.Identity()
        if isinstance(frames, FrameBlock):
            self.extra_is_first = frames.extra_is_first
            self.extra = _fused(frames.extra, dtype)
            self.nonlocal_after = _fused(frames.nonlocal_after, dtype)
        self.module = copy.deepcopy(nn.Sequential(frames.module)).requires_grad_(False)
        units = {name: unit for name, unit in self.module.named_modules() if isinstance(unit, FrameUnit)}
        for name, unit in units.items():
            self.module.set_submodule(name, FusedFrameUnit(unit, dtype))
        self.module.to(dtype).to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        y = self._on_frames(self.extra(x)) if self.extra_is_first else self.extra(self._on_frames(x))
        return self.nonlocal_after(y)

    def _on_frames(self, x: Tensor) -> Tensor:
        for unit in self.module.modules():
            if isinstance(unit, FusedFrameUnit):
                unit.clip_len = x.shape[1]
        return _as_clips(self.module(_as_frames(x)), x.shape[1])


class FusedFrameUnit(nn.Module):
    """A `FrameUnit`, as a module of timm's calls it: (N*T, C, H, W) -> (N*T, C', H', W'), in channels_last."""

    def __init__(self, unit: FrameUnit, dtype: torch.dtype):
        super().__init__()
        self.shift = _fused(unit.shift, dtype)
        self.unit = FusedUnit(unit, dtype)
        self.clip_len = 1

    def forward(self, x: Tensor) -> Tensor:
        return _as_frames(self.unit(self.shift(_as_clips(x, self.clip_len))))


def _as_clips(x: Tensor, clip_len: int) -> Tensor:
    """(N*T, C, H, W) -> (N, T, H, W, C), without a copy of what is in channels_last."""
    return x.movedim(1, -1).contiguous().unflatten(0, (-1, clip_len))


def _as_frames(x: Tensor) -> Tensor:
    """(N, T, H, W, C) -> (N*T, C, H, W), in channels_last."""
    return x.flatten(0, 1).movedim(-1, 1)
