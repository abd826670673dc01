"""That small files can't take much memory or time."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
import time

import pytest
from PIL import Image
from test_video import encode

from smallbignet.cli import main
from smallbignet.data.limits import Limits
from smallbignet.data.options import VideoOptions
from smallbignet.data.video import open_video
from smallbignet.errors import SmallBigError, VideoError


def write_gif(path, width: int, height: int, frames: int):
    """A GIF with frames of one pixel on a canvas of any size, 23 bytes each."""
    header = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    control = b"\x21\xf9\x04\0\x04\0\0\0"
    pixel = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    path.write_bytes(header + (control + pixel) * frames + b";")
    return path


def test_a_small_file_with_huge_frames_is_refused_before_they_are_allocated(tmp_path):
    path = write_gif(tmp_path / "a.gif", 16000, 16000, 1000)
    assert path.stat().st_size < 24_000
    program = """
import resource, sys
from smallbignet.data.video import open_video
from smallbignet.errors import VideoError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    open_video(sys.argv[1])
except VideoError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error.what)
"""
    output = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True).stdout
    kilobytes, what = output.split(" ", 1)
    assert int(kilobytes) < 100_000  # one frame has a million
    assert "data.max_pixels is 67108864" in what


@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.avi", "a.gif", "a.mkv"])
def test_limit_of_pixels(name, tmp_path):
    codec = {"a.gif": "gif", "a.avi": "mpeg4"}.get(name, "libx264")
    path = write_gif(tmp_path / name, 64, 48, 3) if codec == "gif" else encode(tmp_path / name, codec, frames=3)
    with open_video(path, limits=Limits(max_pixels=64 * 48)) as video:
        assert video.num_frames == 3
    with pytest.raises(VideoError, match=r"data\.max_pixels is 3071"):
        open_video(path, limits=Limits(max_pixels=64 * 48 - 1))


def test_frames_that_grow_on_the_way_are_not_decoded(tmp_path):
    small = encode(tmp_path / "small.h264", frames=4)
    large = encode(tmp_path / "large.h264", frames=4, streams=((128, 96),))
    (tmp_path / "a.h264").write_bytes(small.read_bytes() + large.read_bytes())
    with open_video(tmp_path / "a.h264") as video:
        assert video.frames([7]).shape == (1, 3, 48, 64)
    with open_video(tmp_path / "a.h264", limits=Limits(max_pixels=64 * 48)) as video:
        video.frames([3])
        with pytest.raises(VideoError, match=r"128x96 pixels: data\.max_pixels is 3072"):
            video.frames([7])


def test_limit_of_pixels_of_an_image(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "img_00001.jpg")
    assert open_video(tmp_path, limits=Limits(max_pixels=48)).num_frames == 1
    with pytest.raises(VideoError, match=r"8x6 pixels: data\.max_pixels is 47"):
        open_video(tmp_path, limits=Limits(max_pixels=47))


def test_limit_of_frames(tmp_path):
    path = encode(tmp_path / "a.mp4", frames=9)
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(9):
        Image.new("RGB", (8, 6)).save(folder / f"img_{i:05d}.jpg")
    for video in (path, folder):
        assert open_video(video, limits=Limits(max_frames=9)).num_frames == 9
        with pytest.raises(VideoError, match=r"data\.max_frames is 8"):
            open_video(video, limits=Limits(max_frames=8))


def test_limit_of_seconds(tmp_path):
    path = write_gif(tmp_path / "a.gif", 4000, 4000, 1000)  # takes minutes to decode
    limits = Limits(max_seconds=0.5)
    start = time.monotonic()
    with open_video(path, limits=limits) as video, pytest.raises(VideoError, match=r"data\.max_seconds is 0\.5"):
        video.frames([999])
    assert time.monotonic() - start < 20
    with open_video(path, limits=limits) as video:
        for i in range(3):
            video.frames([i])  # each reading has its own time


def test_a_video_within_the_limits_takes_less_memory_than_a_gigabyte(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open_video(write_gif(tmp_path / "a.gif", 8000, 8000, 2)) as video:
        video.frames([1])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000


@pytest.mark.parametrize("limits", [{"max_pixels": 0}, {"max_frames": -1}, {"max_seconds": 0.0}, {"max_seconds": float("nan")}])
def test_limits_that_are_none(limits):
    with pytest.raises(SmallBigError, match=r"must be a (whole )?number"):
        VideoOptions(**limits)


def test_the_limits_are_options_of_the_command_line(run, tmp_path, capsys):
    path = encode(tmp_path / "a.mp4", frames=9)
    assert main(["predict", str(run), str(path), "--data.max_frames", "8"]) == 1
    assert "data.max_frames is 8" in capsys.readouterr().err
    assert main(["check", str(path), "--data.max_pixels", "100", "--workers", "1"]) == 1
    assert "data.max_pixels is 100" in capsys.readouterr().out
