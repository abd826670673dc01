"""Which pixels the network is shown: scaling, cropping and augmenting in the workers, normalising on the device.

A video returns frames as uint8 (T, C, H, W), the layout that torchvision's transforms take. A clip is uint8 (T, H, W, C), and
several are NTHWC: the three colours of a pixel lie side by side in memory. Decoders write them so, resizing is twice as fast on
that layout, and the networks run on it. Frames are stored like that, too, so no data moves between the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from smallbignet.data.sampling import ClipSpec, Views
from smallbignet.errors import SmallBigError
from smallbignet.utils.checks import Must, Range, check_fields

MOST_PIXELS = 2**25  # in a clip, such as 32 frames of 1024x1024 or 512 of 256x256; its activations take about 100 bytes a pixel
MOST_BYTES = 2**32  # in the views of one video

Side = Annotated[int, Range(ge=1, le=4096)]
Mean = Annotated[float, Range(ge=0, le=1)]
Std = Annotated[float, Range(ge=0.001, le=1)]


@dataclass(frozen=True)
class InputSpec:
    """What the network is shown of a frame. All lengths are in pixels.

    Attributes:
        size: side of the square crop: random in training, central in a test with one crop.
        train_short_side: in training, frames are scaled until their shorter side has a random length in this range, ends
            included.
        short_side: length of the shorter side in tests; a test with three crops takes squares of this side.
        flip: mirror half of the training clips; turn it off where labels have a direction (left, right) and no `flip_pairs`.
        mean: of the red, green and blue values, which go from 0 to 1.
        std: standard deviation of the same.
    """

    size: Side = 224
    train_short_side: tuple[Side, Side] = (256, 320)
    short_side: Side = 256
    flip: bool = True
    mean: tuple[Mean, Mean, Mean] = (0.485, 0.456, 0.406)
    std: tuple[Std, Std, Std] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        check_fields(self, "input")
        low, high = self.train_short_side
        if not self.size <= low <= high or self.size > self.short_side:
            what = "input sizes must satisfy size <= train_short_side[0] <= train_short_side[1] and size <= short_side"
            raise SmallBigError(what, f"size {self.size}, train_short_side {low}-{high}, short_side {self.short_side}")


def check_size(clip: ClipSpec, spec: InputSpec, views: Views) -> None:
    """Checks that the views of a video can be held in memory.

    Raises:
        SmallBigError: a clip of more than `MOST_PIXELS` pixels, or views of more than `MOST_BYTES` bytes.
    """
    side = max(spec.short_side, *spec.train_short_side)
    pixels = clip.clip_len * side * side
    where = f"clip.clip_len {clip.clip_len}, input {side}x{side}"
    if pixels > MOST_PIXELS:
        raise SmallBigError(f"a clip may have {MOST_PIXELS:,} pixels at most, and these have {pixels:,}", where)
    if (size := 3 * pixels * views.num_clips * views.num_crops) > MOST_BYTES:
        what = f"the views of a video may take {MOST_BYTES:,} bytes at most, and these take {size:,}; take fewer views"
        raise SmallBigError(what, f"views {views}, {where}")


def _are_pairs(pairs: list[list[int]]) -> bool:
    classes = [label for pair in pairs for label in pair]
    return all(len(pair) == 2 for pair in pairs) and len(set(classes)) == len(classes)


PAIRS = Must("pairs of classes by number, each class in one pair at most, such as [[86, 87]]", _are_pairs)


@dataclass(frozen=True)
class AugmentSpec:
    """How training clips are changed, besides crop and flip. All is off by default, as in the paper.

    Attributes:
        randaugment: number of RandAugment's operations for each clip (Cubuk et al., CVPRW 2020), the same for all its frames.
        magnitude: strength of these operations, 0 to 30.
        mixup: alpha of the Beta distribution that mixup (Zhang et al., ICLR 2018) draws its shares from; 0 for no mixup.
        cutmix: the same for CutMix (Yun et al., ICCV 2019). Where both are on, each batch gets one of them.
        flip_pairs: class indices that swap when a clip is mirrored, such as [[86, 87]] for left and right.
    """

    randaugment: Annotated[int, Range(ge=0, le=100)] = 0
    magnitude: Annotated[int, Range(ge=0, le=30)] = 9
    mixup: Annotated[float, Range(ge=0, le=1000)] = 0.0
    cutmix: Annotated[float, Range(ge=0, le=1000)] = 0.0
    flip_pairs: Annotated[list[list[int]], PAIRS] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_fields(self, "augment")

    def mirrored_labels(self, num_classes: int, flip: bool) -> list[int]:
        """The label of a mirrored clip, for each label.

        Raises:
            SmallBigError: `flip_pairs` name a class that does not exist, or are given although no clip is mirrored.
        """
        if self.flip_pairs and not flip:
            raise SmallBigError("flip_pairs are for mirrored clips, so they need input.flip true", "augment.flip_pairs")
        labels = list(range(num_classes))
        for pair in self.flip_pairs:
            if not 0 <= min(pair) <= max(pair) < num_classes:
                what = f"the data's classes are 0 to {num_classes - 1}; flip_pairs belong to one data set"
                raise SmallBigError(what, f"augment.flip_pairs {pair}")
            one, other = pair
            labels[one], labels[other] = other, one
        return labels


NO_AUGMENT = AugmentSpec()


@contextmanager
def _draws_from(seed: int) -> Iterator[None]:
    """Random draws inside come from `seed`. torchvision uses the global generator, which is afterwards as it was before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would queue a note for CUDA at every call
        yield


