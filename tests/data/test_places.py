"""Where clips are sampled by time: variable frame rates, and clips at a frame rate of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from test_video import decode_all, encode, needs_torchcodec

from shared_data import FIGHTS, ODD
from smallbignet.data.frames import Video
from smallbignet.data.limits import Limits
from smallbignet.data.numbering import Numbering
from smallbignet.data.options import VideoOptions
from smallbignet.data.sampling import ClipSpec, Views, find_places, sample_test_clips, sample_train_clip
from smallbignet.data.transforms import InputSpec
from smallbignet.data.video import open_video
from smallbignet.errors import SmallBigError, VideoError
from smallbignet.inference.clips import ClipReader
from smallbignet.training.settings import load_recipe
from smallbignet.weights.directory import ModelConfig

DENSE, UNIFORM = ClipSpec("dense", 8, 8), ClipSpec("uniform", 8, by_time=True)
BURST = [1] * 30 + [24] * 30  # ticks of 1/25 s: 30 frames in the first 1.2 seconds, and 30 in the next 28.8


class Timed(Video):
    """A video that is nothing but the times of its frames."""

    def __init__(self, times):
        self.path, self.num_frames = "timed.mp4", len(times)
        self.fps = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 25.0
        self._times = np.array(times, float) - times[0]

    @property
    def times(self):
        return self._times

    def _read(self, wanted):
        raise NotImplementedError


def constant(num_frames: int, fps: float) -> Timed:
    return Timed(np.arange(num_frames) / fps)


def indices(video: Video, spec: ClipSpec, num_clips: int = 1) -> np.ndarray:
    places = find_places(video, spec, Limits())
    return places.frames(sample_test_clips(places.count, places.spec, num_clips))


@pytest.mark.parametrize("container", ["mp4", "mkv", "mov", "webm"])
@pytest.mark.parametrize("backend", ["pyav", pytest.param("torchcodec", marks=needs_torchcodec)])
def test_times_are_those_of_the_file(backend, container, tmp_path):
    codec = "libvpx" if container == "webm" else "libx264"
    path = encode(tmp_path / f"a.{container}", codec, frames=12, steps=(1, 3, 1, 2))
    ticks = list(accumulate([0, *[1, 3, 1, 2] * 3]))[:12]
    with open_video(path, backend=backend) as video:
        assert video.times == pytest.approx(np.array(ticks) / 25, abs=0.001)


def test_times_begin_at_the_first_frame(tmp_path):
    path = encode(tmp_path / "a.mp4", frames=9)
    with open_video(path) as video:
        assert video.times == pytest.approx(np.arange(9) / 25)
    if ODD.is_dir():
        with open_video(ODD / "torchcodec__test_non_zero_start.mp4") as video:
            assert video.times == pytest.approx(np.arange(12) / 30, abs=1e-4)  # stored from 8.333 s on


@pytest.mark.parametrize("name", ["a.avi", "a.ts"])
def test_times_that_can_not_be_trusted_go_by_the_mean_rate(name, tmp_path):
    with open_video(encode(tmp_path / name, "mpeg4", frames=9, bf=2)) as video:
        assert video.times == pytest.approx(np.arange(9) / (video.fps or 25))


def test_uniform_segments_are_equally_long_in_time(tmp_path):
    with open_video(encode(tmp_path / "a.mp4", frames=60, steps=BURST)) as video:
        by_number = indices(video, ClipSpec("uniform", 8))
        by_time = indices(video, UNIFORM)
        assert (video.times[by_number] < 1.2).sum() == 4  # the first four of eight frames
        assert (video.times[by_time] < 1.2).sum() == 0  # the middle of the first eighth is at 1.85 s
        # the frame that is shown in the middle of each eighth, whose last frame lasts 29.04 / 59 s as all do on average
        duration = video.times[-1] * 60 / 59
        for i, frame in enumerate(by_time[0]):
            middle = (i + 0.5) * duration / 8
            shown = max(k for k in range(60) if video.times[k] <= middle)
            assert abs(frame - shown) <= 1
        assert abs(np.diff(video.times[by_time[0]]) - duration / 8).max() < 24 / 25 + duration / 60


@pytest.mark.parametrize("spec", [UNIFORM, ClipSpec("uniform", 5, by_time=True)])
@pytest.mark.parametrize("fps", [10, 24 / 1.001, 25, 30, 60])
def test_a_constant_rate_gives_the_same_frames_by_time_and_by_number(spec, fps):
    chance = np.random.default_rng(0)
    for num_frames in (1, 2, 3, 8, 100, 301):
        exact = np.arange(num_frames) / fps
        for times in (exact, np.round(exact, 3), exact + chance.uniform(0, 0.45, num_frames) / fps):
            video = Timed(times)
            for num_clips in (1, 2, 10):
                assert (indices(video, spec, num_clips) == sample_test_clips(num_frames, spec, num_clips)).all()


@pytest.mark.skipif(not FIGHTS.is_dir(), reason="the collection of fights is not here")
def test_real_videos_with_a_constant_rate():
    for path in sorted(FIGHTS.glob("*/*.*"))[:12]:
        with open_video(path) as video:
            assert (indices(video, UNIFORM, 10) == sample_test_clips(video.num_frames, UNIFORM, 10)).all()


@pytest.mark.parametrize(
    ("rate", "fps", "interval"),
    [(30, 30, 8), (60, 30, 16), (15, 30, 4), (25, 12.5, 16), (50, 30, 50 * 8 / 30), (25, 30, 25 * 8 / 30)],
)
def test_dense_clips_at_a_frame_rate(rate, fps, interval):
    """Frames nearest to t0 + i * 8 / fps: at 60 frames per second and clip.fps 30, every 16th."""
    video = constant(400, rate)
    spec = ClipSpec("dense", 8, 8, fps=fps)
    for num_clips in (1, 3, 10):
        clips = indices(video, spec, num_clips)
        assert clips[0, 0] >= 0 and clips[-1, -1] < 400
        assert abs(clips - clips[:, :1] - interval * np.arange(8)).max() <= 1  # of t0 and of each frame, half a frame
    if interval == int(interval):
        assert (np.diff(clips) == interval).all()
    if interval == int(interval) and rate >= fps:
        assert (clips == sample_test_clips(400, ClipSpec("dense", 8, int(interval)), 10)).all()


def test_dense_clips_at_a_frame_rate_from_a_variable_one(tmp_path):
    with open_video(encode(tmp_path / "a.mp4", frames=120, steps=(1, 1, 1, 4))) as video:
        places = find_places(video, ClipSpec("dense", 8, 2, fps=5), Limits())  # a frame every 0.4 seconds
        assert places.step * places.spec.frame_interval == pytest.approx(0.4)
        assert places.count * places.step == pytest.approx(8.4, abs=0.1)
        for clip in sample_test_clips(places.count, places.spec, 5):
            for place, frame in zip(clip, places.frames(clip), strict=True):
                away = abs(video.times - place * places.step)
                assert away[frame] < away.min() + 0.001


def test_training_at_a_lower_frame_rate_starts_at_any_frame():
    places = find_places(constant(70, 60), ClipSpec("dense", 4, 8, fps=30), Limits())
    generator = torch.Generator().manual_seed(0)
    clips = [places.frames(sample_train_clip(places.count, places.spec, generator)) for _ in range(200)]
    assert {int(clip[0]) for clip in clips} == set(range(70 - 64 + 1))
    assert (np.diff(clips) == 16).all()


def test_short_videos_at_a_frame_rate_are_looped():
    video = constant(20, 10)  # 2 seconds
    spec = ClipSpec("dense", 8, 8, fps=20)  # 3.2 seconds
    assert indices(video, spec).tolist() == [[(4 * i) % 20 for i in range(8)]]


def test_a_folder_of_frames_has_no_rate():
    video = constant(100, 25)
    video.fps = 0.0
    assert (indices(video, ClipSpec("dense", 8, 8, fps=5)) == sample_test_clips(100, DENSE, 1)).all()


def test_a_video_that_lasts_for_years_is_refused():
    with pytest.raises(VideoError, match=r"data\.max_frames"):
        find_places(Timed([0, 1e9]), ClipSpec("dense", 8, 8, fps=30), Limits())


def test_predict_reads_the_places(tmp_path):
    path = encode(tmp_path / "a.mp4", frames=60, steps=BURST)
    spec = InputSpec(size=32, short_side=32)

    def read(clip: ClipSpec) -> torch.Tensor:
        (clips,) = ClipReader(clip, spec, Views(1, 1), options=VideoOptions()).read(str(path))
        return clips.clips

    with open_video(path) as video:
        same = indices(video, UNIFORM)[0] == indices(video, ClipSpec("uniform", 8))[0]
    by_time, by_number = read(UNIFORM), read(ClipSpec("uniform", 8))
    assert [torch.equal(a, b) for a, b in zip(by_time[0], by_number[0], strict=True)] == same.tolist()
    assert not same.all()


def test_a_slow_clip_of_a_fast_video():
    places = find_places(constant(4000, 1000), ClipSpec("dense", 2, 100, fps=100), Limits())
    assert places.frames(sample_test_clips(places.count, places.spec, 1)).tolist() == [[1000, 2000]]


@pytest.mark.parametrize("fps", [-1, float("nan"), 1e9])
def test_frame_rates_that_are_none(fps):
    with pytest.raises(SmallBigError, match=r"clip\.fps"):
        ClipSpec("dense", 8, 8, fps=fps)


def test_what_says_nothing_of_time_counts_frames():
    """Model directories and recipes of version 0.1.0 give the same numbers; the recipe for one's own videos goes by time."""
    config = {"network": {"name": "smallbig_r23", "num_classes": 1}, "classes": ["a"], "clip": {"sampling": "uniform"}}
    assert ModelConfig.from_json(json.dumps(config)).clip == ClipSpec("uniform", fps=0.0, by_time=False)
    assert load_recipe("ssv2_smallbig_8f").clip == ClipSpec("uniform", 8, by_time=False)
    assert load_recipe("small").clip == UNIFORM


