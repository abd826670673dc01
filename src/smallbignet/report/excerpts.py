"""Short excerpts of videos that browsers play."""

from __future__ import annotations

import base64
import io

import av
import numpy as np
import torch
import torch.nn.functional as F

from smallbignet.data.options import VideoOptions
from smallbignet.errors import SmallBigError

FRAMES = 24  # spread over the video, so that all of it can be seen
RATE = 8  # frames per second
SIDE = 160  # of the longer side, pixels


def excerpt(path: str, options: VideoOptions = VideoOptions()) -> str:
    """Return a video of 3 seconds that runs through another one, as a data: address; empty if it can't be read.

    It is H.264 in MP4, 4:2:0, which all browsers play.
    """
    try:
        with options.open(path) as video:
            count = min(FRAMES, video.num_frames)
            frames = video.frames(np.linspace(0, video.num_frames - 1, count).round().astype(int).tolist())
    except SmallBigError:
        return ""
    return "data:video/mp4;base64," + base64.b64encode(_encode(_smaller(frames))).decode()


def _smaller(frames: torch.Tensor) -> torch.Tensor:
    """Return frames (T, H, W, 3) uint8 of frames (T, 3, H, W): `SIDE` pixels on the longer side, and even sides for 4:2:0."""
    height, width = frames.shape[2:]
    scale = SIDE / max(height, width)
    size = [max(2, 2 * round(side * scale / 2)) for side in (height, width)]
    images = F.interpolate(frames.float(), size, mode="bilinear", antialias=True)
    return images.round().clamp(0, 255).byte().permute(0, 2, 3, 1)


def _encode(frames: torch.Tensor) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "28", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for frame in frames.numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()