def train_crop(frames: Tensor, spec: InputSpec, seed: int, augment: AugmentSpec = NO_AUGMENT) -> tuple[Tensor, bool]:
    """Scales, crops, mirrors and augments all frames of a clip in the same way, which `seed` decides.

    Args:
        frames: uint8 (T, C, H, W), as a video returns them.

    Returns:
        The clip, uint8 (T, size, size, C), and whether it is mirrored.
    """
    low, high = spec.train_short_side
    with _draws_from(seed):
        side = int(torch.randint(low, high + 1, ()))  # v2.RandomShortestSize makes 49 pixels 255 where it is asked for 256
        clip = v2.RandomCrop(spec.size)(TF.resize(frames, [side], antialias=True))
        mirrored = bool(torch.rand(()) < 0.5) and spec.flip
        clip = v2.RandAugment(augment.randaugment, augment.magnitude)(TF.horizontal_flip(clip) if mirrored else clip)
    return clip.permute(0, 2, 3, 1), mirrored


def view_crops(frames: Tensor, spec: InputSpec, views: Views) -> Tensor:
    """Scales frames and cuts out the crops of a test: uint8 (T, C, H, W) -> uint8 (num_crops, T, S, S, C).

    One crop: the centre, S = size. Three crops: both ends and the middle of the longer side, S = short_side (Section 6).
    """
    frames = TF.resize(frames, [spec.short_side], antialias=True)
    if views.num_crops == 1:
        crops = [TF.center_crop(frames, [spec.size, spec.size])]
    else:
        side, (height, width) = spec.short_side, frames.shape[-2:]
        corners = [((height - side) * i // 2, (width - side) * i // 2) for i in range(3)]
        crops = [TF.crop(frames, top, left, side, side) for top, left in corners]
    return torch.stack([crop.permute(0, 2, 3, 1) for crop in crops])


def to_input(clips: Tensor, spec: InputSpec) -> Tensor:
    """Normalises clips for a network, on the clips' device.

    Args:
        clips: uint8 NTHWC (N, T, H, W, C).

    Returns:
        float32 NCTHW (N, C, T, H, W) in the memory format channels_last_3d, in which clips are stored already.
    """
    mean = torch.tensor(spec.mean, device=clips.device).view(1, 3, 1, 1, 1) * 255
    std = torch.tensor(spec.std, device=clips.device).view(1, 3, 1, 1, 1) * 255
    images = clips.contiguous().permute(0, 4, 1, 2, 3)
    return (images.float() - mean) / std


def mix(images: Tensor, labels: Tensor, num_classes: int, spec: AugmentSpec, seed: int) -> tuple[Tensor, Tensor]:
    """Mixes each clip with its neighbour in the batch by mixup or CutMix, on the images' device; `seed` decides how.

    Args:
        images: float NCTHW (N, C, T, H, W).
        labels: int64 (N,).

    Returns:
        Images of the same shape, in a memory format of torchvision's choice, and targets: the share of each class, float
        (N, num_classes). Where both are off: images and labels as they are.
    """
    kinds = [(v2.MixUp, spec.mixup), (v2.CutMix, spec.cutmix)]
    mixers = [kind(alpha=alpha, num_classes=num_classes) for kind, alpha in kinds if alpha]
    if not mixers:
        return images, labels
    with _draws_from(seed):
        mixer = mixers[int(torch.randint(len(mixers), ()))]
        mixed, targets = mixer(tv_tensors.Video(images), labels)  # torchvision refuses five dimensions in a plain tensor
    return mixed.as_subclass(Tensor), targets
