"""Videos re-encoded to a shorter side with dense key frames, so that a few frames of each are read fast."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import torch
from av.video.reformatter import VideoReformatter

from smallbignet.data.frames import Video
from smallbignet.data.integrity import VideoReport, judge
from smallbignet.data.sampling import ClipSpec, sample_test_clips
from smallbignet.data.video import PyAVVideo, conversion, open_video, upright
from smallbignet.errors import SmallBigError, VideoError, WorkError
from smallbignet.utils.files import fresh_name

TIME_BASE = Fraction(1, 360000)  # whole numbers of it: milliseconds, 1/90000 s, frames at 24, 25, 30, 24/1.001, 30/1.001 ...

# FFmpeg's bicubic, full chroma in and out, and accurate rounding, without which all colours come out one or two of 255 darker
SCALER = 0x4 | 0x2000 | 0x4000 | 0x40000


@dataclass(frozen=True)
class Encoding:
    """How videos are encoded.

    Attributes:
        short_side: pixels of the shorter side; smaller videos keep their size.
        gop: frames from one key frame to the next, at most.
        crf: x264's constant rate factor, 0 to 51; more is smaller and worse.
    """

    short_side: int
    gop: int
    crf: int

    def __post_init__(self):
        if self.short_side < 2 or self.gop < 1 or not 0 <= self.crf <= 51:
            raise SmallBigError("short_side is at least 2, gop at least 1, crf 0 to 51", f"{self}")


@dataclass(frozen=True)
class Prepared:
    """What became of one video: check's words on it, the seconds that this took, and, where it was asked for, the seconds
    that reading 8 frames spread over it takes before and after."""

    report: VideoReport
    seconds: float = 0.0
    before: float = 0.0
    after: float = 0.0


def prepare_video(source: str, target: str, encoding: Encoding, timed: bool) -> Prepared | WorkError:
    """Prepares one video where that was not done, and measures on demand how fast it is read before and after."""
    fresh, start, seconds = fresh_name(Path(target)), time.perf_counter(), 0.0
    try:
        if not os.path.exists(target):
            fresh.parent.mkdir(parents=True, exist_ok=True)
            with open_video(source) as video:
                report = judge(video, encode(video, fresh, encoding))
            if report.status != "ok":
                return Prepared(report)
            with open_video(fresh) as written:
                if written.num_frames != report.num_frames:
                    raise VideoError(f"encoded, it has {written.num_frames} frames, not {report.num_frames}", source)
            os.replace(fresh, target)
            seconds = time.perf_counter() - start
        times = (reading_time(source), reading_time(target)) if timed and os.path.exists(source) else (0.0, 0.0)
        return Prepared(VideoReport(source, "ok", "", 0), seconds, *times)
    except VideoError as error:
        return Prepared(VideoReport(source, "unreadable", error.what, 0))
    except OSError as error:  # a full disk, which PyAV tells as one, too
        return WorkError(f"can't write this file: {error.strerror}", target)
    except av.FFmpegError as error:
        return Prepared(VideoReport(source, "unreadable", f"it can't be encoded: {error.strerror}", 0))
    finally:
        if fresh.exists():
            fresh.unlink()


def encode(video: Video, file: Path, encoding: Encoding) -> int:
    """Writes all undamaged frames of a video, one at a time, upright, as H.264 in MP4; answers their number.

    x264's "veryfast" takes a third of the time of its default and no more space. No B-frames, which delay what a decoder
    answers: with them, reading gains less (8 frames of short 256p clips: 1.5 times as fast, not 2.2). No macroblock tree, nor
    threads, with which the same frames can give other bytes.

    Raises:
        VideoError: `video` is a folder of frames.
        av.FFmpegError, OSError: it can't be written.
    """
    if not isinstance(video, PyAVVideo):
        raise VideoError("it is a folder of frames, not a video file", video.path)
    scale = min(1.0, encoding.short_side / min(video.width, video.height))
    width, height = (max(2, 2 * round(side * scale / 2)) for side in (video.width, video.height))  # even, for 4:2:0
    options = {"preset": "veryfast", "bf": "0", "mbtree": "0", "g": f"{encoding.gop}", "crf": f"{encoding.crf}", "threads": "1"}
    options["x264-params"] = "force-cfr=1"  # else frames that are shown for a short time, as some files wrongly say, look worse
    rate = Fraction(min(max(video.fps or 25, 1), 60)).limit_denominator(1001)
    shrink, to_yuv, whole, pts = VideoReformatter(), VideoReformatter(), 0, -1
    with av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = TIME_BASE
        for seconds, frame in video.stored_frames():
            on_side = upright(torch.empty(frame.height, frame.width), frame).shape[0] != frame.height
            size = {"width": height, "height": width} if on_side else {"width": width, "height": height}
            stored = shrink.reformat(frame, format="rgb24", interpolation=SCALER, **size, **conversion()).to_ndarray()
            turned = upright(torch.from_numpy(stored).permute(2, 0, 1), frame).permute(1, 2, 0).contiguous()
            rgb = av.VideoFrame.from_ndarray(turned.numpy(), format="rgb24")
            picture = to_yuv.reformat(rgb, format="yuv420p", interpolation=SCALER, **conversion())
            pts = max(pts + 1, round(seconds / TIME_BASE))
            picture.pts, picture.time_base = pts, TIME_BASE
            container.mux(stream.encode(picture))
            whole += 1
        container.mux(stream.encode())
    return whole


def reading_time(path: str) -> float:
    """Seconds to open a video and read 8 frames spread over it, the best of three tries."""
    tries = []
    for _ in range(3):
        start = time.perf_counter()
        with open_video(path) as video:
            video.frames(sample_test_clips(video.num_frames, ClipSpec("uniform", 8), 1)[0])
        tries.append(time.perf_counter() - start)
    return min(tries)
