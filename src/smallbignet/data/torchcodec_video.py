"""Frames out of a video file by torchcodec, which is installed separately, as an extra."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from functools import cache

import av
import numpy as np
from av.video.frame import VideoFrame
from torch import Tensor

from smallbignet.data.containers import open_stream
from smallbignet.data.frames import Video
from smallbignet.data.limits import Limits
from smallbignet.data.numbering import read_numbering
from smallbignet.errors import VideoError


class TorchCodecVideo(Video):
    """A video file decoded by torchcodec. Frames are turned upright, but not mirrored where the file asks for it."""

    def __init__(self, path: str, threads: int = 1, limits: Limits = Limits()):
        from torchcodec.decoders import VideoDecoder

        self.path = path
        self._limits = limits
        try:
            self._decoder = VideoDecoder(os.path.abspath(path), num_ffmpeg_threads=threads)  # a bare name may look like a URL
            _, self.height, self.width = self._decoder.get_frame_at(0).data.shape
        except (RuntimeError, ValueError, IndexError):
            raise VideoError("torchcodec can't read any video from it", path) from None
        self.num_frames = len(self._decoder)
        limits.check_frames(self.num_frames, path)
        self.claimed_frames = 0
        self.fps = float(self._decoder.metadata.average_fps or 0)

    @property
    def times(self) -> np.ndarray:
        container, stream = open_stream(self.path, self._limits)  # torchcodec tells a frame's time when it decodes it
        with container:
            numbering = read_numbering(self.path, container, stream, self._limits)
            is_known = numbering.number is not None and numbering.num_frames == self.num_frames
            return numbering.seconds(stream.time_base) if is_known and stream.time_base else super().times

    def _read(self, wanted: Sequence[int]) -> Iterator[Tensor]:
        return map(self._rgb, wanted)

    def _rgb(self, index: int) -> Tensor:
        try:
            return self._decoder.get_frame_at(index).data
        except (RuntimeError, IndexError):
            raise VideoError(f"frame {index} of {self.num_frames} can't be decoded", self.path) from None


@cache
def is_torchcodec_available() -> bool:
    """Whether torchcodec decodes a tiny video here: without FFmpeg's shared libraries, it can be imported and still fails."""
    try:
        from torchcodec.decoders import VideoDecoder

        VideoDecoder(_tiny_video()).get_frame_at(0)
    except Exception:  # its kind depends on what is missing
        return False
    return True


def _tiny_video() -> bytes:
    """An MP4 file of one black frame."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        frame = VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode()])
    return file.getvalue()
