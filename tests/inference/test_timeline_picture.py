"""The picture of a whole video."""

from __future__ import annotations

import numpy as np
from PIL import Image

from film import CLASSES, COLOURS, colour_classifier, write_film
from smallbignet import open_video
from smallbignet.data.sampling import ClipSpec
from smallbignet.inference.timeline import Rules, make_timelines
from smallbignet.inference.timeline_picture import draw_timeline, thumbnails


def test_the_strip_shows_the_film_in_its_time(tmp_path):
    path = write_film(tmp_path / "a.mp4", ["red"] * 30 + ["blue"] * 10, steps=[1] * 30 + [3] * 10)  # 1.2 seconds of each
    with open_video(path) as video:
        strip = thumbnails(video, 2.4)
    assert strip.shape == (12, 100, 100, 3)
    for picture, name in zip(strip, ["red"] * 6 + ["blue"] * 6, strict=True):
        assert np.abs(picture.astype(int) - COLOURS[name]).max() < 25


def test_a_damaged_frame_is_grey(tmp_path):
    for i in range(12):
        Image.new("RGB", (40, 32), COLOURS["red"]).save(tmp_path / f"{i}.png")
    (tmp_path / "5.png").write_bytes(b"no image")
    with open_video(tmp_path) as video:
        strip = thumbnails(video, 12 / 25)
    assert [tuple(picture[50, 50]) for picture in strip] == [COLOURS["grey" if i == 5 else "red"] for i in range(12)]


def test_a_picture_is_written(tmp_path):
    path = write_film(tmp_path / "a.mp4", ["red"] * 30 + ["grey"] * 30 + ["blue"] * 30)
    [timeline] = make_timelines(colour_classifier(ClipSpec("dense", 8, 1)), [path], Rules(threshold=2 / 3))
    draw_timeline(timeline, CLASSES, str(tmp_path / "new" / "a.png"))
    image = np.asarray(Image.open(tmp_path / "new" / "a.png").convert("RGB")).astype(int)
    assert image.shape[1] > 1000
    for name in ("red", "grey", "blue"):  # its frames are there
        assert (np.abs(image - COLOURS[name]).max(2) < 25).sum() > 5000
