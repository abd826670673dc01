"""How a user says where data is and how it is read: the same options for every verb, in recipes and on the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from smallbignet.data.frames import Video
from smallbignet.data.limits import Limits
from smallbignet.data.video import open_video
from smallbignet.utils.checks import NON_EMPTY, Must, Range

TEMPLATE = re.compile(r"([^{}]*\{(:[0-9]{0,2}d?)?\}[^{}]*)?")
FRAME_NAME = Must("a file name with one place for the frame's number, such as img_{:05d}.jpg", TEMPLATE.fullmatch)


@dataclass(frozen=True, kw_only=True)
class VideoOptions(Limits):
    """How videos are opened.

    Attributes:
        filename_tmpl: name of the frames in a folder of frames, such as f{:05d}.jpg; a number, alone or after img,
            image or frame, where it is empty.
        backend: what decodes video files: auto (PyAV), pyav or torchcodec.
        square_pixels: widen or narrow the frames of files whose pixels are not shown square; false reads them as stored.
    """

    filename_tmpl: Annotated[str, FRAME_NAME] = ""
    backend: Literal["auto", "pyav", "torchcodec"] = "auto"
    square_pixels: bool = True

    def open(self, path: str) -> Video:
        """Opens a video; see `open_video` for the errors raised."""
        return open_video(path, self.backend, self.filename_tmpl, limits=self, square_pixels=self.square_pixels)


@dataclass(frozen=True, kw_only=True)
class ServedVideos(VideoOptions):
    """How a server opens the videos of strangers: with lower limits, and by PyAV alone.

    Attributes:
        max_pixels: most pixels in a frame, width times height. The default is 4096 x 4096.
        max_frames: most frames in a video. The default is five and a half hours at 25 frames per second.
        max_seconds: most seconds that decoding may take each time that frames are read, plus one for each megabyte of the file.
    """

    max_pixels: Annotated[int, Range(ge=1, le=10**12)] = 4096 * 4096
    max_frames: Annotated[int, Range(ge=1, le=10**12)] = 500_000
    max_seconds: Annotated[float, Range(gt=0, le=10**9)] = 30.0
    backend: Literal["auto", "pyav"] = "auto"


@dataclass(frozen=True, kw_only=True)
class DataSource(VideoOptions):
    """How a data set is read.

    Attributes:
        root: folder that listed paths are relative to, or that holds the videos of a published data set; the list's own folder
            where it is empty.
        path_column: column of a .csv file with the paths.
        label_column: column of a .csv file with the labels: class names, or class indices if its name ends in _index.
        classes: file with one class name per line, in the order of the class indices; or a shipped list, kinetics400, ssv1 or
            ssv2.
    """

    root: str = ""
    path_column: Annotated[str, NON_EMPTY] = "path"
    label_column: Annotated[str, NON_EMPTY] = "label"
    classes: str = ""
