"""The rendered data sets: only motion tells their classes apart, and their files are real and reproducible videos."""

from hashlib import sha256

import av
import numpy as np
import pytest

from smallbignet.data.synthetic import (
    ATTRIBUTES,
    CLASSES,
    DEMO,
    HARD,
    SHAPES,
    draw_tracks,
    make_dataset,
    render_clip,
    write_video,
)

CLIPS = 400
# Kolmogorov and Smirnov: two samples of one distribution differ by more than this once in some thousand times.
LARGEST_DISTANCE = 2 / np.sqrt(CLIPS)
ALL_CLASSES = dict(CLASSES) | dict(HARD.classes)  # the demo's are among the hard ones


def distance(a, b):
    """Largest difference of the two samples' cumulative distributions, 0 to 1."""
    values = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (a, b)]
    return np.abs(below[0] - below[1]).max()


def tracks_of(label, num_frames=32):
    """Every attribute over CLIPS clips of a class, as fractions of its range: (CLIPS, attributes, T)."""
    rng = np.random.default_rng([7, *label.encode()])
    low, high, _ = (np.array(column)[:, None] for column in zip(*ATTRIBUTES.values(), strict=True))
    values = [list(draw_tracks(ALL_CLASSES[label], rng, num_frames).values()) for _ in range(CLIPS)]
    return (np.array(values) - low) / (high - low)


@pytest.mark.parametrize("label", ALL_CLASSES)
def test_single_frame_has_the_same_distribution_in_every_class(label):
    frames = np.random.default_rng(0).integers(32, size=CLIPS)
    states = tracks_of(label)[np.arange(CLIPS), :, frames]  # (CLIPS, attributes)
    for name, values in zip(ATTRIBUTES, states.T, strict=True):
        assert distance(values, np.linspace(0, 1, 10_000)) < LARGEST_DISTANCE, name
    correlation = np.corrcoef(states.T) - np.eye(len(ATTRIBUTES))
    assert np.abs(correlation).max() < 4 / np.sqrt(CLIPS)


@pytest.mark.parametrize("label", ALL_CLASSES)
def test_only_the_named_attributes_move_and_they_move_far(label):
    for name, values in zip(ATTRIBUTES, tracks_of(label).swapaxes(0, 1), strict=True):
        spans = np.ptp(values, axis=1)
        if name in ALL_CLASSES[label]:
            assert spans.min() >= 0.5 - 1e-9  # a sweep may turn at mid-range, no sooner
        else:
            assert spans.max() == 0


@pytest.mark.parametrize("label", [label for label in ALL_CLASSES if ALL_CLASSES[label]])
def test_time_has_no_direction(label):
    for name in ALL_CLASSES[label]:
        steps = np.diff(tracks_of(label)[:, list(ATTRIBUTES).index(name)])
        if ATTRIBUTES[name].wraps:
            steps = (steps + 0.5) % 1 - 0.5
        steps = steps[np.arange(CLIPS), np.random.default_rng(0).integers(31, size=CLIPS)]
        assert distance(steps, -steps) < LARGEST_DISTANCE


def test_unknown_attribute_is_named():
    with pytest.raises(ValueError, match="weight"):
        draw_tracks(("x", "weight"), np.random.default_rng(0))


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_keeps_to_the_unit_disc_and_shows_quarter_turns(shape):
    u, v = np.meshgrid(np.linspace(-1.5, 1.5, 301), np.linspace(-1.5, 1.5, 301))
    inside = SHAPES[shape](u, v) < 0
    radii = np.hypot(u, v)[inside]
    assert 0.9 < radii.max() <= 1
    assert (inside != np.rot90(inside)).sum() > 0.3 * inside.sum()


@pytest.mark.parametrize("size", [32, 96])
def test_shape_is_drawn_at_its_place_and_wholly_in_the_frame(size):
    for seed in range(40):
        track = draw_tracks(("hue",), np.random.default_rng(seed))
        frames = render_clip(("hue",), np.random.default_rng(seed), size=size)
        rows, columns = np.nonzero(np.ptp(frames.astype(int), axis=0).max(-1))  # where the colour changes, a shape is
        x, y, diameter = (size * track[name][0] for name in ("x", "y", "size"))
        far = np.hypot(columns + 0.5 - x, rows + 0.5 - y).max()
        assert 0.9 * diameter / 2 - 1.5 < far < diameter / 2 + 1.5  # a soft edge and half a pixel's diagonal
        assert ATTRIBUTES["size"].high * size / 2 < min(x, y, size - x, size - y)


