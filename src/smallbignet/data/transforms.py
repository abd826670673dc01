"""Which pixels: torchvision.transforms.v2 on uint8 frames (T, C, H, W) in the workers; float and normalising on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from smallbignet.data.sampling import Views
from smallbignet.errors import SmallBigError


@dataclass(frozen=True)
class InputSpec:
    """What the network is shown of a frame. All lengths in pixels.

    Attributes:
        size: side of the square crop: random in training, central in a 1-crop test.
        train_short_side: the shorter side is drawn from this range, ends included, in training.
        short_side: the shorter side in tests; side of each of the crops of a 3-crop test.
        flip: mirror half of the training clips; off where labels have a direction (left, right).
        mean: of the red, green and blue channel, of 1.
        std: likewise.
    """

    size: int = 224
    train_short_side: tuple[int, int] = (256, 320)
    short_side: int = 256
    flip: bool = True
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self):
        low, high = self.train_short_side
        if not 0 < self.size <= low <= high or self.size > self.short_side:
            what = "input sizes must satisfy size <= train_short_side[0] <= train_short_side[1] and size <= short_side"
            raise SmallBigError(what, f"size {self.size}, train_short_side {low}-{high}, short_side {self.short_side}")


def train_crop(frames: Tensor, spec: InputSpec, seed: int) -> Tensor:
    """uint8 (T, C, H, W) -> uint8 (T, C, size, size): scaled, cropped and flipped alike for all frames, as `seed` says."""
    low, high = spec.train_short_side
    crop = v2.Compose([v2.RandomCrop(spec.size), v2.RandomHorizontalFlip(0.5 if spec.flip else 0.0)])
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would queue a note for CUDA at every call
        side = int(torch.randint(low, high + 1, ()))  # v2.RandomShortestSize makes 49 pixels 255 where it is asked for 256
        return crop(TF.resize(frames, [side], antialias=True))


def view_crops(frames: Tensor, spec: InputSpec, views: Views) -> Tensor:
    """uint8 (T, C, H, W) -> uint8 (num_crops, T, C, S, S).

    One crop: the centre, S = size. Three crops: both ends and the middle of the longer side, S = short_side (Section 6).
    """
    frames = TF.resize(frames, [spec.short_side], antialias=True)
    if views.num_crops == 1:
        return TF.center_crop(frames, [spec.size, spec.size])[None]
    side, (height, width) = spec.short_side, frames.shape[-2:]
    corners = [((height - side) * i // 2, (width - side) * i // 2) for i in range(3)]
    return torch.stack([TF.crop(frames, top, left, side, side) for top, left in corners])


def to_input(clips: Tensor, spec: InputSpec) -> Tensor:
    """uint8 (N, T, C, H, W) -> normalised float32 (N, C, T, H, W) in channels_last_3d, on the clips' device."""
    mean = torch.tensor(spec.mean, device=clips.device).view(1, 3, 1, 1, 1) * 255
    std = torch.tensor(spec.std, device=clips.device).view(1, 3, 1, 1, 1) * 255
    clips = clips.transpose(1, 2).contiguous(memory_format=torch.channels_last_3d)
    return (clips.float() - mean) / std
