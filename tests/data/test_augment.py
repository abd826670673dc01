"""What a clip goes through in training besides its crop: RandAugment, labels that swap in the mirror, mixup and CutMix."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from smallbignet.data import options
from smallbignet.data.annotations import Annotations
from smallbignet.data.datasets import TrainClips
from smallbignet.data.options import VideoOptions
from smallbignet.data.sampling import ClipSpec
from smallbignet.data.transforms import AugmentSpec, InputSpec, mix, train_crop
from smallbignet.errors import SmallBigError

SIZES, RAND = InputSpec(32, (40, 56), 40), AugmentSpec(randaugment=2)


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("flip", [True, False])
def test_without_augmentation_a_seed_gives_the_clips_it_always_gave(flip):
    """What `train_crop` was before there was any augmentation: published runs are to be repeatable."""
    frames = noise(2, 3, 64, 96)
    crop = v2.Compose([v2.RandomCrop(32), v2.RandomHorizontalFlip(0.5 if flip else 0.0)])
    for seed in range(40):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            side = int(torch.randint(40, 57, ()))
            expected = crop(TF.resize(frames, [side], antialias=True)).permute(0, 2, 3, 1)
        assert torch.equal(train_crop(frames, InputSpec(32, (40, 56), 40, flip), seed)[0], expected)


def test_randaugment_treats_all_frames_alike_and_goes_by_the_seed():
    frames = noise(1, 3, 64, 96).expand(4, -1, -1, -1)
    changed = 0
    for seed in range(60):
        clip, mirrored = train_crop(frames, SIZES, seed, RAND)
        plain, plain_mirrored = train_crop(frames, SIZES, seed)
        assert clip.shape == plain.shape and clip.dtype == torch.uint8 and mirrored == plain_mirrored
        assert (clip == clip[:1]).all()
        assert torch.equal(clip, train_crop(frames, SIZES, seed, RAND)[0])
        changed += not torch.equal(clip, plain)
    assert changed > 50  # one in 196 draws "identity" twice
    stronger = AugmentSpec(randaugment=2, magnitude=25)
    assert any(
        not torch.equal(train_crop(frames, SIZES, i, RAND)[0], train_crop(frames, SIZES, i, stronger)[0]) for i in range(9)
    )


@pytest.mark.parametrize("augment", [AugmentSpec(mixup=0.8), AugmentSpec(cutmix=1.0), AugmentSpec(mixup=0.8, cutmix=1.0)])
def test_random_draws_leave_the_global_generator_alone(augment):
    frames, images, labels = noise(2, 3, 64, 64), torch.rand(2, 3, 2, 8, 8), torch.tensor([0, 1])
    before = torch.get_rng_state()
    train_crop(frames, SIZES, 1, RAND)
    mix(images, labels, 3, augment, 1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def annotations(monkeypatch) -> Annotations:
    """A video of each of four classes, darker to the right."""
    frames = torch.arange(250, 0, -5, dtype=torch.uint8).expand(2, 3, 50, 50)
    video = SimpleNamespace(num_frames=2, frames=lambda _: frames)
    monkeypatch.setattr(options, "open_video", lambda *_, **__: nullcontext(video))
    return Annotations(np.array(list("abcd")), np.arange(4), list("abcd"))


def test_the_label_swaps_exactly_where_the_clip_is_mirrored(annotations):
    dataset = TrainClips(annotations, ClipSpec("dense", 2, 1), SIZES, VideoOptions(), augment=AugmentSpec(flip_pairs=[[0, 2]]))
    seen = set()
    for epoch in range(10):
        for row in range(4):
            batch = dataset[epoch, row]
            mirrored = bool(batch.clips[0, 0, 0, 0, 0] < batch.clips[0, 0, 0, -1, 0])
            assert batch.labels.dtype == torch.int64 and batch.rows.tolist() == [row]
            seen.add((row, mirrored, batch.labels.item()))
    swapped = {(0, True, 2), (1, True, 1), (2, True, 0), (3, True, 3)}
    assert seen == swapped | {(row, False, row) for row in range(4)}


@pytest.mark.parametrize(
    ("pairs", "flip", "what"),
    [
        ([[1, 4]], True, "classes are 0 to 3"),
        ([[-1, 2]], True, "classes are 0 to 3"),
        ([[0, 1]], False, "need input.flip true"),
    ],
)
def test_pairs_that_do_not_fit_the_data(annotations, pairs, flip, what):
    sizes = InputSpec(32, (40, 56), 40, flip)
    with pytest.raises(SmallBigError, match=what) as caught:
        TrainClips(annotations, ClipSpec("dense", 2, 1), sizes, VideoOptions(), augment=AugmentSpec(flip_pairs=pairs))
    assert "augment.flip_pairs" in caught.value.where


@pytest.mark.parametrize(
    "settings",
    [
        {"randaugment": -1},
        {"magnitude": 31},
        {"mixup": -0.1},
        {"cutmix": float("nan")},
        {"flip_pairs": [[1]]},
        {"flip_pairs": [[1, 1]]},
        {"flip_pairs": [[0, 1], [1, 2]]},
    ],
)
def test_settings_that_make_no_sense(settings):
    (name,) = settings
    with pytest.raises(SmallBigError) as caught:
        AugmentSpec(**settings)
    assert str(caught.value).startswith(f"augment.{name}")


def mixed(spec: AugmentSpec, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three clips of the constants 0, 1 and 10, of the classes 4, 0 and 2: clip i is mixed with clip i - 1."""
    images = torch.tensor([0.0, 1.0, 10.0]).view(3, 1, 1, 1, 1).expand(3, 3, 4, 20, 24)
    images = images.contiguous(memory_format=torch.channels_last_3d)
    out, targets = mix(images, torch.tensor([4, 0, 2]), 5, spec, seed)
    assert type(out) is type(targets) is torch.Tensor
    assert out.shape == images.shape and out.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(targets.sum(1), torch.ones(3))
    return out, targets


