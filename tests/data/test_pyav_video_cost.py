"""That reading frames by number decodes no more than it must, and that what is skipped is not missed."""

from __future__ import annotations

import pytest
import torch
from test_video import GROUPS, ODD, assert_frames_are_those_of_the_whole, decode_all, encode, needs_odd

from smallbignet.data import pyav_video as module
from smallbignet.data.pyav_video import PyAVVideo
from smallbignet.data.video import open_video

SPARSE = "keyint=250:bframes=3:b-adapt=0:b-pyramid=none:scenecut=0"  # 0 and every fourth are referred to, no other


@pytest.fixture
def decoded(monkeypatch):
    """The number of packets that readers have had decoded since they were opened."""

    class Counter:
        packets = 0

    real = module.read_packets

    def counting(container, stream):
        for packet in real(container, stream):
            Counter.packets += packet is not None
            yield packet

    monkeypatch.setattr(module, "read_packets", counting)
    return Counter


@pytest.fixture
def shown(monkeypatch):
    """The numbers of the frames that came out of decoders."""
    numbers, real = [], PyAVVideo._decode

    def noting(*args):
        for number, frame in real(*args):
            numbers.append(number)
            yield number, frame

    monkeypatch.setattr(PyAVVideo, "_decode", noting)
    return numbers


@needs_odd
@pytest.mark.parametrize(
    ("name", "indices", "most"),
    [
        ("mmaction2__demo.mp4", [277, 278, 279], 12),  # key frames 0, 187, 230, 268
        ("mmaction2__demo.mp4", [0, 1, 2], 8),
        ("mmaction2__demo.mp4", [235, 190], 20),  # two groups, each from its key frame
        ("mmaction2__demo.mp4", list(range(280)), 280),
        ("scikit__bikes.mp4", list(range(0, 250, 10)), 250),  # never back: each frame once at most
        ("decord__flipping_a_pancake.mkv", [309], 10),  # key frames 0, 150, 300
    ],
)
def test_decodes_no_more_than_it_must(name, indices, most, decoded):
    with open_video(ODD / name) as video:
        decoded.packets = 0
        video.frames(indices)
        assert decoded.packets <= most
        decoded.packets = 0
        video.frames(sorted(indices)[-1:] * 5)
        assert decoded.packets == 0, "the frame is at hand"


def test_frames_that_nothing_refers_to_are_skipped(tmp_path, shown):
    path = encode(tmp_path / "a.mp4", x264=SPARSE)
    whole = decode_all(path)
    with open_video(path) as video:
        shown.clear()
        frames = video.frames([6, 17, 40])
        assert shown == [4, 6, 8, 12, 16, 17, *range(20, 41, 4)]  # 0 is at hand from opening
        assert torch.equal(frames, torch.stack([whole[i] for i in (6, 17, 40)]))


def test_reading_on_after_frames_were_skipped(tmp_path, decoded, shown):
    path = encode(tmp_path / "a.mp4", x264=SPARSE)
    whole = decode_all(path)
    with open_video(path) as video:
        next(video.each([0, 20]))  # and the rest not
        assert torch.equal(video.frames([3])[0], whole[3])
        decoded.packets = 0
        shown.clear()
        for i in range(4, 60):
            assert torch.equal(video.frames([i])[0], whole[i])
        assert shown == list(range(4, 60)), "each once: what follows a wanted frame is not skipped"
        assert decoded.packets <= 56
        both = zip(video.each([10, 30]), video.each([17, 41]), strict=True)
        assert all(torch.equal(frame, whole[i]) for pair in both for i, frame in pair)


def test_a_decoder_that_skips_too_much_is_told_to_skip_nothing(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.mp4", x264=SPARSE)
    real = PyAVVideo._skip
    monkeypatch.setattr(PyAVVideo, "_skip", lambda video, packet: real(video, packet) or video._skips)
    assert_frames_are_those_of_the_whole(path)


@pytest.mark.parametrize("groups", ["one key frame", "open", "closed", "short"])
def test_a_file_is_opened_once(groups, tmp_path, monkeypatch):
    path, opened, real = encode(tmp_path / "a.mp4", x264=GROUPS[groups]), [], module.open_stream
    monkeypatch.setattr(module, "open_stream", lambda *args: opened.append(path) or real(*args))
    with open_video(path) as video:
        video.frames([0, 40, 5])
        video.frames([3])
    assert len(opened) == 1
