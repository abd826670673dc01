"""Windows over a video: they cover it without gaps, and are read as `predict` reads views."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from film import write_film
from smallbignet import VideoClassifier, load_config, load_model, open_video
from smallbignet.data.pyav_video import PyAVVideo
from smallbignet.data.sampling import ClipSpec, Views
from smallbignet.data.transforms import InputSpec
from smallbignet.inference.clips import CLIPS_AT_ONCE, ClipReader, Unreadable, Window, WindowClips

SIZES = InputSpec(16, (16, 16), 16)
BURST = [1] * 30 + [24] * 6  # ticks: 30 frames in 1.2 seconds, and 6 that are shown for about a second each


def read(reader: ClipReader, path: str, **lengths: float) -> tuple[list[Window], torch.Tensor]:
    items = list(reader.read_windows(path, **lengths))
    assert [item.is_last for item in items] == [False] * (len(items) - 1) + [True]
    windows = [window for item in items for window in item.windows]
    assert {item.num_windows for item in items} == {len(windows)}
    return windows, torch.cat([item.clips for item in items])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 frames of random blocks, as images."""
    directory = tmp_path_factory.mktemp("frames")
    blocks = np.random.default_rng(0).integers(0, 256, (40, 2, 2, 3), np.uint8)
    for i, block in enumerate(blocks.repeat(8, 1).repeat(8, 2)):
        Image.fromarray(block).save(directory / f"{i:03d}.png")
    return directory


@pytest.mark.parametrize(
    ("num_frames", "firsts"),
    [
        (3, [0]),
        (8, [0]),
        (9, [0, 1]),
        (12, [0, 4]),
        (13, [0, 2, 5]),  # not [0, 4, 5]: evenly spaced, at most 4 apart
        (24, [0, 4, 8, 12, 16]),
    ],
)
def test_windows_are_as_long_as_a_clip_and_half_a_window_apart(num_frames, firsts, folder, tmp_path):
    for i in range(num_frames):
        shutil.copy(folder / f"{i:03d}.png", tmp_path)
    reader = ClipReader(ClipSpec("dense", 4, 2), SIZES, Views(1, 1))
    windows, clips = read(reader, str(tmp_path))
    span = min(8, num_frames)
    assert [(window.first_frame, window.last_frame) for window in windows] == [(i, i + span - 1) for i in firsts]
    times = [(window.start, window.end) for window in windows]
    assert times == [pytest.approx((i / 25, (i + span) / 25)) for i in firsts]  # a folder has 25 frames per second
    assert clips.shape == (len(firsts), 4, 16, 16, 3)


@pytest.mark.parametrize("window", [0.0, 0.5, 5.0])
@pytest.mark.parametrize("clip", [ClipSpec("dense", 4, 2), ClipSpec("uniform", 4), ClipSpec("dense", 4, 2, fps=25)], ids=str)
def test_a_window_is_read_as_a_video_of_its_length(clip, window, folder, tmp_path):
    reader = ClipReader(clip, SIZES, Views(2, 3))
    windows, clips = read(reader, str(folder), window=window)
    for number, (found, views) in enumerate(zip(windows, clips.split(6), strict=True)):
        part = tmp_path / str(number)
        part.mkdir()
        for i in range(found.first_frame, found.last_frame + 1):
            shutil.copy(folder / f"{i:03d}.png", part)
        [alone] = reader.read(str(part))
        assert torch.equal(views, alone.clips)


@pytest.mark.parametrize(
    ("clip", "num_windows"), [(ClipSpec("dense", 4, 1), 3), (ClipSpec("dense", 4, 2), 1), (ClipSpec("uniform", 4), 1)]
)
def test_windows_of_a_short_clip_score_as_predicts_views(clip, num_windows, run, clips):
    config = replace(load_config(run), clip=clip)
    classifier = VideoClassifier(load_model(run), config, device="cpu")
    path = str(min(clips.glob("val/turning/*.mp4")))  # 8 frames
    windows, shown = read(classifier.reader("1x3"), path)
    assert len(windows) == num_windows
    views = f"{num_windows}x3"
    [whole] = classifier.reader(views).read(path)
    assert torch.equal(shown, whole.clips)
    predicted = {answer.label: answer.score for answer in classifier.predict(path, top=6, views=views)}
    mean = classifier.average(classifier.scores(shown)[None])[0].tolist()
    assert mean == pytest.approx([predicted[name] for name in config.classes], rel=1e-5)


