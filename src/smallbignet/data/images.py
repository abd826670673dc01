"""One image file as upright RGB, whatever its orientation and pixel format."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps

from smallbignet.data.limits import Limits
from smallbignet.errors import VideoError

# The formats that are read, by Pillow's names. Others run programs (EPS), or are no pictures of a video.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

_ORIENTATION = 0x0112  # the EXIF tag
_ON_THE_SIDE = (5, 6, 7, 8)  # its values for images with width and height exchanged
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


@contextmanager
def open_image(path: str, limits: Limits) -> Iterator[Image.Image]:
    """Opens an image; only its header is read.

    Raises:
        VideoError: the file, or what is read of it within the `with` statement, is no readable image; or it is too large.
    """
    folder, name = os.path.split(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            limits.check_size(image.width, image.height, path)
            yield image
    except Image.DecompressionBombError:
        raise VideoError(f"the frame {name} has more pixels than Pillow reads", folder) from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error):
        raise VideoError(f"the frame {name} is not a readable image", folder) from None


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of an image as it is meant to be seen."""
    if image.format == "TIFF":
        image.load()  # which turns it
    width, height = image.size
    return (height, width) if image.getexif().get(_ORIENTATION) in _ON_THE_SIDE else (width, height)


def upright_rgb(image: Image.Image) -> np.ndarray:
    """The pixels of an image as it is meant to be seen.

    It is turned and mirrored as its EXIF orientation says. Of 16 bits, the upper 8 are taken. What is transparent shows white.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: the pixels are numbers of an unknown range.
    """
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        return _from_16_bits(np.asarray(image))
    if image.mode == "F":
        raise ValueError("fractions may be of any range")
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _from_16_bits(grey: np.ndarray) -> np.ndarray:
    if grey.min() < 0 or grey.max() > 0xFFFF:
        raise ValueError("numbers of 32 bits may be of any range")
    return np.repeat((grey >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
