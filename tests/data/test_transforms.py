"""Which pixels of a frame the network is shown."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from smallbignet.data.sampling import Views
from smallbignet.data.transforms import InputSpec, to_input, train_crop, view_crops
from smallbignet.errors import SmallBigError


def columns(height: int, width: int, num_frames: int = 1) -> torch.Tensor:
    """Frames (T, 3, H, W) whose red is the column, green the row and blue 7 times the frame."""
    frames = torch.empty(num_frames, 3, height, width, dtype=torch.uint8)
    frames[:, 0], frames[:, 1] = torch.arange(width), torch.arange(height)[:, None]
    frames[:, 2] = 7 * torch.arange(num_frames)[:, None, None]
    return frames


def test_train_crop_is_the_same_for_all_frames_and_for_a_seed():
    frames, spec = columns(60, 90, num_frames=5), InputSpec(32, (40, 48), 40)
    crops = [train_crop(frames, spec, seed)[0] for seed in range(20)]
    for seed, crop in enumerate(crops):
        assert crop.shape == (5, 32, 32, 3) and crop.dtype == torch.uint8
        assert (crop[..., :2] == crop[:1, ..., :2]).all()
        assert crop[:, 0, 0, 2].tolist() == [0, 7, 14, 21, 28]  # in order
        assert torch.equal(crop, train_crop(frames, spec, seed)[0])
    assert len({crop.numpy().tobytes() for crop in crops}) == 20


def test_train_crop_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train_crop(columns(40, 40), InputSpec(16, (20, 30), 20), seed=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("flip", "low", "high"), [(True, 60, 140), (False, 0, 0)])
def test_flip_mirrors_half_of_the_clips_or_none(flip, low, high):
    spec, frames = InputSpec(16, (20, 24), 20, flip=flip), columns(30, 40)
    crops = [train_crop(frames, spec, seed) for seed in range(200)]
    assert [bool(clip[0, 0, 0, 0] > clip[0, 0, -1, 0]) for clip, _ in crops] == [mirrored for _, mirrored in crops]
    assert low <= sum(mirrored for _, mirrored in crops) <= high


def test_the_short_side_is_drawn_from_the_whole_range(monkeypatch):
    sides, resize = [], TF.resize

    def note(frames, *args, **kwargs):
        out = resize(frames, *args, **kwargs)
        sides.append(tuple(out.shape[-2:]))
        return out

    monkeypatch.setattr(TF, "resize", note)
    for seed in range(100):
        train_crop(columns(40, 80), InputSpec(16, (20, 24), 20), seed)
    assert set(sides) == {(side, 2 * side) for side in range(20, 25)}


def test_a_crop_as_large_as_the_short_side_fits():
    """v2.RandomShortestSize scales 49 pixels to 255 where it is asked for 256."""
    assert train_crop(columns(49, 57), InputSpec(256, (256, 256), 256), seed=0)[0].shape == (1, 256, 256, 3)


@pytest.mark.parametrize(
    ("height", "width", "corners"),
    [
        (32, 70, [(0, 0), (0, 19), (0, 38)]),
        (70, 32, [(0, 0), (19, 0), (38, 0)]),
        (32, 32, [(0, 0), (0, 0), (0, 0)]),
    ],
)
def test_three_crops_are_the_ends_and_the_middle_of_the_long_side(height, width, corners):
    frames = columns(height, width, num_frames=2)
    crops = view_crops(frames, InputSpec(16, (32, 32), 32), Views(1, 3)).permute(0, 1, 4, 2, 3)
    assert torch.equal(crops, torch.stack([frames[:, :, top : top + 32, left : left + 32] for top, left in corners]))


def test_one_crop_is_the_centre():
    frames = columns(32, 70)
    crops = view_crops(frames, InputSpec(16, (32, 32), 32), Views(1, 1)).permute(0, 1, 4, 2, 3)
    assert torch.equal(crops, frames[None, :, :, 8:24, 27:43])


@pytest.mark.parametrize("num_crops", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(17, 99), (99, 17), (1, 1), (240, 320)])
def test_views_of_frames_of_any_shape(height, width, num_crops):
    spec = InputSpec(24, (32, 32), 32)
    side = 24 if num_crops == 1 else 32
    assert view_crops(columns(height, width), spec, Views(1, num_crops)).shape == (num_crops, 1, side, side, 3)


@pytest.mark.parametrize("shape", [(2, 4, 8, 10, 3), (1, 1, 8, 8, 3)])
def test_to_input(shape):
    spec = InputSpec(mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3))
    clips = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = to_input(clips, spec)
    n, t, h, w, c = shape
    assert images.shape == (n, c, t, h, w) and images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last_3d)
    for channel, (mean, std) in enumerate(zip(spec.mean, spec.std, strict=True)):
        torch.testing.assert_close(images[:, channel], (clips[..., channel] / 255 - mean) / std, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", [(224, (200, 320), 256), (224, (320, 256), 256), (224, (256, 320), 200)])
def test_sizes_that_do_not_fit_each_other(sizes):
    with pytest.raises(SmallBigError, match="input sizes"):
        InputSpec(*sizes)