@pytest.mark.parametrize("clip", [ClipSpec("dense", 4, 1, fps=10), ClipSpec("uniform", 4, by_time=True)], ids=["fps", "time"])
@pytest.mark.parametrize("window", [0.3, 2.0])
def test_windows_are_laid_over_time_where_frame_rates_vary(clip, window, tmp_path):
    path = write_film(tmp_path / "a.mp4", ["red"] * 36, steps=BURST)
    windows, _ = read(ClipReader(clip, SIZES, Views(1, 1)), path, window=window)
    with open_video(path) as video:
        times = video.times
    ends = [*times[1:], times[-1] * 36 / 35]
    assert (windows[0].first_frame, windows[-1].last_frame) == (0, 35)
    for found in windows:
        assert found.first_frame <= found.last_frame
        assert (found.start, found.end) == pytest.approx((times[found.first_frame], ends[found.last_frame]))
    for before, after in pairwise(windows):
        assert before.first_frame <= after.first_frame <= before.last_frame + 1  # no gap
    most = max(np.diff(times)) + 0.05
    assert all(abs(found.end - found.start - window) <= most for found in windows)


def test_the_stride_is_never_more_than_a_window(folder):
    windows, _ = read(ClipReader(ClipSpec("dense", 4, 2), SIZES, Views(1, 1)), str(folder), stride=60.0)
    assert [window.first_frame for window in windows] == [0, 8, 16, 24, 32]
    windows, _ = read(ClipReader(ClipSpec("dense", 4, 2), SIZES, Views(1, 1)), str(folder), stride=0.04)
    assert [window.first_frame for window in windows] == list(range(33))


def test_few_clips_of_a_long_video_are_in_memory(folder):
    items = list(ClipReader(ClipSpec("dense", 2, 1), SIZES, Views(2, 3)).read_windows(str(folder)))
    assert [len(item.clips) for item in items] == [CLIPS_AT_ONCE * 3] * 4 + [7 * 2 * 3]  # 39 windows of two clips
    assert [item.number for item in items] == [0, 8, 16, 24, 32]


@pytest.mark.parametrize("stride", [0.0, 0.2], ids=["shared", "apart"])  # windows of 8 frames every 4 frames, or every 5
@pytest.mark.parametrize("views", [Views(1, 1), Views(2, 3)], ids=str)
def test_every_frame_of_a_long_video_is_decoded_once(stride, views, tmp_path, monkeypatch):
    path = write_film(tmp_path / "a.mp4", ["red", "green", "blue", "grey"] * 75)
    decoded = []
    decode = PyAVVideo._decode_packet
    monkeypatch.setattr(PyAVVideo, "_decode_packet", lambda self, packet: count(decode(self, packet)))

    def count(frames):
        decoded.extend(frame.pts for frame in frames)
        return frames

    items = list(ClipReader(ClipSpec("dense", 4, 2), SIZES, views).read_windows(path, stride=stride))
    assert len(items) > 3
    assert len(set(decoded)) == len(decoded) <= 300


def test_windows_hold_the_pixels_of_their_frames(folder):
    [*items] = ClipReader(ClipSpec("dense", 4, 2), SIZES, Views(1, 1)).read_windows(str(folder), stride=0.04)
    assert len(items) == 3
    with open_video(folder) as video:
        pixels = video.frames(range(40)).permute(0, 2, 3, 1)  # 16x16: nothing is scaled
    for item in items:
        assert torch.equal(item.clips, pixels[torch.from_numpy(item.frames)])


def test_an_unreadable_video_has_its_reason_in_its_place(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"this is no video " * 100)
    [item] = ClipReader(ClipSpec(), SIZES, Views(1, 1)).read_windows(str(tmp_path / "a.mp4"))
    assert isinstance(item, Unreadable) and not isinstance(item, WindowClips)
    assert "FFmpeg can't open it" in item.reason
