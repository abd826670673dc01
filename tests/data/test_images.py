"""That frames in image files are seen as they are meant to be, in every pixel format."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from smallbignet.data.video import open_video
from smallbignet.errors import VideoError

ORIENTATION = 0x0112


def read(folder, **options) -> np.ndarray:
    """The only frame of a folder, (H, W, 3)."""
    with open_video(folder, filename_tmpl=f"{{:d}}{next(folder.iterdir()).suffix}", **options) as video:
        frame = video.frames([0])[0].permute(1, 2, 0).numpy()
        assert frame.shape == (video.height, video.width, 3)
    return frame


def corners() -> Image.Image:
    """24x16 pixels: black, but for a white, a red and a green corner."""
    image = Image.new("RGB", (24, 16))
    image.paste("white", (0, 0, 8, 8))
    image.paste("red", (16, 0, 24, 8))
    image.paste("lime", (0, 8, 8, 16))
    return image


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation, suffix, tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {".jpg": {"quality": 95, "subsampling": 0}, ".webp": {"lossless": True}}.get(suffix, {})
    corners().save(tmp_path / f"1{suffix}", exif=exif, **options)
    # the value of the tag says which side of the picture the first row and the first column are (EXIF 2.3, 4.6.4)
    rows_first = {1: "", 2: "m", 3: "mf", 4: "f", 5: "t", 6: "ft", 7: "mft", 8: "mt"}[orientation]
    expected = np.array(corners())
    for step in rows_first:
        expected = {"m": expected[:, ::-1], "f": expected[::-1], "t": expected.swapaxes(0, 1)}[step]
    frame = read(tmp_path)
    assert frame.shape == expected.shape
    assert np.abs(frame[2::4, 2::4].astype(int) - expected[2::4, 2::4]).max() < 12  # JPEG


@pytest.mark.parametrize(
    ("name", "image", "colour"),
    [
        ("1.png", Image.new("1", (8, 6), 1), (255, 255, 255)),
        ("1.png", Image.new("L", (8, 6), 100), (100, 100, 100)),
        ("1.png", Image.fromarray(np.full((6, 8), 100 * 256 + 37, np.uint16)), (100, 100, 100)),
        ("1.png", Image.fromarray(np.full((6, 8), 0xFFFF, np.uint16)), (255, 255, 255)),
        ("1.tiff", Image.fromarray(np.full((6, 8), 100 * 256, np.uint16)), (100, 100, 100)),
        ("1.pgm", Image.fromarray(np.full((6, 8), 100 * 256, np.uint16)), (100, 100, 100)),
        ("1.png", Image.new("P", (8, 6), 7), None),  # in the palette below
        ("1.gif", Image.new("P", (8, 6), 7), None),
        ("1.bmp", Image.new("P", (8, 6), 7), None),
        ("1.png", Image.new("LA", (8, 6), (100, 255)), (100, 100, 100)),
        ("1.png", Image.new("LA", (8, 6), (100, 0)), (255, 255, 255)),  # transparent: white
        ("1.png", Image.new("RGBA", (8, 6), (100, 50, 0, 255)), (100, 50, 0)),
        ("1.png", Image.new("RGBA", (8, 6), (100, 50, 0, 0)), (255, 255, 255)),
        ("1.png", Image.new("RGBA", (8, 6), (100, 50, 0, 51)), (224, 214, 204)),  # a fifth of it, four fifths of white
        ("1.webp", Image.new("RGBA", (8, 6), (100, 50, 0, 0)), (255, 255, 255)),
        ("1.tiff", Image.new("CMYK", (8, 6), (255, 0, 255, 51)), (0, 204, 0)),
        ("1.jpg", Image.new("CMYK", (8, 6), (255, 0, 255, 51)), (0, 204, 0)),
        ("1.jpg", Image.new("YCbCr", (8, 6), (76, 85, 255)), (254, 0, 0)),
        ("1.bmp", Image.new("RGB", (8, 6), (100, 50, 0)), (100, 50, 0)),
        ("1.ppm", Image.new("RGB", (8, 6), (100, 50, 0)), (100, 50, 0)),
        ("1.jp2", Image.new("RGB", (8, 6), (100, 50, 0)), (100, 50, 0)),
    ],
)
def test_pixel_formats(name, image, colour, tmp_path):
    if image.mode == "P":
        image.putpalette([value for i in range(256) for value in (i, 255 - i, 30)])
        colour = (7, 248, 30)
    image.save(tmp_path / name)
    assert np.abs(read(tmp_path)[3, 4].astype(int) - colour).max() <= 3  # JPEG


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_colour_that_means_transparent(mode, tmp_path):
    image = Image.new(mode, (8, 6), 0 if mode != "RGB" else (9, 9, 9))
    image.paste(200 if mode != "RGB" else (200, 200, 200), (4, 0, 8, 6))
    if mode == "P":
        image.putpalette([9, 9, 9] * 256)
    image.save(tmp_path / "1.png", transparency=0 if mode != "RGB" else (9, 9, 9))
    left, right = read(tmp_path)[3, [1, 6]].tolist()
    assert left == [255, 255, 255]
    assert right == [9, 9, 9] if mode == "P" else [200, 200, 200]


@pytest.mark.parametrize("values", [np.full((6, 8), 0.5, np.float32), np.full((6, 8), 70_000, np.int32)])
def test_numbers_of_an_unknown_range_are_refused(values, tmp_path):
    Image.fromarray(values).save(tmp_path / "1.tiff")
    with pytest.raises(VideoError, match=r"1\.tiff"):
        read(tmp_path)


def test_an_orientation_that_is_none_changes_nothing(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 9
    corners().save(tmp_path / "1.png", exif=exif)
    assert np.array_equal(read(tmp_path), np.array(ImageOps.exif_transpose(corners())))


def test_a_picture_that_is_a_program_is_not_run(tmp_path):
    (tmp_path / "img_00001.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n%%EndComments\nshowpage\n")
    with pytest.raises(VideoError, match="not a readable image"):
        open_video(tmp_path)
