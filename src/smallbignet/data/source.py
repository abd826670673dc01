"""Where videos are and how they are opened."""

from __future__ import annotations

from dataclasses import dataclass

from smallbignet.data.frames import Video
from smallbignet.data.video import open_video


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How videos are opened.

    Attributes:
        filename_tmpl: name of the frames in a folder of frames, such as "img_{:05d}.jpg"; found out where it is empty.
        backend: what decodes video files: "auto" (PyAV), "pyav" or "torchcodec".
    """

    filename_tmpl: str = ""
    backend: str = "auto"

    def open(self, path: str) -> Video:
        """Opens a video; see `open_video` for the errors raised."""
        return open_video(path, self.backend, self.filename_tmpl)