def test_mixup_weighs_labels_as_it_weighs_pixels():
    shares = set()
    for seed in range(10):
        out, targets = mixed(AugmentSpec(mixup=0.8), seed)
        assert (out == out[:, :1, :1, :1, :1]).all()
        share = out[1, 0, 0, 0, 0].item()  # of 1, the rest is of 0
        expected = torch.zeros(3, 5)
        for i, (own, other) in enumerate([(4, 2), (0, 4), (2, 0)]):
            expected[i, own], expected[i, other] = share, 1 - share
        torch.testing.assert_close(targets, expected)
        torch.testing.assert_close(out[2, 0, 0, 0, 0].item(), 10 * share + (1 - share))
        shares.add(share)
    assert len(shares) == 10 and 0 <= min(shares) < max(shares) <= 1


def test_cutmix_weighs_labels_by_the_pixels_replaced_by_one_box_in_all_frames():
    shares = set()
    for seed in range(10):
        out, targets = mixed(AugmentSpec(cutmix=1.0), seed)
        assert (out == out[:, :1, :1]).all()
        kept = (out[1] == 1).float().mean()
        assert ((out[1] == 1) | (out[1] == 0)).all()
        torch.testing.assert_close(targets[1, [0, 4]], torch.stack([kept, 1 - kept]))
        shares.add(kept.item())
    assert len(shares) > 5


def test_of_mixup_and_cutmix_each_batch_takes_one():
    """Which, and how, goes by the seed."""
    both = AugmentSpec(mixup=0.8, cutmix=1.0)
    blends = 0
    for seed in range(60):
        (out, targets), again = mixed(both, seed), mixed(both, seed)
        assert torch.equal(out, again[0]) and torch.equal(targets, again[1])
        blends += bool(((out[1] != 0) & (out[1] != 1)).any())
    assert 18 <= blends <= 42


def test_nothing_to_mix():
    images, labels = torch.rand(2, 3, 2, 8, 8), torch.tensor([1, 0])
    assert mix(images, labels, 2, AugmentSpec(), 0) == (images, labels)
