"""The inference form of a network: the same answers, several times faster.

Where a network's time goes is not where its multiply-accumulates are: pooling, normalisation and memory layout dominate. Here

- every normalisation is folded into its convolution: `BN_s(Wx) + BN_b(Wm)` is `(a_s W)x + (a_b W)m + b`, two convolutions of
  which the second adds to the first one's result (one convolution over concatenated views would have to write them again);
- activations lie in memory as (N, T, H, W, C), so that a 1 x k x k convolution is one of images, a k x 1 x 1 convolution one of
  images T high and H*W wide, and a maximum over a window is three maxima of neighbouring rows;
- the T x 3 x 3 view has one temporal position all the way and meets the others only as a sum;
- biases, residual sums and ReLUs are part of the convolution where the processor's library (oneDNN) can do that, and in place
  elsewhere. That part of PyTorch is private, and used only where it is found.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallbignet.errors import SmallBigError
from smallbignet.inference.winograd import Winograd
from smallbignet.models.baselines import NonLocal, SqueezeExcite, TemporalShift
from smallbignet.models.network import VideoNetwork
from smallbignet.models.slowfast import Pathway, SlowFast, slow_frames
from smallbignet.models.smallbig import Bottleneck, ExtraUnit, SmallBigNet, SmallBigUnit, pool_views
from smallbignet.ops.max_pool import Window

ONEDNN: Any = torch.ops.mkldnn
HAS_ONEDNN = torch.backends.mkldnn.is_available() and all(
    hasattr(ONEDNN, op)
    for op in ("_convolution_pointwise", "_convolution_pointwise_", "_reorder_convolution_weight", "_is_mkldnn_bf16_supported")
)

# Where minimal filtering is faster than oneDNN's direct convolution, measured on 2 cores with AVX-512: in res3 and res4 of R50.
# Before, there is too little to multiply; behind, each weight (there are four times as many) is used too seldom.
WINOGRAD_CHANNELS = range(128, 257)
WINOGRAD_POSITIONS = 1500
AT_ONCE = 2**19  # T*H*W positions of the clips in one pass on a processor: with more, the activations fall out of its cache


def fuse(model: VideoNetwork, dtype: torch.dtype = torch.float32) -> VideoNetwork:
    """The inference form of one of our networks, on its device: (N, 3, T, H, W) -> float32 logits (N, num_classes).

    The given network stays as it is. The result can't be trained; fuse again when the network has changed.

    Args:
        dtype: of weights and activations: float32 answers as the network does, to 1e-5 relative; bfloat16 is faster.

    Raises:
        SmallBigError: not one of our networks.
    """
    if not isinstance(model, (SmallBigNet, SlowFast)):
        raise SmallBigError("only networks of this package can be fused", type(model).__name__)
    fused = FusedSlowFast(model, dtype) if isinstance(model, SlowFast) else FusedSmallBigNet(model, dtype)
    return fused.eval()


class FusedNetwork(VideoNetwork):
    """Head and surface of the network that it is made from."""

    def __init__(self, model: VideoNetwork, dtype: torch.dtype):
        super().__init__(head_window=model.head_window)
        self.num_features, self.num_classes, self.dtype = model.num_features, model.num_classes, dtype
        self.fc = nn.Identity()
        if isinstance(model.fc, nn.Linear):
            self.fc = nn.Linear(model.fc.in_features, model.fc.out_features, device=model.fc.weight.device)
            self.fc.load_state_dict(model.fc.state_dict())
        self.requires_grad_(False)

    @torch.no_grad()
    def forward_features(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, num_features, T', H/32, W/32), float32."""
        x = x.to(self.dtype).permute(0, 2, 3, 4, 1)
        together = max(AT_ONCE // math.prod(x.shape[1:4]), 1) if x.device.type == "cpu" else len(x)
        y = torch.cat([self.features(clips.contiguous()) for clips in x.split(together)])
        return y.permute(0, 4, 1, 2, 3).float()

    def features(self, x: Tensor) -> Tensor:
        """(N, T, H, W, 3) -> (N, T', H/32, W/32, num_features)."""
        raise NotImplementedError


class FusedSmallBigNet(FusedNetwork):
    def __init__(self, model: SmallBigNet, dtype: torch.dtype):
        super().__init__(model, dtype)
        self.trunk = Trunk(model, dtype)

    def features(self, x: Tensor) -> Tensor:
        x = self.trunk.stem_and_pool(x)
        for stage in self.trunk.stages:
            x = stage(x)
        return x


class FusedSlowFast(FusedNetwork):
    def __init__(self, model: SlowFast, dtype: torch.dtype):
        super().__init__(model, dtype)
        self.alpha = model.alpha
        self.slow, self.fast = Trunk(model.slow, dtype), Trunk(model.fast, dtype)
        laterals: Any = model.laterals
        self.laterals = nn.ModuleList(Conv(lateral.conv, lateral.bn, dtype) for lateral in laterals)

    def features(self, x: Tensor) -> Tensor:
        slow = self.slow.stem_and_pool(x[:, slow_frames(x.shape[1], self.alpha)])
        fast = self.fast.stem_and_pool(x)
        parts: Any = (self.laterals, self.slow.stages, self.fast.stages)
        for lateral, slow_stage, fast_stage in zip(*parts, strict=True):
            slow = slow_stage(torch.cat([slow, lateral(fast, relu=True)], -1))
            fast = fast_stage(fast)
        return torch.cat([slow, fast.unflatten(1, (-1, self.alpha)).mean(2)], -1)


class Trunk(nn.Module):
    """Stem and stages of a network or of one pathway."""

    def __init__(self, model: SmallBigNet | Pathway, dtype: torch.dtype):
        super().__init__()
        self.stem = Unit(model.stem, dtype)
        stages: Any = (model.res2, model.res3, model.res4, model.res5)
        self.stages = nn.ModuleList(nn.Sequential(*(Block(block, dtype) for block in stage)) for stage in stages)

    def stem_and_pool(self, x: Tensor) -> Tensor:
        return halved_max(halved_max(self.stem(x, relu=True), 2), 3)


class Conv(nn.Module):
    """A convolution of (N, T, H, W, C) with its normalisation folded in and all that follows: `relu(conv(x) + bias + add)`."""

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv3d, bn: nn.Module | None, dtype: torch.dtype):
        super().__init__()
        weight, bias = conv.weight.detach().double(), conv.bias
        one, zero = weight.new_ones(len(weight)), weight.new_zeros(len(weight))
        scale, shift = affine(bn) if isinstance(bn, nn.BatchNorm3d) else (one, zero)
        weight, bias = weight * scale.view(-1, 1, 1, 1, 1), shift if bias is None else shift + bias.detach() * scale
        (t, h, w), (step, side, _) = conv.kernel_size, conv.stride
        self.stride, self.padding = list(conv.stride), list(conv.padding)
        self.folded = (0, 1) if t == step == 1 else (2, 3) if h == w == side == 1 else None  # axes of x that become one
        if self.folded:
            kept = slice(1, 3) if self.folded == (0, 1) else slice(0, 2)
            self.stride, self.padding, weight = self.stride[kept], self.padding[kept], weight.squeeze(2 if t == 1 else 4)
        layout = torch.channels_last if self.folded else torch.channels_last_3d
        self.register_buffer("weight", weight.to(dtype).contiguous(memory_format=layout))
        self.register_buffer("bias", bias.to(dtype))
        here = {torch.float32: HAS_ONEDNN, torch.bfloat16: HAS_ONEDNN and ONEDNN._is_mkldnn_bf16_supported()}
        self.onednn = here.get(dtype, False)
        self.packed: tuple[Any, Tensor] | None = None  # the weights as oneDNN wants them for an input shape

    def forward(self, x: Tensor, add: Tensor | None = None, relu: bool = False) -> Tensor:
        """(N, T, H, W, C) -> (N, T', H', W', C').

        Args:
            add: is added before the ReLU; its memory takes the result.
        """
        n, t, h, w, _ = x.shape
        if not self.folded:
            return self._plain(F.conv3d, x, add, relu)
        x, add = x.flatten(*self.folded), add if add is None else add.flatten(*self.folded)
        y = self._onednn(x, add, relu) if self.onednn and x.device.type == "cpu" else self._plain(F.conv2d, x, add, relu)
        return y.unflatten(0, (n, t)) if self.folded == (0, 1) else y.unflatten(2, (h, w))

    def _plain(self, conv, x: Tensor, add: Tensor | None, relu: bool) -> Tensor:
        y = conv(x.movedim(-1, 1), self.weight, self.bias, self.stride, self.padding).movedim(1, -1).contiguous()
        y = y if add is None else add.add_(y)
        return y.relu_() if relu else y

    def _onednn(self, x: Tensor, add: Tensor | None, relu: bool) -> Tensor:
        image, ones, then = x.movedim(-1, 1), [1, 1], "relu" if relu else "none"
        if self.packed is None or self.packed[0] != image.shape:
            packed = ONEDNN._reorder_convolution_weight(self.weight, self.padding, self.stride, ones, 1, image.shape)
            self.packed = image.shape, packed
        args = (self.packed[1], self.bias, self.padding, self.stride, ones, 1)
        if add is None:
            y = ONEDNN._convolution_pointwise(image, *args, then, [], "")
        else:
            y = ONEDNN._convolution_pointwise_(add.movedim(-1, 1), image, *args, "add", 1.0, then if relu else None, [], "")
        return y.movedim(1, -1)


