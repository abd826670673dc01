"""That frame i is the i-th frame shown, whatever the file."""

from __future__ import annotations

import random
import subprocess
import sys
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from av.stream import Disposition

from shared_data import ODD
from smallbignet.data.pyav_video import upright
from smallbignet.data.torchcodec_video import is_torchcodec_available
from smallbignet.data.video import open_video
from smallbignet.errors import SmallBigError, VideoError

needs_odd = pytest.mark.skipif(not ODD.is_dir(), reason="the collection of odd videos is not here")
needs_torchcodec = pytest.mark.skipif(
    not is_torchcodec_available(), reason="torchcodec doesn't work here: it needs FFmpeg's shared libraries"
)

# name -> (frames, width, height, fps), upright, as stored
READABLE = {
    "decord__corrupted.mp4": (50, 1280, 720, 10.0),
    "decord__flipping_a_pancake.mkv": (310, 426, 240, 30.0),
    "decord__unordered.mov": (4, 50, 50, 32.0),
    "decord__video_90.mov": (3, 320, 568, 30.0),
    "derived__truncated_half_example.avi": (67, 320, 240, 25.0),
    "derived__zeroed_4kB_bikes.mp4": (250, 640, 272, 25.0),
    "imageio__realshort.mp4": (36, 320, 240, 30.02),
    "mmaction2__S001C001P001R001A001_rgb.avi": (103, 1920, 1080, 30.0),
    "mmaction2__demo.mp4": (280, 340, 256, 28.0),
    "mmaction2__part_0.mp4": (32, 340, 256, 30.0),
    "mmaction2__test.avi": (164, 320, 240, 25.0),
    "moviepy__bitmap.mp4": (5, 1, 1, 1.0),
    "moviepy__no_duration.webm": (74, 1280, 720, 14.99),
    "scikit__bikes.mp4": (250, 640, 272, 25.0),
    "torchcodec__animated.gif": (4, 64, 48, 10.0),
    "torchcodec__av1_video.mkv": (125, 640, 360, 25.0),
    "torchcodec__discard_first_keyframe.mp4": (25, 64, 64, 25.0),
    "torchcodec__h265_10bits.mp4": (30, 200, 200, 30.0),
    "torchcodec__nasa_13013_rotated.mp4": (17, 270, 480, 29.97),
    "torchcodec__test_non_zero_start.mp4": (12, 200, 112, 30.0),
    "torchcodec__testsrc2_odd_height_and_width_vp9.mp4": (25, 321, 241, 25.0),
    "torchcodec__testsrc2_vp8.webm": (30, 1280, 720, 30.0),
}
WIDTHS = {"mmaction2__demo.mp4": 427, "mmaction2__part_0.mp4": 455}  # with square pixels, not 64:51 and 1024:765
UNREADABLE = {
    "derived__text_renamed.mp4": "FFmpeg can't open it as a video: Invalid data found when processing input",
    "derived__truncated_half_demo.mp4": "FFmpeg can't open it as a video: Invalid data found when processing input",
    "moviepy__result.webm": "the file is empty",
    "moviepy__with-attached-pic.mp3": "there is no video in it, only a cover picture",
    "torchcodec__sine_mono_s16.wav": "there is no video in it",
    "missing.mp4": "there is no such file",
}


