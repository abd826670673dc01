"""The one way to open a video: a file (by PyAV, or torchcodec where it is installed) or a folder of frames."""

from __future__ import annotations

import os

from smallbignet.data.containers import open_stream, pixel_ratio, stores_times
from smallbignet.data.frames import FrameFolder, Video
from smallbignet.data.limits import Limits
from smallbignet.data.pyav_video import PyAVVideo
from smallbignet.data.torchcodec_video import TorchCodecVideo, is_torchcodec_available
from smallbignet.errors import SmallBigError, VideoError


def open_video(
    path: str | os.PathLike[str],
    backend: str = "auto",
    filename_tmpl: str = "",
    threads: int = 1,
    limits: Limits = Limits(),
    square_pixels: bool = True,
) -> Video:
    """Opens a video file, or a folder of frames.

    Args:
        path: a video file, or a folder with the frames of one video as images.
        backend: what decodes a file: "pyav" (the same as "auto") or "torchcodec", which is installed separately. torchcodec
            gives wrong numbers to the frames of AVI and MPEG files: it decodes MP4, MOV, Matroska and WebM, PyAV the others.
        filename_tmpl: name of a folder's frames, such as "img_{:05d}.jpg"; found out where it is empty (see `FrameFolder`).
        threads: threads that decode a file. One is best where many processes read.
        limits: the largest video that is read.
        square_pixels: show frames as they are meant to be seen where the pixels of a file are not square; PyAV does that.

    Raises:
        VideoError: the video is missing or empty, of a kind that is not read (see `CONTAINERS`), has no pictures, exceeds the
            limits, or nothing of it can be decoded.
        SmallBigError: there is no such backend, or torchcodec doesn't work here.
    """
    path = os.fspath(path)
    if backend not in ("auto", "pyav", "torchcodec"):
        raise SmallBigError("the backend is one of auto, pyav, torchcodec", backend)
    if os.path.isdir(path):
        return FrameFolder(path, filename_tmpl, limits)
    if not os.path.isfile(path):  # also keeps out pipes and addresses, which could wait forever
        raise VideoError("there is no such file", path)
    if os.path.getsize(path) == 0:
        raise VideoError("the file is empty", path)
    if backend == "torchcodec":
        if not is_torchcodec_available():
            what = "torchcodec doesn't work here: it needs `pip install torchcodec` and FFmpeg's shared libraries on the system"
            raise SmallBigError(f"{what} (Debian, Ubuntu: apt-get install ffmpeg)", backend)
        container, stream = open_stream(path, limits)
        with container:
            suits_torchcodec = stores_times(container) and not (square_pixels and pixel_ratio(stream) != 1)
        if suits_torchcodec:
            return TorchCodecVideo(path, threads, limits)
    return PyAVVideo(path, threads, limits, square_pixels)