TICKS = {
    "a jump": [1] * 20 + [3000] + [1] * 19,
    "a jump at the end": [1] * 38 + [10**5],
    "a jump at the start": [10**5] + [1] * 38,
    "a single frame": [],
    "two frames": [1],
}


@pytest.mark.parametrize("spec", [UNIFORM, ClipSpec("dense", 4, 2, fps=5)], ids=["uniform", "dense"])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
@pytest.mark.parametrize("ticks", TICKS.values(), ids=TICKS)
def test_odd_times(ticks, container, spec, tmp_path):
    path = encode(tmp_path / f"a.{container}", frames=len(ticks) + 1, steps=ticks or (1,))
    starts = np.array([0, *accumulate(ticks)]) / 25
    with open_video(path) as video:
        assert video.times == pytest.approx(starts, abs=0.001)
        for num_clips in (1, 10):
            clips = indices(video, spec, num_clips)
            assert ((clips >= 0) & (clips < video.num_frames)).all()
        places = find_places(video, spec, Limits())
    seconds = places.start + np.arange(places.count) * places.step
    wanted = [int(np.flatnonzero(starts <= s + 0.001)[-1]) for s in seconds]  # the frame that is shown then
    if spec == UNIFORM and len(ticks) > 1:
        assert (places.frames(np.arange(places.count)) == wanted).all()