def picture(i: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A frame that no other frame looks like: noise that moves, under a band whose grey tells the number."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = np.roll(noise, i, axis=1)
    image[:16] = i * 4 % 256
    return image


SIZES = ((64, 48),)


def encode(
    path,
    codec="libx264",
    frames=60,
    x264="",
    steps=(1,),
    prepare=None,
    streams=SIZES,
    fate=None,
    form=None,
    muxer=None,
    **options,
):
    """Write a video of `frames` pictures, `steps` ticks of 1/25 s apart; `fate` may change or drop (None) each packet.

    `form` and `muxer` are the container's name and options, the other options the encoder's.
    """
    if x264:
        options["x264-params"] = x264
    with av.open(str(path), "w", format=form, container_options=muxer or {}) as container:
        written = []
        for width, height in streams:
            stream = container.add_stream(codec, rate=25, options={k: str(v) for k, v in options.items()})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            if prepare:
                prepare(stream)
            written.append(stream)
        packets, tick = [], 0
        for i in range(frames):
            for stream in written:
                frame = av.VideoFrame.from_ndarray(picture(i, stream.width, stream.height))
                frame.pts, frame.time_base = tick, Fraction(1, 25)
                packets += stream.encode(frame)
            tick += steps[i % len(steps)]
        for stream in written:
            packets += stream.encode()
        for i, packet in enumerate(packets):
            packet = fate(i, packet) if fate else packet
            if packet is not None:
                container.mux(packet)
    return path


def decode_all(path) -> list[torch.Tensor | None]:
    """What PyAV makes of a whole file, to its end or first error; None for frames that it says are damaged."""
    frames: list[torch.Tensor | None] = []
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        try:
            for frame in container.decode(stream):
                rgb = torch.from_numpy(frame.to_ndarray(format="rgb24", threads=1)).permute(2, 0, 1)
                frames.append(None if frame.is_corrupt else upright(rgb, frame).clone())
        except av.FFmpegError:
            pass
    return frames


def assert_frames_are_those_of_the_whole(path) -> None:
    """Shuffled, sparse and single reads all give what decoding the whole file gives."""
    whole = decode_all(path)
    good = [i for i, frame in enumerate(whole) if frame is not None]
    assert good
    chance = random.Random(0)
    sparse = good[:: max(1, len(good) // 8)]
    singles = chance.sample(good, min(len(good), 2)) + good[-1:]
    shuffled = chance.sample(good, min(len(good), 20))
    with open_video(path, square_pixels=False) as video:
        for indices in (sparse, shuffled, shuffled[:3] * 2, *([i] for i in singles)):
            frames = video.frames(indices)
            assert frames.dtype == torch.uint8
            assert frames.shape == (len(indices), 3, video.height, video.width)
            assert frames.is_contiguous(memory_format=torch.channels_last)
            for i, frame in zip(indices, frames, strict=True):
                assert torch.equal(frame, whole[i]), f"frame {i}"


@needs_odd
@pytest.mark.parametrize("name", READABLE)
def test_odd_file(name):
    with open_video(ODD / name, square_pixels=False) as video:
        assert (video.num_frames, video.width, video.height, round(video.fps, 2)) == READABLE[name]
    with open_video(ODD / name) as video:
        assert (video.width, video.height) == (WIDTHS.get(name, READABLE[name][1]), READABLE[name][2])
    assert_frames_are_those_of_the_whole(ODD / name)


@needs_odd
@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("backend", ["pyav", pytest.param("torchcodec", marks=needs_torchcodec)])
def test_unreadable_file(name, backend):
    with pytest.raises(VideoError) as error:
        open_video(ODD / name, backend=backend)
    assert error.value.where == str(ODD / name)
    assert "\n" not in error.value.what
    if backend == "pyav":
        assert error.value.what == UNREADABLE[name]


@needs_odd
@needs_torchcodec
@pytest.mark.parametrize("name", [name for name in READABLE if "corrupt" not in name and "derived" not in name])
def test_torchcodec_gives_the_same_frames(name):
    stored = {"square_pixels": False}
    with open_video(ODD / name, **stored) as ours, open_video(ODD / name, backend="torchcodec", **stored) as theirs:
        assert (ours.num_frames, ours.width, ours.height) == (theirs.num_frames, theirs.width, theirs.height)
        indices = [ours.num_frames - 1, 0, ours.num_frames // 2]
        difference = (ours.frames(indices).float() - theirs.frames(indices).float()).abs().mean(dim=(1, 2, 3))
        assert difference.max() < 4, "another FFmpeg may round colours otherwise, but these are other frames"


GROUPS = {  # how the frames hang together
    "one key frame": "keyint=250:bframes=3:scenecut=0",
    "open": "open-gop=1:keyint=10:bframes=3:b-adapt=0:scenecut=0",
    "closed": "keyint=10:bframes=3:b-adapt=0:scenecut=0",
    "short": "keyint=3:bframes=2:b-adapt=0",
    "intra refresh": "intra-refresh=1:keyint=10:bframes=0",
}


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv", "avi", "flv", "ts"])
@pytest.mark.parametrize("groups", GROUPS)
def test_containers_and_groups_of_pictures(container, groups, tmp_path):
    path = encode(tmp_path / f"a.{container}", x264=GROUPS[groups], steps=(1, 3, 1, 2))
    assert_frames_are_those_of_the_whole(path)
    if is_torchcodec_available() and groups != "intra refresh":  # torchcodec takes a half refreshed picture for whole
        with open_video(path) as ours, open_video(path, backend="torchcodec") as theirs:
            indices = random.Random(0).sample(range(60), 20)
            assert (ours.frames(indices).float() - theirs.frames(indices).float()).abs().mean(dim=(1, 2, 3)).max() < 4


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.avi", "mpeg4"), ("a.mp4", "mpeg4"), ("a.mpg", "mpeg2video"), ("a.ts", "mpeg2video"), ("a.avi", "mjpeg")],
)
def test_older_codecs(name, codec, tmp_path):
    options = {} if codec == "mjpeg" else {"g": 12, "bf": 2}

    def full_range(stream):
        stream.codec_context.options |= {"strict": "-1"}

    assert_frames_are_those_of_the_whole(encode(tmp_path / name, codec, prepare=full_range, **options))


def test_vp8_frames_that_are_never_shown_have_no_number(tmp_path):
    def hide(i, packet):
        if i not in (20, 41):
            return packet
        data = bytearray(bytes(packet))
        data[0] &= ~0x10  # the bit of its header that says "show"
        hidden = av.Packet(bytes(data))
        hidden.pts, hidden.dts, hidden.time_base, hidden.stream = packet.pts, packet.dts, packet.time_base, packet.stream
        return hidden

    path = encode(tmp_path / "a.webm", "libvpx", g=30, fate=hide)
    assert open_video(path).num_frames == 58
    assert_frames_are_those_of_the_whole(path)


def test_frames_lost_by_a_cut_at_an_open_group_have_no_number(tmp_path):
    keys = []

    def from_second_key(i, packet):
        keys.extend([i] if packet.is_keyframe else [])
        return packet if len(keys) > 1 else None

    path = encode(tmp_path / "a.mkv", x264=GROUPS["open"], fate=from_second_key)
    assert open_video(path).num_frames == len(decode_all(path)) < 60 - keys[1]
    assert_frames_are_those_of_the_whole(path)


def test_the_best_of_several_streams(tmp_path):
    def prefer_the_second(stream):
        stream.disposition = Disposition.default if stream.width == 96 else Disposition(0)

    path = encode(tmp_path / "a.mkv", streams=((32, 16), (96, 64), (48, 32)), prepare=prefer_the_second)
    with open_video(path) as video:
        assert (video.width, video.height, video.num_frames) == (96, 64, 60)
    assert_frames_are_those_of_the_whole(path)


@pytest.mark.parametrize(
    ("degrees", "mirrored", "place"),
    [
        (0, False, "top left"),
        (90, False, "bottom left"),  # counter-clockwise
        (-90, False, "top right"),
        (180, False, "bottom right"),
        (0, True, "top right"),
    ],
)
def test_upright(degrees, mirrored, place, tmp_path):
    def turn(stream):
        stream.set_display_rotation(degrees, hflip=mirrored)

    path = encode(tmp_path / "a.mp4", frames=3, prepare=turn, qp=0)
    with open_video(path) as video:
        frame = video.frames([0])[0].float()
        assert frame.shape == (3, video.height, video.width) == ((3, 64, 48) if abs(degrees) == 90 else (3, 48, 64))
    corner = torch.from_numpy(picture(0)).permute(2, 0, 1).float()[:, :24, :24]  # a black band at the top, noise below
    corners = {
        "top left": frame[:, :24, :24],
        "top right": frame[:, :24, -24:],
        "bottom left": frame[:, -24:, :24],
        "bottom right": frame[:, -24:, -24:],
    }
    upright = {0: corner, 90: corner.rot90(1, (1, 2)), -90: corner.rot90(-1, (1, 2)), 180: corner.flip(1, 2)}[degrees]
    expected = upright.flip(2) if mirrored else upright
    distances = {name: (found.mean(0) - expected.mean(0)).abs().mean().item() for name, found in corners.items()}
    assert min(distances, key=distances.__getitem__) == place


@needs_odd
def test_damage_in_the_middle_costs_the_frames_up_to_the_next_key_frame():
    with open_video(ODD / "derived__zeroed_4kB_bikes.mp4") as video, open_video(ODD / "scikit__bikes.mp4") as whole:
        sound = [83, 137, 249, 0, 200]
        assert torch.equal(video.frames(sound), whole.frames(sound))
        for i in (85, 100, 136):
            with pytest.raises(VideoError, match=f"frame {i} of 250 can't be decoded"):
                video.frames([0, i, 200])
        assert torch.equal(video.frames(sound), whole.frames(sound)), "an error does no harm to later reads"


@needs_odd
def test_header_that_claims_too_many_frames():
    with open_video(ODD / "derived__truncated_half_example.avi") as video:
        assert (video.num_frames, video.claimed_frames) == (67, 131)


@needs_odd
@pytest.mark.parametrize("index", [-1, 280])
def test_index_out_of_range(index):
    with open_video(ODD / "mmaction2__demo.mp4") as video, pytest.raises(IndexError, match=f"no frame {index}"):
        video.frames([0, index])


@needs_odd
@pytest.mark.parametrize("backend", ["pyav", pytest.param("torchcodec", marks=needs_torchcodec)])
def test_ffmpeg_says_nothing(backend):
    program = """
import sys
from smallbignet.data.video import open_video
from smallbignet.errors import VideoError
for path in sys.argv[2:]:
    try:
        with open_video(path, backend=sys.argv[1]) as video:
            video.frames(range(0, video.num_frames, 9))
    except VideoError:
        pass
"""
    names = ["decord__corrupted.mp4", "derived__zeroed_4kB_bikes.mp4", "derived__truncated_half_example.avi", *UNREADABLE]
    command = [sys.executable, "-c", program, backend, *(str(ODD / name) for name in names)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert (result.stdout, result.stderr) == ("", "")


@pytest.mark.parametrize("backend", ["pyav", pytest.param("torchcodec", marks=needs_torchcodec)])
def test_name_with_a_colon(backend, tmp_path, monkeypatch):
    encode(tmp_path / "12_30.mp4", frames=2).rename(tmp_path / "12:30.mp4")
    monkeypatch.chdir(tmp_path)
    assert open_video("12:30.mp4", backend=backend).num_frames == 2


def test_metadata_in_another_encoding(tmp_path):
    path = encode(tmp_path / "a.mp4", frames=2)
    path.write_bytes(path.read_bytes().replace(b"Lavf", b"L\xe9vf"))
    assert open_video(path).num_frames == 2


def test_streams_that_appear_on_the_way(tmp_path):
    one, two = encode(tmp_path / "1.ts"), encode(tmp_path / "2.ts", streams=((64, 48), (64, 48)))
    (tmp_path / "a.ts").write_bytes(one.read_bytes() * 40 + two.read_bytes())
    with open_video(tmp_path / "a.ts") as video:
        assert video.frames([2399]).shape == (1, 3, 48, 64)


def test_a_playlist_does_not_reach_other_files(tmp_path):
    other = encode(tmp_path / "other.ts", frames=30)
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nhttp://127.0.0.1:9/{other.name}\n#EXT-X-ENDLIST\n")
    with pytest.raises(VideoError):
        open_video(playlist)


def _fails_to_load(*_):
    raise RuntimeError("Could not load libtorchcodec")  # what torchcodec raises at the first file, without FFmpeg's libraries


@pytest.mark.parametrize("missing", ["package", "FFmpeg"])
def test_torchcodec_that_does_not_work_is_one_line(missing, monkeypatch, tmp_path):
    fake = SimpleNamespace(VideoDecoder=_fails_to_load) if missing == "FFmpeg" else None
    monkeypatch.setitem(sys.modules, "torchcodec", SimpleNamespace(decoders=fake))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", fake)
    is_torchcodec_available.cache_clear()
    path = encode(tmp_path / "a.mp4", frames=2)
    with pytest.raises(SmallBigError, match="apt-get install ffmpeg") as error:
        open_video(path, backend="torchcodec")
    is_torchcodec_available.cache_clear()
    assert "\n" not in str(error.value)