class Unit(nn.Module):
    """`SmallBigUnit`, and what follows it: the residual sum, the ReLU."""

    def __init__(self, unit: SmallBigUnit, dtype: torch.dtype):
        super().__init__()
        self.window, self.pool = unit.window, unit.pool
        self.small = Conv(unit.conv, unit.bn, dtype)
        self.big = Conv(unit.conv_big or unit.conv, unit.bn_big, dtype) if unit.bn_big else None
        self.winograd: Winograd | None = None
        conv, whole = unit.conv, unit.window is not None and unit.window[0] is None
        square = (conv.kernel_size, conv.stride) == ((1, 3, 3), (1, 1, 1))
        if square and conv.out_channels in WINOGRAD_CHANNELS and dtype == torch.float32 and not whole:
            parts = [self.small, self.big] if self.big else [self.small]
            weight, bias = torch.cat([part.weight for part in parts], 1), torch.stack([part.bias for part in parts]).sum(0)
            self.winograd = Winograd(weight, bias)

    def forward(self, x: Tensor, add: Tensor | None = None, relu: bool = False) -> Tensor:
        views = [x]
        if self.window:
            big = window_max(x, self.window) if self.pool == "max" else window_mean(x, self.window)
            views = [x, big] if self.big else [x + big]  # with a single normalisation, one convolution of the sum
        if self.winograd and x.device.type == "cpu" and relu and add is None and math.prod(x.shape[:4]) >= WINOGRAD_POSITIONS:
            return self.winograd([view.flatten(0, 1) for view in views]).unflatten(0, x.shape[:2])
        if not self.big:
            return self.small(views[0], add, relu)
        if big.shape[1] == x.shape[1]:
            return self.big(big, self.small(x, add), relu)
        context = self.big(big)  # (N, 1, H, W, C'), the same for all frames
        add = context.expand(-1, x.shape[1], -1, -1, -1).contiguous() if add is None else add.add_(context)
        return self.small(x, add, relu)


