"""Which frames a clip takes."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from smallbignet.data.sampling import ClipSpec, Views, sample_test_clips, sample_train_clip
from smallbignet.errors import SmallBigError

SPECS = [
    ClipSpec("dense", 8, 8),
    ClipSpec("dense", 4, 3),
    ClipSpec("dense", 1, 1),
    ClipSpec("uniform", 8),
    ClipSpec("uniform", 16),
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_every_index_is_a_frame_of_the_video(spec):
    generator = seeded()
    for num_frames in range(1, 101):
        train = sample_train_clip(num_frames, spec, generator)
        assert train.shape == (spec.clip_len,)
        clips = [train]
        for num_clips in (1, 2, 3, 10):
            test = sample_test_clips(num_frames, spec, num_clips)
            assert test.shape == (num_clips, spec.clip_len)
            clips += [*test]
        assert 0 <= np.min(clips) and np.max(clips) < num_frames
        if num_frames >= spec.span or spec.sampling == "uniform":
            assert (np.diff(clips) >= 0).all()  # in the order of time


@pytest.mark.parametrize("spec", SPECS[:1] + SPECS[-1:], ids=str)
def test_a_train_clip_is_a_function_of_the_generator(spec):
    clips = [sample_train_clip(300, spec, seeded(seed)).tolist() for seed in (1, 1, 2)]
    assert clips[0] == clips[1] != clips[2]


def test_dense_train_clips_start_everywhere_they_can():
    """8x8 covers 64 consecutive frames: what lies behind its last frame counts, as in the field."""
    generator, spec = seeded(), ClipSpec("dense", 8, 8)
    clips = np.stack([sample_train_clip(70, spec, generator) for _ in range(300)])
    assert (np.diff(clips) == 8).all()
    starts, counts = np.unique(clips[:, 0], return_counts=True)
    assert starts.tolist() == list(range(70 - 64 + 1))
    assert counts.min() > 300 / 7 / 2  # none is preferred


def test_a_short_video_is_looped_from_any_of_its_frames():
    generator, spec = seeded(), ClipSpec("dense", 8, 8)
    clips = np.stack([sample_train_clip(20, spec, generator) for _ in range(300)])
    starts, counts = np.unique(clips[:, 0], return_counts=True)
    assert starts.tolist() == list(range(20))
    assert counts.min() > 300 / 20 / 4
    assert (clips == (clips[:, :1] + 8 * np.arange(8)) % 20).all()


@pytest.mark.parametrize("num_frames", [1, 2, 7, 16, 63])
def test_every_frame_of_a_short_video_is_reached(num_frames):
    generator, spec = seeded(), ClipSpec("dense", 8, 8)
    trained = {int(i) for _ in range(300) for i in sample_train_clip(num_frames, spec, generator)}
    assert trained == set(range(num_frames))
    tested = sample_test_clips(num_frames, spec, num_frames)
    assert tested[:, 0].tolist() == list(range(num_frames))


@pytest.mark.parametrize(
    ("num_frames", "num_clips", "starts"), [(20, 1, [0]), (20, 2, [0, 10]), (16, 10, [0, 1, 3, 4, 6, 8, 9, 11, 12, 14])]
)
def test_test_clips_of_a_short_video_start_all_over_it(num_frames, num_clips, starts):
    clips = sample_test_clips(num_frames, ClipSpec("dense", 8, 8), num_clips)
    assert clips.tolist() == [[(start + 8 * i) % num_frames for i in range(8)] for start in starts]


def test_dense_starts_are_computed_in_whole_numbers():
    """186 frames, 8x8, 15 clips: the middle one starts at 122 * 7 / 14 = 61. Rounded fractions put 541 of these one early."""
    assert sample_test_clips(186, ClipSpec("dense", 8, 8), 15)[7, 0] == 61
    for num_frames in range(64, 300):
        for num_clips in range(2, 31):
            starts = sample_test_clips(num_frames, ClipSpec("dense", 8, 8), num_clips)[:, 0]
            exact = [Fraction(num_frames - 64) * i / (num_clips - 1) for i in range(num_clips)]
            assert starts.tolist() == [math.floor(start) for start in exact]


def test_a_place_at_the_very_end_of_the_last_segment(monkeypatch):
    almost = torch.full((8,), 1 - 2.0**-53, dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: almost)
    assert sample_train_clip(40, ClipSpec("uniform", 8), seeded()).max() == 39


@pytest.mark.parametrize(
    ("num_frames", "num_clips", "starts"),
    [
        (164, 1, [50]),  # central
        (164, 2, [0, 100]),
        (164, 5, [0, 25, 50, 75, 100]),
        (67, 10, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]),  # more clips than places
    ],
)
def test_dense_test_clips_are_evenly_spaced_from_end_to_end(num_frames, num_clips, starts):
    clips = sample_test_clips(num_frames, ClipSpec("dense", 8, 8), num_clips)
    assert clips.tolist() == [list(range(start, start + 64, 8)) for start in starts]


def test_uniform_train_clips_take_any_frame_of_each_segment():
    generator = seeded()
    clips = np.stack([sample_train_clip(40, ClipSpec("uniform", 8), generator) for _ in range(200)])
    for segment, frames in enumerate(clips.T):
        assert np.unique(frames).tolist() == list(range(5 * segment, 5 * segment + 5))
    assert len(np.unique(clips % 5, axis=0)) > 190  # each segment for itself


@pytest.mark.parametrize("num_frames", [8, 37, 40, 100, 101])
def test_uniform_test_clips(num_frames):
    """One clip is the centres of the segments; of two, the second is TSM's shifted sample, the segments' starts."""
    segments, spec = np.arange(8), ClipSpec("uniform", 8)
    centres, starts = (2 * segments + 1) * num_frames // 16, segments * num_frames // 8
    assert sample_test_clips(num_frames, spec, 1).tolist() == [centres.tolist()]
    assert sample_test_clips(num_frames, spec, 2).tolist() == [centres.tolist(), starts.tolist()]


def test_more_uniform_clips_cover_each_segment_evenly():
    clips = sample_test_clips(80, ClipSpec("uniform", 8), 10)
    assert np.sort(clips.T).tolist() == np.arange(80).reshape(8, 10).tolist()


def test_uniform_clips_of_fewer_frames_than_segments_repeat_frames():
    assert sample_test_clips(3, ClipSpec("uniform", 8), 1).tolist() == [[0, 0, 0, 1, 1, 2, 2, 2]]


@pytest.mark.parametrize(("text", "views"), [("1x1", Views(1, 1)), ("10x3", Views(10, 3))])
def test_views_as_text(text, views):
    assert Views.parse(text) == views and str(views) == text


@pytest.mark.parametrize("text", ["", "10", "10x2", "0x3", "x3", "10x", "10X3", "-1x1", "10x30", "10 x 3"])
def test_views_that_are_none(text):
    with pytest.raises(SmallBigError, match="such as 10x3"):
        Views.parse(text)


@pytest.mark.parametrize("values", [("dense", 0, 8), ("dense", 8, 0), ("Uniform", 8, 8)])
def test_clip_specs_that_are_none(values):
    with pytest.raises(SmallBigError):
        ClipSpec(*values)
