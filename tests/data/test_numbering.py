"""That the frames that decode are those that have numbers, and that `check` promises nothing that a file does not."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from test_video import assert_frames_are_those_of_the_whole, decode_all, encode

from smallbignet.data.integrity import check_video
from smallbignet.data.video import open_video

TWENTY_FIVE = "keyint=25:bframes=2:b-adapt=0:scenecut=0"
OPEN = f"open-gop=1:{TWENTY_FIVE}"
TWELVE = "keyint=12:bframes=3:b-adapt=0:scenecut=0"


def cut(source, target, first: int):
    """Copy a file's packets from one on, without decoding them, as tools do that cut recordings."""
    with av.open(str(source)) as given, av.open(str(target), "w") as rest:
        stream = given.streams.video[0]
        copy = rest.add_stream_from_template(stream)
        for i, packet in enumerate(packet for packet in given.demux(stream) if packet.size):
            if i >= first:
                packet.stream = copy
                rest.mux(packet)
    return target


@pytest.mark.parametrize(
    ("name", "codec", "first", "frames"),
    [
        ("a.ts", "libx264", 10, 75),
        ("a.ts", "libx264", 1, 75),
        ("a.ts", "libx264", 26, 50),
        ("a.avi", "libx264", 10, 75),
        ("a.flv", "libx264", 10, 75),
        ("a.asf", "libx264", 10, 75),
        ("a.h264", "libx264", 10, 75),
        ("a.mp4", "libx264", 10, 75),
        ("a.mkv", "libx264", 10, 75),
        ("a.hevc", "libx265", 10, 75),
        ("a.ts", "mpeg2video", 10, 73),  # its open groups lose the two frames shown before the key frame, too
        ("a.mpg", "mpeg2video", 10, 73),
        ("a.m2v", "mpeg2video", 10, 73),
        ("a.mkv", "mpeg2video", 10, 73),
        ("a.ivf", "libvpx-vp9", 10, 75),  # its packets before a key frame are errors to the decoder
        ("a.webm", "libvpx-vp9", 10, 75),
    ],
)
def test_packets_at_the_start_that_do_not_decode_have_no_number(name, codec, first, frames, tmp_path):
    groups = {"x264": TWENTY_FIVE} if codec == "libx264" else {"g": 25, "bf": 2}
    if codec == "libx265":
        groups = {"x265-params": f"{TWENTY_FIVE}:log-level=none"}
    whole = encode(tmp_path / f"whole{name[1:]}", codec, frames=100, **groups)
    path = cut(whole, tmp_path / name, first)
    with open_video(path) as video, open_video(whole) as source:
        assert (video.num_frames, video.claimed_frames) == (frames, frames)
        numbers = [frames - 1, 0, 3, 40]
        assert torch.equal(video.frames(numbers), source.frames([100 - frames + i for i in numbers]))
    assert check_video(str(path)).status == "ok"


@pytest.mark.parametrize("name", ["a.ts", "a.avi", "a.asf", "a.mkv", "a.mp4"])
def test_a_cut_before_frames_that_the_decoder_makes_up(name, tmp_path):
    """MPEG-4 decodes frames without what they are predicted from; what comes out is numbered in its order."""
    whole = encode(tmp_path / f"whole{name[1:]}", "mpeg4", frames=100, g=25, bf=2)
    for first in (1, 30):
        path = cut(whole, tmp_path / name, first)
        with open_video(path) as video:
            assert video.num_frames == len(decode_all(path)) < 100
        assert_frames_are_those_of_the_whole(path)


def test_a_key_frame_that_frames_shown_before_it_follow(tmp_path):
    """Cut exactly at the key frame of an open group, a file without times looks whole, and is not."""
    packets = []

    def from_second_key(i, packet):
        packets.extend([packet] if packet.is_keyframe else [])
        return packet if len(packets) > 1 else None

    path = encode(tmp_path / "a.h264", frames=100, x264=OPEN, fate=from_second_key)
    with open_video(path) as video:
        assert video.num_frames == len(decode_all(path)) == 75
    assert_frames_are_those_of_the_whole(path)


