"""How much of a video is read at most: a file of a few kilobytes must not fill the memory or keep a computer busy for hours."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated

from smallbignet.errors import VideoError
from smallbignet.utils.checks import Range, check_fields


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest video that is read.

    Attributes:
        max_pixels: most pixels in a frame, width times height. The default is 8192 x 8192.
        max_frames: most frames in a video. The default is a little more than a day at 30 frames per second.
        max_seconds: most seconds that decoding may take each time that frames are read, plus one for each megabyte of the file.
    """

    max_pixels: Annotated[int, Range(ge=1, le=10**12)] = 8192 * 8192
    max_frames: Annotated[int, Range(ge=1, le=10**12)] = 3_000_000
    max_seconds: Annotated[float, Range(gt=0, le=10**9)] = 600.0

    def __post_init__(self) -> None:
        check_fields(self, "data")

    def check_size(self, width: int, height: int, path: str) -> None:
        """Raises a VideoError for frames that are too large."""
        if width * height > self.max_pixels:
            raise self.too_large(f"{width}x{height} pixels", path)

    def too_large(self, size: str, path: str) -> VideoError:
        """The error about frames of a size, in words."""
        return VideoError(f"its frames are too large, {size}: data.max_pixels is {self.max_pixels}", path)

    def check_frames(self, num_frames: int, path: str) -> None:
        """Raises a VideoError for too many frames."""
        if num_frames > self.max_frames:
            raise VideoError(f"it has too many frames: data.max_frames is {self.max_frames}", path)

    def check_seconds(self, seconds: float, path: str) -> None:
        """Raises a VideoError for decoding that has taken too long."""
        if seconds > self.seconds(path):
            raise VideoError(f"decoding it takes too long: data.max_seconds is {self.max_seconds:g}", path)

    def seconds(self, path: str) -> float:
        """Seconds that decoding a file may take."""
        megabytes = os.path.getsize(path) / 1e6 if os.path.exists(path) else 0.0
        return self.max_seconds + megabytes
