"""Any image CNN of timm with batch normalisation as a video network, whose convolutions are SmallBig units.

timm's own modules compute each frame; `timm_structure.py` finds the units, blocks and stages in them. A spec's three big views
are those of the first, the middle and the last unit of a block, shortcuts not counted. A block of two units has the first and
the last of them, a block of one has none. A block of timm's may have normalisations or attention between its convolutions; they
remain as they are, for each frame. So do the stem and the tail.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from smallbignet.errors import SmallBigError
from smallbignet.models.baselines import NonLocal, TemporalShift
from smallbignet.models.network import VideoNetwork
from smallbignet.models.smallbig import BlockSpec, SmallBigUnit, make_extra, zero_scale
from smallbignet.models.timm_structure import Structure, find_structure, make_image_network
from smallbignet.ops.max_pool import Window


def as_clips(x: Tensor, clip_len: int) -> Tensor:
    """(N*T, C, H, W) -> (N, C, T, H, W). No copy; channels_last becomes channels_last_3d."""
    return x.movedim(1, -1).unflatten(0, (-1, clip_len)).movedim(-1, 1)


def as_frames(x: Tensor) -> Tensor:
    """(N, C, T, H, W) -> (N*T, C, H, W), in channels_last. No copy of what is in channels_last_3d."""
    return x.movedim(1, -1).flatten(0, 1).movedim(-1, 1)


class SparseConv(nn.Conv2d):
    """A convolution of 1 x 1 with a stride, of every position that it needs.

    On a CPU, PyTorch 2.14 writes beyond its memory in the backward pass of its own one, if the positions are in channels_last
    and the channels are no multiple of 8, as in the stem of RepVGG.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__(conv.in_channels, conv.out_channels, 1, bias=conv.bias is not None)
        self.weight, self.bias, self.step = conv.weight, conv.bias, conv.stride

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, :, :: self.step[0], :: self.step[1]])


class FrameConv(nn.Module):
    """A convolution of timm's on each frame: (N, C, T, H, W) -> (N, C', T, H', W')."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        is_sparse = conv.kernel_size == (1, 1) and conv.stride != (1, 1) and conv.groups == 1 and conv.in_channels % 8
        self.frame = SparseConv(conv) if is_sparse else conv

    def forward(self, x: Tensor) -> Tensor:
        return as_clips(self.frame(as_frames(x)), x.shape[2])


class FrameUnit(SmallBigUnit):
    """A `SmallBigUnit` in the place of a convolution and its normalisation within a module of timm's.

    Args:
        conv: timm's convolution.
        bn: its normalisation, whose weights and statistics the unit takes over.
        window: pooling window of the big view, or None.
        spec: how the views are combined, and whether the convolution sees shifted channels.
    """

    def __init__(self, conv: nn.Conv2d, bn: nn.BatchNorm2d, window: Window | None, spec: BlockSpec):
        nn.Module.__init__(self)
        self.window = window
        self.pool = spec.pool
        self.centred = spec.centred
        self.conv: Any = FrameConv(conv)
        self.bn = nn.BatchNorm3d(bn.num_features, bn.eps, bn.momentum)
        self.conv_big: Any = FrameConv(copy.deepcopy(conv)) if window and not (spec.shared or spec.single_bn) else None
        self.bn_big = None
        if window and not spec.single_bn:
            self.bn_big = zero_scale(nn.BatchNorm3d(bn.num_features, bn.eps, bn.momentum))
        for name, tensor in (*bn.named_parameters(recurse=False), *bn.named_buffers(recurse=False)):
            setattr(self.bn, name, tensor)
        self.shift = TemporalShift() if spec.shift else nn.Identity()
        self.clip_len = 1  # the frames of a clip, which `Frames` sets before each call

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(N*T, C, H, W) -> (N*T, C', H', W')."""
        return as_frames(super().forward(self.shift(as_clips(x, self.clip_len))))


class Frames(nn.Module):
    """A module for images on each frame of a clip: (N, C, T, H, W) -> (N, C', T, H', W').

    Its units are told the number of frames at every call, so a network must not be called by two threads at once with clips of
    different lengths.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        for unit in self.module.modules():
            if isinstance(unit, FrameUnit):
                unit.clip_len = x.shape[2]
        return as_clips(self.module(as_frames(x)), x.shape[2])


class FrameBlock(Frames):
    """A block of timm's, with the parts that a spec adds before and after it.

    Args:
        cin, cout: channels of its input and its output.
    """

    def __init__(self, module: nn.Module, cin: int, cout: int, spec: BlockSpec):
        super().__init__(module)
        self.extra_is_first = spec.extra_place == "before"
        self.extra = make_extra(cin if self.extra_is_first else cout, spec)
        self.nonlocal_after = NonLocal(cout) if spec.nonlocal_after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, cin, T, H, W) -> (N, cout, T, H', W')."""
        y = super().forward(self.extra(x)) if self.extra_is_first else self.extra(super().forward(x))
        return self.nonlocal_after(y)


