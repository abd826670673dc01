"""What a video is, namely frames by number, and its simplest kind: a folder with one image per frame."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from smallbignet.data.images import open_image, upright_rgb, upright_size
from smallbignet.data.limits import Limits
from smallbignet.errors import SmallBigError, VideoError

# The usual names of the frames of a video, in the order in which a folder is searched for them.
TEMPLATES = [
    f"{prefix}{{:0{digits}d}}.{suffix}"
    for suffix in ("jpg", "png")
    for prefix in ("img_", "", "frame_", "image_", "frame")
    for digits in (5, 6, 4, 8, 10)
]


@dataclass(frozen=True)
class Unreadable:
    """A video that can't be read, and why."""

    path: str
    reason: str


class Video(ABC):
    """A video whose frames are read by number. Close it, or use it in a `with` statement.

    Attributes:
        path: the file or folder.
        num_frames: number of frames that can be asked for.
        claimed_frames: number of frames by the file's own header, 0 if it has none; above `num_frames` if its end is missing.
        fps: mean frames per second, 0.0 if unknown.
        width, height: size in pixels of the upright frames.
    """

    path: str
    num_frames: int
    claimed_frames: int
    fps: float
    width: int
    height: int

    @property
    def times(self) -> np.ndarray:
        """When each frame is shown, in seconds from the first: (num_frames,) float64, ascending.

        These are the file's own time stamps where they can be trusted (MP4, MOV, Matroska, WebM). In other files, frames follow
        at the mean rate, and where that is unknown, as in a folder of frames, at 25 per second.
        """
        return np.arange(self.num_frames) / (self.fps or 25.0)

    def frames(self, indices: Sequence[int]) -> Tensor:
        """Reads frames by number, in the order asked; a number may be asked for more than once.

        Returns:
            uint8 RGB frames (T, 3, H, W), upright, T = len(indices). In memory, the colours of a pixel lie side by side.

        Raises:
            IndexError: a number is negative, or not below `num_frames`.
            VideoError: one of these frames is damaged or missing.
        """
        wanted = np.array([int(i) for i in indices])
        frames = self.each(wanted)
        # As decoders write them: resizing is twice as fast on that layout, and the networks run on it.
        out = torch.empty(len(wanted), self.height, self.width, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
        for number, frame in frames:
            for slot in np.flatnonzero(wanted == number):
                out[slot] = frame
        return out

    def each(self, indices: Iterable[int]) -> Iterator[tuple[int, Tensor]]:
        """Reads frames one at a time, in the order of their numbers, each once; yields its number and uint8 (3, H, W).

        Raises:
            IndexError, VideoError: as `frames` does.
        """
        wanted = sorted({int(i) for i in indices})
        for i in wanted:
            if not 0 <= i < self.num_frames:
                raise IndexError(f"no frame {i} in the {self.num_frames} of {self.path}")
        return zip(wanted, self._read(wanted), strict=True)

    def whole_frames(self) -> int:
        """Reads every frame once and counts those without damage."""
        whole = 0
        for i in range(self.num_frames):
            with suppress(VideoError):
                whole += len(list(self._read([i])))
        return whole

    @abstractmethod
    def _read(self, wanted: Sequence[int]) -> Iterator[Tensor]:
        """Reads upright frames, uint8 (3, H, W), whose numbers ascend; raises VideoError."""

    def close(self) -> None:  # noqa: B027 (a folder has nothing to close)
        """Closes the file."""

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_template(filename_tmpl: str) -> str:
    """The template itself, if it is one.

    Raises:
        SmallBigError: it has no place for the frame's number, or several.
    """
    if not re.fullmatch(r"[^{}]*\{(:\d*d?)?\}[^{}]*", filename_tmpl):
        raise SmallBigError("a frame's name has its number in it, such as img_{:05d}.jpg", f"filename_tmpl {filename_tmpl}")
    return filename_tmpl


class FrameFolder(Video):
    """A folder with one image per frame, numbered from 0 or 1 without a gap. Images with other names are ignored.

    Args:
        filename_tmpl: name of a frame, such as "img_{:05d}.jpg"; where it is empty, the first of `TEMPLATES` that is there.
    """

    def __init__(self, path: str, filename_tmpl: str = "", limits: Limits = Limits()):
        self.path = path
        self.fps = 0.0
        self._limits = limits
        names = set(os.listdir(path))
        self._template, self._first = self._find_frames(names, [check_template(filename_tmpl)] if filename_tmpl else TEMPLATES)
        self.num_frames = 0
        while self._name(self.num_frames) in names:
            self.num_frames += 1
            limits.check_frames(self.num_frames, path)
        prefix, suffix = map(re.escape, re.split(r"\{.*?\}", self._template))
        self.claimed_frames = len(list(filter(re.compile(rf"{prefix}\d+{suffix}").fullmatch, names)))
        with self._open(0) as image:
            self.width, self.height = upright_size(image)

    def _find_frames(self, names: set[str], templates: Sequence[str]) -> tuple[str, int]:
        for template in templates:
            for first in (0, 1):
                if template.format(first) in names:
                    return template, first
        others = ", 00001.jpg or the like; data.filename_tmpl names other frames" if len(templates) > 1 else ""
        raise VideoError(f"the folder has no {templates[0].format(1)}{others}", self.path)

    def _name(self, index: int) -> str:
        return self._template.format(self._first + index)

    def _read(self, wanted: Sequence[int]) -> Iterator[Tensor]:
        return map(self._rgb, wanted)

    def _rgb(self, index: int) -> Tensor:
        with self._open(index) as image:
            rgb = upright_rgb(image)
        if rgb.shape != (self.height, self.width, 3):
            raise VideoError(f"frame {self._name(index)} has another size than the first", self.path)
        return torch.from_numpy(rgb).permute(2, 0, 1)

    def _open(self, index: int) -> AbstractContextManager[Image.Image]:
        return open_image(os.path.join(self.path, self._name(index)), self._limits)
