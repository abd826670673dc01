"""What a video is, namely frames by number, and its simplest kind: a folder with one image per frame."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from smallbignet.data.images import open_image, upright_rgb, upright_size
from smallbignet.data.limits import Limits
from smallbignet.errors import SmallBigError, VideoError

USUAL_FRAME = re.compile(
    r"(?P<series>(?:(?:img|image|frame)[-_ ]?)?)(?P<number>[0-9]+)\.(?:bmp|jp2|jpe?g|png|ppm|tiff?|webp)", re.IGNORECASE
)
USUAL_RATE = 25.0  # frames per second, where a video has no rate


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
        return np.arange(self.num_frames) / (self.fps or USUAL_RATE)

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

    def missing_frames(self) -> str:
        """Which of the promised frames are missing, in words; empty where that is unknown, or none is."""
        return ""

    @abstractmethod
    def _read(self, wanted: Sequence[int]) -> Iterator[Tensor]:
        """Reads upright frames, uint8 (3, H, W), whose numbers ascend; raises VideoError."""

    def close(self) -> None:  # noqa: B027 (a folder has nothing to close)
        """Closes the file."""

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def frame_pattern(filename_tmpl: str = "") -> re.Pattern[str]:
    """What the name of a frame looks like, a usual one or one of a template. Its groups are `series` and `number`.

    Capitals don't count, so that img_{:05d}.jpg is also IMG_00001.JPG.

    Raises:
        SmallBigError: the template has no place for the frame's number, or several.
    """
    if not filename_tmpl:
        return USUAL_FRAME
    match = re.fullmatch(r"([^{}]*)\{(?::([0-9]*)d?)?\}([^{}]*)", filename_tmpl)
    if not match:
        raise SmallBigError("a frame's name has its number in it, such as img_{:05d}.jpg", f"filename_tmpl {filename_tmpl}")
    before, digits, after = match.groups()
    width = max(1, int(digits or 1))
    number = rf"(?P<number>[0-9]{{{width}}}|[1-9][0-9]{{{width},}})"  # 00001 and 100000 for five digits
    return re.compile(f"(?P<series>{re.escape(before)}){number}{re.escape(after)}", re.IGNORECASE)


class FrameFolder(Video):
    """A folder with one image per frame, in the order of the numbers in their names. Images with other names are ignored.

    The numbers may begin anywhere, and have zeros before them or not. Where they are not evenly spaced, frames are missing.

    Args:
        filename_tmpl: name of a frame, such as "img_{:05d}.jpg"; where it is empty, a usual one such as frame_1.png.
    """

    def __init__(self, path: str, filename_tmpl: str = "", limits: Limits = Limits()):
        self.path = path
        self.fps = 0.0
        self._limits = limits
        names = self._find_frames(filename_tmpl)
        limits.check_frames(len(names), path)
        numbers = sorted(names)
        self._names = [names[number] for number in numbers]
        self.num_frames = len(numbers)
        self._gaps = _find_gaps(numbers)
        self.claimed_frames = self.num_frames + sum(last - first + 1 for first, last in self._gaps)
        with self._open(0) as image:
            self.width, self.height = upright_size(image)

    def missing_frames(self) -> str:
        gaps = [str(first) if first == last else f"{first} to {last}" for first, last in self._gaps[:5]]
        more = ", ..." if len(self._gaps) > 5 else ""
        return f"there is no image {', '.join(gaps)}{more}" if gaps else ""

    def _find_frames(self, filename_tmpl: str) -> dict[int, str]:
        """The names of the frames by their numbers."""
        pattern = frame_pattern(filename_tmpl)
        matches = [match for name in sorted(os.listdir(self.path)) if (match := pattern.fullmatch(name))]
        if not matches:
            usual = "such as img_00001.jpg or 7.png; data.filename_tmpl gives other names"
            wanted = f"named {filename_tmpl}" if filename_tmpl else usual
            raise VideoError(f"the folder has no frames {wanted}", self.path)
        names: dict[int, str] = {}
        first = matches[0]
        for match in matches:
            is_of_series = match["series"].lower() == first["series"].lower()
            same = names.setdefault(int(match["number"]), match[0]) if is_of_series else first[0]
            if same != match[0]:
                what = f"the folder has two numberings of frames, such as {same} and {match[0]}"
                raise VideoError(f"{what}; data.filename_tmpl, such as img_{{:05d}}.jpg, says which is read", self.path)
        return names

    def _read(self, wanted: Sequence[int]) -> Iterator[Tensor]:
        return map(self._rgb, wanted)

    def _rgb(self, index: int) -> Tensor:
        with self._open(index) as image:
            rgb = upright_rgb(image)
        if rgb.shape != (self.height, self.width, 3):
            raise VideoError(f"frame {self._names[index]} has another size than the first", self.path)
        return torch.from_numpy(rgb).permute(2, 0, 1)

    def _open(self, index: int) -> AbstractContextManager[Image.Image]:
        return open_image(os.path.join(self.path, self._names[index]), self._limits)


def _find_gaps(numbers: list[int]) -> list[tuple[int, int]]:
    """The first and the last number of each gap. Three or more numbers that are evenly spaced have none."""
    steps = {after - before for before, after in pairwise(numbers)}
    if len(steps) == 1 and len(numbers) > 2:
        return []
    return [(before + 1, after - 1) for before, after in pairwise(numbers) if after > before + 1]