class Block(nn.Module):
    """`Bottleneck`. The memory of its input may take its output."""

    def __init__(self, block: Bottleneck, dtype: torch.dtype):
        super().__init__()
        forms = {ExtraUnit: Extra, SqueezeExcite: Excite, NonLocal: Attention, TemporalShift: Shift, SmallBigUnit: Unit}

        def fused(module: nn.Module) -> nn.Module:
            return module if isinstance(module, nn.Identity) else forms[type(module)](module, dtype)

        self.extra, self.shift, self.nonlocal_after = fused(block.extra), fused(block.shift), fused(block.nonlocal_after)
        self.unit1, self.unit2, self.unit3 = (Unit(unit, dtype) for unit in (block.unit1, block.unit2, block.unit3))
        self.shortcut = fused(block.shortcut)

    def forward(self, x: Tensor) -> Tensor:
        x = self.extra(x)
        y = self.unit1(self.shift(x), relu=True)
        y = self.unit2(y, relu=True)
        return self.nonlocal_after(self.unit3(y, add=self.shortcut(x), relu=True))


class Extra(nn.Module):
    """`ExtraUnit`."""

    weight_big: Tensor

    def __init__(self, unit: ExtraUnit, dtype: torch.dtype):
        super().__init__()
        self.conv1, self.conv2 = Conv(unit.conv1, None, dtype), Conv(unit.conv2, unit.bn, dtype)
        self.register_buffer("weight_big", (unit.conv1_big or unit.conv1).weight.detach().flatten(1).to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        attention = F.linear(x.amax(1).amax((1, 2)), self.weight_big).sigmoid()  # (N, C/4)
        return self.conv2(self.conv1(x).mul_(attention[:, None, None, None]), add=x)


class Excite(nn.Module):
    """`SqueezeExcite`: a scale and a shift a channel."""

    weight1: Tensor
    weight2: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, unit: SqueezeExcite, dtype: torch.dtype):
        super().__init__()
        scale, shift = affine(unit.bn)
        for name, value in (("scale", scale), ("shift", shift)):
            self.register_buffer(name, value.to(dtype))
        for name, conv in (("weight1", unit.conv1), ("weight2", unit.conv2)):
            self.register_buffer(name, conv.weight.detach().flatten(1).to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        attention = F.linear(F.linear(x.mean((1, 2, 3)), self.weight1).relu(), self.weight2).sigmoid()  # (N, C)
        return torch.addcmul(self.shift, x, (1 + self.scale * attention)[:, None, None, None], out=x)


class Attention(nn.Module):
    """`NonLocal`."""

    def __init__(self, module: NonLocal, dtype: torch.dtype):
        super().__init__()
        self.embeddings = nn.ModuleList(Conv(conv, None, dtype) for conv in (module.theta, module.phi, module.g))
        self.out = Conv(module.out, module.bn, dtype)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (embed(x).flatten(1, 3)[:, None] for embed in self.embeddings)  # (N, 1, T*H*W, C/2)
        y = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return self.out(y.reshape(*x.shape[:4], -1), add=x)


class Shift(nn.Module):
    """`TemporalShift`."""

    def __init__(self, module: TemporalShift, dtype: torch.dtype):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        fold, y = x.shape[-1] // 8, x.clone()
        y[:, :-1, :, :, :fold], y[:, -1, :, :, :fold] = x[:, 1:, :, :, :fold], 0
        y[:, 1:, :, :, fold : 2 * fold], y[:, 0, :, :, fold : 2 * fold] = x[:, :-1, :, :, fold : 2 * fold], 0
        return y


def affine(bn: nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """The scale and shift of each channel that a normalisation in eval mode is, in float64."""
    assert bn.running_mean is not None and bn.running_var is not None
    mean, var = bn.running_mean.double(), bn.running_var.double()
    scale = bn.weight.detach().double() / (var + bn.eps).sqrt()
    return scale, bn.bias.detach().double() - mean * scale


def window_max(x: Tensor, window: Window) -> Tensor:
    """`pool_views`' big view, (N, T, H, W, C): maxima over T, then over H, then over W. A window of 5 is one of 3 twice."""
    if x.is_cuda:
        return pool_views(x.permute(0, 4, 1, 2, 3), window)[1].permute(0, 2, 3, 4, 1).contiguous()
    t, h, w = window
    y = x.amax(1, keepdim=True) if t is None else x
    reaches = [t // 2 if t else 0, h // 2, w // 2]
    scratch = torch.empty_like(y)
    for dim in [i + 1 for i, reach in enumerate(reaches) for _ in range(reach) if y.shape[i + 1] > 1]:
        y = neighbour_max(y, dim, torch.empty_like(y) if y is x else y, scratch)
    return y


def neighbour_max(x: Tensor, dim: int, out: Tensor, scratch: Tensor) -> Tensor:
    """The maximum of each position and its two neighbours along a dimension of more than one; `out` may be `x`."""
    size = x.shape[dim]
    shape = (*x.shape[:dim], size - 1, *x.shape[dim + 1 :])
    pairs = scratch.view(-1)[: math.prod(shape)].view(shape)
    torch.maximum(x.narrow(dim, 0, size - 1), x.narrow(dim, 1, size - 1), out=pairs)
    out.narrow(dim, 0, 1).copy_(pairs.narrow(dim, 0, 1))
    out.narrow(dim, size - 1, 1).copy_(pairs.narrow(dim, size - 2, 1))
    torch.maximum(pairs.narrow(dim, 0, size - 2), pairs.narrow(dim, 1, size - 2), out=out.narrow(dim, 1, size - 2))
    return out


def halved_max(x: Tensor, dim: int) -> Tensor:
    """Maxima over 3 neighbours along a dimension, around every other position."""
    even, odd = (x.transpose(0, dim)[i::2].transpose(0, dim) for i in (0, 1))
    pairs = odd.shape[dim]
    y = even.contiguous()
    for start, count in ((0, pairs), (1, even.shape[dim] - 1)):
        part = y.narrow(dim, start, count)
        torch.maximum(part, odd.narrow(dim, 0, count), out=part)
    return y


def window_mean(x: Tensor, window: Window) -> Tensor:
    """`pool_views`' big view, (N, T, H, W, C), by averages; in float32, for PyTorch has no others on a processor."""
    return pool_views(x.float().permute(0, 4, 1, 2, 3), window, "avg")[1].permute(0, 2, 3, 4, 1).to(x.dtype).contiguous()
