"""How `smallbig prepare` encodes one video: a shorter side and dense key frames, so that a few frames of it are read fast."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import av
import torch
from av.video.reformatter import VideoReformatter

from smallbignet.data.frames import Video
from smallbignet.data.integrity import VideoReport, judge
from smallbignet.data.options import VideoOptions
from smallbignet.data.pyav_video import PyAVVideo, upright
from smallbignet.data.sampling import ClipSpec, sample_test_clips
from smallbignet.errors import VideoError, WorkError
from smallbignet.utils.checks import Range, check_fields
from smallbignet.utils.files import fresh_name

# Milliseconds, 1/90000 s, and frames at 24, 25, 30, 24/1.001, 30/1.001 ... a second are whole numbers of it.
TIME_BASE = Fraction(1, 360000)

# FFmpeg's flags: bicubic, full chroma in and out, accurate rounding (without it, all colours get one or two of 255 darker).
SCALER = 0x4 | 0x2000 | 0x4000 | 0x40000

ShortSide = Annotated[int, Range(ge=2, le=8192)]
Gop = Annotated[int, Range(ge=1, le=10_000)]
Crf = Annotated[int, Range(ge=0, le=51)]


@dataclass(frozen=True)
class Encoding:
    """How videos are encoded.

    Attributes:
        short_side: pixels of the shorter side; smaller videos keep their size.
        gop: frames from one key frame to the next, at most.
        crf: x264's constant rate factor, 0 to 51; more is smaller and worse.
    """

    short_side: ShortSide
    gop: Gop
    crf: Crf

    def __post_init__(self) -> None:
        check_fields(self, "")

    def size(self, video: Video) -> tuple[int, int]:
        """Width and height of the encoded video: even, as 4:2:0 needs them."""
        scale = min(1.0, self.short_side / min(video.width, video.height))
        width, height = (max(2, 2 * round(side * scale / 2)) for side in (video.width, video.height))
        return width, height

    def options(self) -> dict[str, str]:
        """Options of x264.

        Its preset "veryfast" takes a third of the time of the default and no more space. B-frames delay what a decoder
        returns: with them, reading gains less (8 frames of short 256p clips: 1.5 times as fast, not 2.2). With a macroblock
        tree or several threads, the same frames can give other bytes. Without a constant frame rate, frames that are shown for
        a short time, as some files wrongly say, look worse.
        """
        speed = {"preset": "veryfast", "bf": "0", "mbtree": "0", "threads": "1", "x264-params": "force-cfr=1"}
        return speed | {"g": str(self.gop), "crf": str(self.crf)}


@dataclass(frozen=True)
class Prepared:
    """What became of one video.

    Attributes:
        report: how much of it can be read, as `check` says it.
        seconds: that encoding took; 0.0 if it was encoded before.
        before, after: seconds to read 8 frames spread over it, as it was and as it is; 0.0 if not measured.
    """

    report: VideoReport
    seconds: float = 0.0
    before: float = 0.0
    after: float = 0.0


def prepare_video(
    source: str, target: str, encoding: Encoding, timed: bool, options: VideoOptions = VideoOptions()
) -> Prepared | WorkError:
    """Encodes a video into a file that is there as a whole or not at all; one that is there already is kept.

    Args:
        timed: whether to measure how fast the video is read before and after.
        options: how the video is opened.

    Returns:
        What became of it; or, as this runs in processes of its own, the error that ends all work.
    """
    fresh = fresh_name(Path(target))
    seconds = 0.0
    try:
        if not os.path.exists(target):
            start = time.perf_counter()
            report = _encode_whole(source, fresh, encoding, options)
            if report.status != "ok":
                return Prepared(report)
            os.replace(fresh, target)
            seconds = time.perf_counter() - start
        prepared = Prepared(VideoReport(source, "ok", "", 0), seconds)
        if timed and os.path.exists(source):
            prepared = replace(prepared, before=reading_time(source, options), after=reading_time(target, options))
        return prepared
    except VideoError as error:
        return Prepared(VideoReport(source, "unreadable", error.what, 0))
    except OSError as error:  # also PyAV's, where the disk is full
        return WorkError(f"can't write this file: {error.strerror}", target)
    except av.FFmpegError as error:
        return Prepared(VideoReport(source, "unreadable", f"it can't be encoded: {error.strerror}", 0))
    finally:
        if fresh.exists():
            fresh.unlink()


def _encode_whole(source: str, file: Path, encoding: Encoding, options: VideoOptions) -> VideoReport:
    """Encodes a video, and checks that the file has as many frames as were read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with options.open(source) as video:
        report = judge(video, encode(video, file, encoding))
    if report.status == "ok":
        with options.open(str(file)) as written:
            if written.num_frames != report.num_frames:
                raise VideoError(f"encoded, it has {written.num_frames} frames, not {report.num_frames}", source)
    return report


def encode(video: Video, file: Path, encoding: Encoding) -> int:
    """Writes all undamaged frames of a video, one at a time, upright, as H.264 in MP4; returns their number.

    Raises:
        VideoError: `video` is a folder of frames.
        av.FFmpegError, OSError: it can't be written.
    """
    if not isinstance(video, PyAVVideo):
        raise VideoError("it is a folder of frames, not a video file", video.path)
    width, height = encoding.size(video)
    rate = Fraction(min(max(video.fps or 25, 1), 60)).limit_denominator(1001)
    pictures = _Pictures(width, height)
    whole, pts = 0, -1
    with av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=encoding.options())
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = TIME_BASE
        for seconds, frame in video.stored_frames():
            picture = pictures.make(frame)
            pts = max(pts + 1, round(seconds / TIME_BASE))
            picture.pts, picture.time_base = pts, TIME_BASE
            container.mux(stream.encode(picture))
            whole += 1
        container.mux(stream.encode())
    return whole


class _Pictures:
    """Makes pictures to encode, upright and of one size, of frames as they are stored."""

    def __init__(self, width: int, height: int):
        self.width = width
        self.height = height
        self.shrink = VideoReformatter()
        self.to_yuv = VideoReformatter()

    def make(self, frame: av.VideoFrame) -> av.VideoFrame:
        is_on_side = upright(torch.empty(frame.height, frame.width), frame).shape[0] != frame.height
        width, height = (self.height, self.width) if is_on_side else (self.width, self.height)
        settings = {"interpolation": SCALER, "threads": 1}
        stored = self.shrink.reformat(frame, format="rgb24", width=width, height=height, **settings).to_ndarray()
        turned = upright(torch.from_numpy(stored).permute(2, 0, 1), frame).permute(1, 2, 0).contiguous()
        rgb = av.VideoFrame.from_ndarray(turned.numpy(), format="rgb24")
        return self.to_yuv.reformat(rgb, format="yuv420p", **settings)


def reading_time(path: str, options: VideoOptions) -> float:
    """Seconds to open a video and read 8 frames spread over it, the best of three tries."""
    tries = []
    for _ in range(3):
        start = time.perf_counter()
        with options.open(path) as video:
            video.frames(sample_test_clips(video.num_frames, ClipSpec("uniform", 8), 1)[0])
        tries.append(time.perf_counter() - start)
    return min(tries)
