"""Frames as they are meant to be seen, where the pixels of a file are not square."""

from __future__ import annotations

import re
import struct
from fractions import Fraction

import numpy as np
import pytest
import test_video
from test_video import encode, needs_torchcodec

from smallbignet.data.video import open_video


def disc(i: int, width: int, height: int) -> np.ndarray:
    """A white disc that fills a square of 80x80, squeezed or stretched to a size."""
    y, x = np.mgrid[:height, :width]
    inside = ((x + 0.5) * 80 / width - 40) ** 2 + ((y + 0.5) * 80 / height - 40) ** 2 < 36**2
    return np.repeat(255 * inside[:, :, None].astype(np.uint8), 3, axis=2)


@pytest.mark.parametrize(
    ("ratio", "stored", "shown"),
    [
        (Fraction(2), (40, 80), (80, 80)),
        (Fraction(1, 2), (160, 80), (80, 80)),
        (Fraction(64, 45), (56, 80), (80, 80)),  # PAL, 16:9
    ],
)
@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.ts", "libx264"),
        ("a.wmv", "wmv2"),
        ("a.flv", "libx264"),
    ],
)
def test_frames_are_shown_with_square_pixels(name, codec, ratio, stored, shown, tmp_path, monkeypatch):
    def squeeze(stream):
        stream.codec_context.sample_aspect_ratio = ratio

    monkeypatch.setattr(test_video, "picture", disc)
    path = encode(tmp_path / name, codec, frames=3, streams=(stored,), prepare=squeeze)
    with open_video(path) as video:
        assert (video.width, video.height) == shown
        bright = video.frames([1])[0].float().mean(0) > 128
    extents = [int(line.sum()) for line in (bright.any(0), bright.any(1))]
    assert extents == pytest.approx([72, 72], abs=3)
    with open_video(path, square_pixels=False) as video:
        assert (video.width, video.height) == stored


@pytest.mark.parametrize("name", ["a.mpg", "a.vob", "a.ts", "a.mxf", "a.mkv", "a.m2v"])
@pytest.mark.parametrize(("ratio", "shown"), [(Fraction(4, 3), (85, 48)), (Fraction(1), (64, 48))])
def test_mpeg2_says_how_wide_its_picture_is(name, ratio, shown, tmp_path):
    """4:3 or 16:9, of 64x48 pixels."""

    def squeeze(stream):
        stream.codec_context.sample_aspect_ratio = ratio

    with open_video(encode(tmp_path / name, "mpeg2video", frames=3, streams=((64, 48),), prepare=squeeze)) as video:
        assert (video.width, video.height) == shown == (video.frames([1]).shape[3], video.frames([1]).shape[2])


@pytest.mark.parametrize(
    ("ratio", "width"),
    [
        (Fraction(1, 1000), 40),
        (Fraction(1000), 40),
        (Fraction(0), 40),
        (Fraction(9), 40),
        (Fraction(1, 9), 40),
        (Fraction(8), 320),
        (Fraction(1, 8), 5),
        (Fraction(225, 224), 40),
        (Fraction(12, 11), 44),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_absurd_ratios_are_mistakes_and_tiny_ones_come_of_rounding(name, ratio, width, tmp_path):
    def squeeze(stream):
        stream.codec_context.sample_aspect_ratio = ratio

    with open_video(encode(tmp_path / name, frames=3, streams=((40, 80),), prepare=squeeze)) as video:
        assert (video.width, video.height) == (width, 80)


@needs_torchcodec
def test_pyav_shows_square_pixels_for_torchcodec(tmp_path):
    def squeeze(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(2)

    path = encode(tmp_path / "a.mp4", frames=3, streams=((40, 80),), prepare=squeeze)
    with open_video(path, backend="torchcodec") as video:
        assert (video.width, video.height) == (80, 80)
    with open_video(path, backend="torchcodec", square_pixels=False) as video:
        assert (video.width, video.height) == (40, 80)


@pytest.mark.parametrize(("degrees", "shown"), [(0, (80, 60)), (90, (60, 80)), (-90, (60, 80)), (180, (80, 60))])
@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_square_pixels_of_a_rotated_video(name, degrees, shown, tmp_path):
    def squeeze(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        stream.set_display_rotation(degrees)

    with open_video(encode(tmp_path / name, frames=3, streams=((40, 60),), prepare=squeeze)) as video:
        assert (video.width, video.height) == shown
        assert video.frames([2]).shape == (1, 3, *shown[::-1])


def test_the_word_of_the_container_goes_before_that_of_the_codec(tmp_path):
    def squeeze(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(2)

    path = encode(tmp_path / "a.mp4", frames=3, streams=((40, 80),), prepare=squeeze)
    data = path.read_bytes()
    assert data.count(b"pasp") == 1  # and the codec has it, too
    place = data.index(b"pasp") + 4
    path.write_bytes(data[:place] + struct.pack(">II", 3, 2) + data[place + 8 :])
    with open_video(path) as video:
        assert (video.width, video.height) == (60, 80)


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_matroska_says_how_large_a_picture_is_shown(codec, tmp_path):
    path = encode(tmp_path / "a.webm", codec, frames=3, streams=((40, 80),))
    size, shown = bytes.fromhex("b08128 ba8150"), bytes.fromhex("54b08150 54ba8150")  # 40x80, shown as 80x80
    duration = rb"\x23\xe3\x83\x84.{4}\xe0\x86"  # of a frame: as many bytes, before the size
    data, count = re.subn(duration + re.escape(size), b"\xe0\x8e" + size + shown, path.read_bytes(), flags=re.DOTALL)
    assert count == 1
    path.write_bytes(data)
    with open_video(path) as video:
        assert (video.width, video.height) == (80, 80) == video.frames([2]).shape[:1:-1]