def test_demo_clips_stay_as_they_are():
    """The README quotes accuracies on them."""
    frames = render_clip(("x", "angle", "size", "hue"), np.random.default_rng(0), num_frames=16, size=48)
    assert sha256(frames.tobytes()).hexdigest() == "ec1077976b046e75b2359f8e960d2bc7f49d32501b7914898a8852808c3ae2c4"


def test_hard_classes_are_sets_of_up_to_two_motions():
    assert len({frozenset(moving) for moving in HARD.classes.values()}) == len(HARD.classes) == 1 + 5 + 4
    assert {len(moving) for moving in HARD.classes.values()} == {0, 1, 2}
    assert all(HARD.classes[label] == moving for label, moving in CLASSES.items())


@pytest.mark.parametrize("scene", [DEMO, HARD], ids=["demo", "hard"])
def test_class_shows_in_nothing_but_the_subjects_motion(scene):
    """Clips of all classes drawn alike begin with the same frame, and then have the same surroundings."""
    clips = [render_clip(moving, np.random.default_rng(3), 16, 48, scene).astype(int) for moving in scene.classes.values()]
    for moving, clip in zip(scene.classes.values(), clips, strict=True):
        assert (clip[0] == clips[0][0]).all()
        assert moving == () or (clip[-1] != clips[0][-1]).any()
        elsewhere = (clip == clips[0]).all(-1).mean()
        assert elsewhere > 0.6  # the subject, where it is in the one clip and in the other, covers less


def test_subject_is_the_only_coloured_shape():
    """In a hard clip as in the demo's; told by saturation, which at most tinted shadows of the background share."""
    for seed in range(20):
        tracks = draw_tracks(("x",), np.random.default_rng(seed), 16)
        frame = render_clip(("x",), np.random.default_rng(seed), 16, 96, HARD)[5].astype(int)
        rows, columns = np.nonzero(np.ptp(frame, axis=-1) > 110)
        x, y, diameter = (96 * tracks[name][5] for name in ("x", "y", "size"))
        assert len(rows) > 0.2 * diameter**2
        assert np.hypot(columns + 0.5 - x, rows + 0.5 - y).max() < diameter / 2 + 1.5


def test_still_clip_is_still():
    frames = render_clip((), np.random.default_rng(0))
    assert frames.shape == (32, 96, 96, 3) and frames.dtype == np.uint8
    assert (frames == frames[0]).all()


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_written_video_is_what_was_rendered(codec, tmp_path, monkeypatch):
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    monkeypatch.setattr(av, "codecs_available", {codec})
    frames = render_clip(("x", "angle"), np.random.default_rng(0), num_frames=40, size=64)
    write_video(tmp_path / "clip.mp4", frames, fps=12)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 12
        decoded = list(container.decode(stream))
    assert [index for index, frame in enumerate(decoded) if frame.key_frame] == [0, 16, 32]
    pixels = np.stack([frame.to_ndarray(format="rgb24") for frame in decoded])
    assert pixels.shape == frames.shape
    assert np.abs(pixels.astype(int) - frames).mean() < 6


def files_under(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.mp4")}


def test_dataset_depends_on_its_seed_and_not_on_its_counts(tmp_path):
    small = {"num_frames": 4, "size": 32}
    places = [("train", "0000"), ("train", "0001"), ("val", "0000")]
    calls = []
    first = files_under(
        make_dataset(tmp_path / "a", {"train": 2, "val": 1}, progress=lambda *call: calls.append(call), **small)
    )
    assert set(first) == {f"{split}/{label}/{number}.mp4" for label in CLASSES for split, number in places}
    assert calls == [(done, len(first)) for done in range(1, len(first) + 1)]
    assert len(set(first.values())) == len(first)

    again = files_under(make_dataset(tmp_path / "b", {"val": 2, "train": 1}, **small))
    assert all(first[path] == again[path] for path in first.keys() & again.keys())
    other = files_under(make_dataset(tmp_path / "c", {"train": 2, "val": 1}, seed=1, **small))
    assert all(first[path] != other[path] for path in first)