class TimmNet(VideoNetwork):
    """An image network of timm's for clips of any T, H and W: (N, 3, T, H, W) -> (N, num_classes).

    Args:
        architecture: timm's name, without a tag.
        stages: block specs for each of res2, res3, res4 and res5. Where a stage has more blocks than specs, they are repeated.
        drop_rate, head_window: see `VideoNetwork`.

    Attributes:
        keys: timm's name -> our name of each tensor of the image network.

    Raises:
        SmallBigError: timm is not installed, has no such network, it can't be made into a video network, or a spec has
            convolutions over time, which timm's networks lack.
    """

    def __init__(
        self,
        architecture: str,
        stages: Sequence[Sequence[BlockSpec]],
        num_classes: int = 400,
        drop_rate: float = 0.0,
        head_window: int | None = None,
    ):
        super().__init__(drop_rate, head_window)
        structure = find_structure(architecture)
        image = make_image_network(architecture)
        names = {id(tensor): name for name, tensor in image.state_dict(keep_vars=True).items()}
        specs: dict[str, BlockSpec] = {}
        for (stage, parts), kinds in zip(structure.stages.items(), stages, strict=True):
            blocks = [part for part in parts if len(structure.paths.get(part, ())) > 1]
            if len(kinds) > len(blocks) > 0:
                raise SmallBigError(f"{stage} has {len(blocks)} blocks, so its list has at most as many", f"{len(kinds)} given")
            specs |= {block: kinds[i % len(kinds)] for i, block in enumerate(blocks)}
        if any(spec.temporal != 1 for spec in specs.values()):
            raise SmallBigError("blocks of timm's networks have no convolutions over time, so 3d can't be among their stages")
        _insert_units(image, structure, specs)
        self.architecture = architecture
        self.stem = Frames(nn.Sequential(*map(image.get_submodule, structure.stem)))
        for stage, parts in structure.stages.items():
            made = [
                FrameBlock(image.get_submodule(part), *structure.channels[part], specs[part])
                if part in specs
                else Frames(image.get_submodule(part))
                for part in parts
            ]
            self.add_module(stage, nn.Sequential(*made))
        self.tail = Frames(nn.Sequential(*map(image.get_submodule, structure.tail)))
        activations: list[Any] = [module for module in self.modules() if hasattr(module, "inplace")]
        for activation in activations:
            activation.inplace = False  # what a unit returns is a view, and may be needed for the backward pass
        *_, (_, num_features) = structure.channels.values()
        self.finish(num_features, num_classes)
        own = self.state_dict(keep_vars=True).items()
        self.keys = {names[id(tensor)]: key for key, tensor in own if id(tensor) in names}
        self.keys |= {f"{structure.classifier}.{kind}": f"fc.{kind}" for kind in ("weight", "bias")}

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, num_features, T, H/32, W/32), or (N, num_features, T, 1, 1) where timm's tail pools."""
        x = self.stem(x)
        stages: Any = (self.res2, self.res3, self.res4, self.res5)
        for stage in stages:
            x = self.run_stage(stage, x)
        return self.tail(x)

    def to(self, *args: Any, memory_format: torch.memory_format | None = None, **kwargs: Any) -> TimmNet:
        """As `nn.Module.to`. With channels_last_3d, the weights for single frames are in channels_last."""
        super().to(*args, **kwargs)
        if memory_format is not None:
            of_frames = torch.channels_last if memory_format == torch.channels_last_3d else memory_format
            for parameter in self.parameters():
                if parameter.dim() in (4, 5):
                    chosen = of_frames if parameter.dim() == 4 else memory_format
                    parameter.data = parameter.data.contiguous(memory_format=chosen)
        return self


def _insert_units(image: nn.Module, structure: Structure, specs: Mapping[str, BlockSpec]) -> None:
    """Put units in the places of convolutions with normalisations. A normalisation's activation stays where it was."""
    spec_of: dict[str, tuple[Window | None, BlockSpec]] = {}
    for block, spec in specs.items():
        path = structure.paths[block]
        places = {0: 0, len(path) - 1: 2} if len(path) == 2 else {0: 0, len(path) // 2: 1, len(path) - 1: 2}
        for place, name in enumerate(path):
            window = spec.windows[places[place]] if place in places else None
            spec_of[name] = window, replace(spec, shift=spec.shift and place == 0)
    for conv, norm in structure.units.items():
        bn: Any = image.get_submodule(norm)
        window, spec = spec_of.get(conv, (None, BlockSpec()))
        image.set_submodule(conv, FrameUnit(image.get_submodule(conv), bn, window, spec))  # type: ignore[arg-type]
        image.set_submodule(norm, nn.Sequential(*bn.children()))  # without children: what it is given
