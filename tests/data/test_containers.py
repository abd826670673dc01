"""Which files are read as videos, that no other file is opened, and when a file is known to be cut short."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from test_video import encode

from smallbignet.data.containers import CONTAINERS, VIDEO_EXTENSIONS, is_cut_short, pixel_ratio
from smallbignet.data.integrity import check_video
from smallbignet.data.video import open_video
from smallbignet.errors import VideoError

IN_OPEN = 0x20  # of <sys/inotify.h>

# name -> text of files that tell FFmpeg to open others
POINTERS = {
    "concat.mp4": "ffconcat version 1.0\nfile other.mp4\n",
    "playlist.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n",
    "playlist.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n",
    "live.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n",
    "variants.m3u8": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nplaylist.m3u8\n",
    "manifest.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
    'mimeType="video/mp4"><Representation id="1"><BaseURL>other.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "metadata.mp4": ";FFMETADATA1\ntitle=other.mp4\n",
    "subtitles.srt": "1\n00:00:00,000 --> 00:00:01,000\nother.mp4\n\n",
    "subtitles.vtt": "WEBVTT\n\n00:00.000 --> 00:01.000\nother.mp4\n",
    "index.idx": "# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:00:000, filepos: 000000000\n",
    "picture.mp4": '<svg xmlns="http://www.w3.org/2000/svg"><image href="pic1.jpg"/></svg>',
}


@pytest.fixture
def opened(tmp_path):
    """Returns the names of the files of a folder that were opened since it was last called."""
    if not sys.platform.startswith("linux"):
        pytest.skip("Linux tells which files are opened")
    libc = ctypes.CDLL(None, use_errno=True)
    watcher = libc.inotify_init1(os.O_NONBLOCK)
    libc.inotify_add_watch(watcher, os.fsencode(tmp_path), IN_OPEN)

    def names() -> set[str]:
        found = set()
        try:
            events = os.read(watcher, 1 << 16)
        except BlockingIOError:
            return found
        while events:
            (length,) = struct.unpack_from("12xI", events)
            found.add(events[16 : 16 + length].rstrip(b"\0").decode())
            events = events[16 + length :]
        return found - {""}

    yield names
    os.close(watcher)


@pytest.mark.parametrize("name", [*POINTERS, "pic%d.jpg", "pic1.jpg"])
def test_a_file_that_points_to_others_is_refused_and_they_are_not_opened(name, tmp_path, opened):
    encode(tmp_path / "other.mp4", frames=2)
    encode(tmp_path / "other.ts", frames=2)
    for image in ("pic1.jpg", "pic2.jpg", "pic%d.jpg"):
        Image.new("RGB", (8, 6)).save(tmp_path / image)
    for pointer, text in POINTERS.items():
        (tmp_path / pointer).write_text(text)
    opened()
    with pytest.raises(VideoError) as error:
        open_video(tmp_path / name)
    assert "\n" not in error.value.what
    assert opened() <= {name}


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.3gp", "mpeg4"),
        ("a.qt", "libx264"),
        ("a.f4v", "libx264"),
        ("a.webm", "libvpx"),
        ("a.avi", "mpeg4"),
        ("a.m2ts", "libx264"),
        ("a.vob", "mpeg2video"),
        ("a.wmv", "wmv2"),
        ("a.flv", "flv"),
        ("a.ogv", "libvpx"),
        ("a.mxf", "mpeg2video"),
        ("a.nut", "mpeg4"),
        ("a.wtv", "mpeg2video"),
        ("a.ivf", "libvpx"),
        ("a.h264", "libx264"),
        ("a.m2v", "mpeg2video"),
    ],
)
def test_common_containers_are_read(name, codec, tmp_path, opened):
    form = {"a.qt": "mov", "a.ivf": "ivf"}.get(name)
    path = encode(tmp_path / name, codec, frames=8, form=form)
    opened()
    with open_video(path) as video:
        assert (video.num_frames, video.width, video.height) == (8, 64, 48)
    assert opened() == {name}
    assert path.suffix in VIDEO_EXTENSIONS
    assert check_video(str(path)).status == "ok"


def test_the_suffixes_of_a_container_are_listed_once():
    assert len(VIDEO_EXTENSIONS) == sum(len(suffixes.split()) for suffixes in CONTAINERS.values())
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in VIDEO_EXTENSIONS)


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mpeg4"), ("a.mp4", "libx264"), ("a.mkv", "libx264")])
def test_a_file_is_cut_short_if_any_of_its_end_is_missing(name, codec, tmp_path):
    form = {".avi": "avi", ".mp4": "mov", ".mkv": "matroska"}[name[1:]]
    path = encode(tmp_path / name, codec, frames=8)
    data = path.read_bytes()
    for length in (len(data), len(data) + 7):  # something may have been added
        path.write_bytes((data + b"\0" * 7)[:length])
        assert not is_cut_short(str(path), form)
    for length in (len(data) - 2, len(data) // 2, 100):
        path.write_bytes(data[:length])
        assert is_cut_short(str(path), form)


@pytest.mark.parametrize(
    ("form", "start"),
    [
        ("avi", b"RIFF"),
        ("mov", b"\0\0\0\x01moov"),
        ("matroska", b"\x1a\x45\xdf\xa3"),
        ("matroska", b"\x18\x53\x80\x67\0\0\0\0"),
    ],
)
def test_lengths_that_are_none_prove_nothing_and_stop_nothing(form, start, tmp_path):
    chance = np.random.default_rng(0)
    path = tmp_path / "a"
    for length in (0, 1, 3, 8, 12, 100):
        for _ in range(20):
            path.write_bytes(start + chance.bytes(length))
            assert is_cut_short(str(path), form) in (True, False)
    path.write_bytes(start + bytes(100))
    assert not is_cut_short(str(path), form)


def test_a_live_recording_states_no_length(tmp_path):
    path = encode(tmp_path / "a.mkv", "libx264", frames=8, muxer={"live": "1"})
    path.write_bytes(path.read_bytes()[:-100])
    assert not is_cut_short(str(path), "matroska")
    assert check_video(str(path)).status in ("ok", "damaged")


@pytest.mark.parametrize(
    ("stated", "ratio"),
    [
        (None, 1),
        (Fraction(1), 1),
        (Fraction(2), 2),
        (Fraction(16, 15), Fraction(16, 15)),
        (Fraction(224, 225), 1),  # a rounding of sizes
        (Fraction(0), 1),
        (Fraction(1000), 1),
        (Fraction(1, 1000), 1),
    ],
)
def test_ratio_of_a_pixel(stated, ratio):
    assert pixel_ratio(SimpleNamespace(sample_aspect_ratio=stated)) == ratio