def restamp(path: Path, change: Callable[[int], int]) -> list[int]:
    """Gives the frame that is shown after x milliseconds of a Matroska file the time change(x); returns the times as stored."""
    with av.open(str(path)) as container:
        times = [packet.pts for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    blocks = re.finditer(rb"\x81(..)[\x00\x80](?:\x00\x00[\x00-\x09]|\xff\xd8)", data, re.DOTALL)  # track 1, time, flags, frame
    place = 0
    for time in times:
        place = next(m.start(1) for m in blocks if m.start() >= place and m[1] == time.to_bytes(2, "big"))
        data[place : place + 2] = change(time).to_bytes(2, "big")
    path.write_bytes(data)
    return [change(time) for time in times]


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t**2 // 40,
        lambda t: 440 - t,
        lambda t: t if t != 320 else 50,
        lambda t: t if t != 200 else 450,
        lambda t: t // 80,
        lambda t: 280,
    ],
    ids=["later and later", "backwards", "one goes back", "one comes late", "pairs", "all the same"],
)
@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("mjpeg", {"strict": "unofficial"}),
        ("mpeg4", {"g": 1}),
        ("mpeg4", {"g": 4, "bf": 2}),
        ("libx264", {"g": 12, "bf": 0}),
        ("libx264", {"g": 6, "bf": 3}),
    ],
    ids=["mjpeg", "mpeg4", "mpeg4 B", "h264", "h264 B"],
)
def test_times_that_repeat_or_go_backwards(codec, options, change, tmp_path):
    """Frames are numbered as a decoder returns them, and their times ascend; where times repeat, they are not trusted."""
    path = encode(tmp_path / "a.mkv", codec, frames=12, streams=((16, 16),), **options)
    stamps = restamp(path, change)
    whole = decode_all(path)
    with open_video(path) as video:
        assert video.num_frames == 12
        times, clips = video.times, indices(video, UNIFORM, 10)
        assert all(torch.equal(video.frames([i])[0], whole[i]) for i in range(12))
    assert times[0] == 0 and (np.diff(times) > 0).all()
    if len(set(stamps)) < 12:
        assert (clips == sample_test_clips(12, UNIFORM, 10)).all()
    elif options.get("bf") or stamps == sorted(stamps):
        assert times == pytest.approx((np.array(sorted(stamps)) - min(stamps)) / 1000)
    if not options.get("bf"):
        with open_video(path) as video:
            assert torch.equal(video.frames(range(12)), torch.stack(whole))
            assert all(torch.equal(video.frames([i])[0], whole[i]) for i in (8, 2, 5, 11, 0))


def test_times_as_far_apart_as_a_file_can_say():
    numbering = Numbering(2, 2, [-(2**62), 2**62 + 2**61], None, [], True, False)
    assert numbering.seconds(Fraction(1, 2**20)) == pytest.approx([0, 2.5 * 2**42])