@pytest.mark.parametrize("first", [5, 10])
@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_a_seek_that_yields_nothing_falls_back_to_the_start(name, first, tmp_path):
    whole = encode(tmp_path / f"whole{name[1:]}", x264=TWELVE)
    path = cut(whole, tmp_path / name, first)
    with open_video(path) as video:
        assert video.num_frames == 48
        expected = decode_all(path)
        for i in (47, 0, 30, 0, 47, 1):
            assert torch.equal(video.frames([i])[0], expected[i]), i
    assert_frames_are_those_of_the_whole(path)


def test_an_avi_may_leave_frames_out(tmp_path):
    """Its writer fills gaps in time with empty packets, which the header counts."""
    path = encode(tmp_path / "a.avi", "mpeg4", frames=20, steps=(1, 1, 2, 1))
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 25
    report = check_video(str(path))
    assert (report.status, report.num_frames) == ("ok", 20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
    assert check_video(str(path)).status == "damaged"


def test_a_header_that_counts_wrongly_proves_nothing(tmp_path):
    path = encode(tmp_path / "a.avi", "mpeg4", frames=20)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"avih") + 24, 1000)
    struct.pack_into("<I", data, data.index(b"strh") + 40, 1000)
    path.write_bytes(data)
    assert check_video(str(path)).status == "ok"


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_a_last_frame_that_is_shown_for_long_proves_nothing(name, tmp_path):
    def prolong(i, packet):
        packet.duration = packet.duration * 250 if i == 19 else packet.duration
        return packet

    path = encode(tmp_path / name, "mpeg4", frames=20, fate=prolong)
    report = check_video(str(path))
    assert (report.status, report.num_frames) == ("ok", 20)


@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "a.mkv"])
def test_a_file_that_lost_its_end_is_damaged(name, tmp_path):
    muxer = {"movflags": "faststart"} if name == "a.mp4" else {}
    path = encode(tmp_path / name, "mpeg4", frames=100, muxer=muxer, g=10)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    report = check_video(str(path))
    assert report.status == "damaged"
    assert report.reason.endswith("of 100 frames can be read without damage")


def write_palettised(path, codec, palettes, frames=10):
    """Frame i is colour i + 1 of the i-th palette, which repeat."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "pal8"
        for i in range(frames):
            frame = av.VideoFrame(32, 32, "pal8")
            frame.planes[0].update(bytes([i + 1]) * frame.planes[0].buffer_size)
            bgra = np.insert(palettes[i % len(palettes)][:, ::-1], 3, 255, axis=1)
            frame.planes[1].update(bgra.tobytes())
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mov", "rawvideo"),
        ("a.mov", "smc"),
        ("a.mov", "targa"),
        ("a.avi", "rawvideo"),
        ("a.avi", "msrle"),
        ("a.nut", "rawvideo"),
        ("a.gif", "gif"),
    ],
)
def test_palettes(name, codec, tmp_path):
    """The palette of a QuickTime file comes with its first packet alone; AVI may change it on the way."""
    colours = np.arange(256)
    palette = np.stack([20 * colours % 256, 255 - colours, 7 * colours % 256], axis=1).astype(np.uint8)
    path = write_palettised(tmp_path / name, codec, [palette])
    with open_video(path) as video:
        for _ in range(2):  # the second time after a seek
            frames = video.frames([0, 5, 9])
            assert frames[:, :, 16, 16].tolist() == [[20, 254, 7], [120, 249, 42], [200, 245, 70]]
    if name == "a.avi":
        path = write_palettised(tmp_path / "b.avi", codec, [palette, palette[:, [1, 2, 0]]])
        with open_video(path) as video:
            assert video.frames([9, 0])[:, :, 16, 16].tolist() == [[245, 70, 200], [20, 254, 7]]
