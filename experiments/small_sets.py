"""Makes three small sets of clips, to train on as a new user would: few clips per class, and more of each class to test on.

    python experiments/small_sets.py VIDEOS OUT

- OUT/rendered: the demo's six classes, 10 clips each.
- OUT/moved: real pictures, one frame of each of the videos below VIDEOS, that move in one of eight ways; 10 clips each.
- OUT/two: clips of one rendered shape with two motions at once, 120 in all; the label of a clip has both (`a;b`).

Each has `train` and `test`; a picture of `train` never occurs in `test`. Then, for example:

    smallbig train auto --data.train OUT/moved/train --run.dir runs/moved
    smallbig evaluate runs/moved OUT/moved/test
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from smallbignet.data.source import find_files
from smallbignet.data.synthetic import CLASSES, MOTIONS, make_dataset, render_clip, write_video
from smallbignet.data.video import open_video

CLIPS = {"train": 10, "test": 20}  # per class
PAIRS = {"train": 12, "test": 20}  # per pair of motions
NUM_FRAMES = 24
SIZE = (160, 120)  # pixels, width and height
VIEW = 0.6  # the part of a picture that a frame shows, at first

# What a frame shows of a picture: centre x and y, zoom, angle in degrees and brightness, for t from 0 to 1 and a strength
# around 1.
Camera = tuple[float, float, float, float, float]
WAYS: dict[str, Callable[[float, float], Camera]] = {
    "still": lambda t, s: (0.5, 0.5, 1, 0, 1),
    "pan": lambda t, s: (0.5 + 0.25 * s * (t - 0.5), 0.5, 1, 0, 1),
    "tilt": lambda t, s: (0.5, 0.5 + 0.25 * s * (t - 0.5), 1, 0, 1),
    "zoom": lambda t, s: (0.5, 0.5, 1 + 0.6 * s * t, 0, 1),
    "turn": lambda t, s: (0.5, 0.5, 1, 25 * s * (t - 0.5), 1),
    "shake": lambda t, s: (0.5 + 0.03 * s * np.sin(40 * t), 0.5 + 0.03 * s * np.cos(53 * t), 1, 0, 1),
    "swing": lambda t, s: (0.5, 0.5, 1, 8 * s * np.sin(12 * t), 1),
    "blink": lambda t, s: (0.5, 0.5, 1, 0, 1 - 0.5 * (np.sin(20 * s * t) > 0)),
}


def move(picture: Image.Image, way: str, rng: np.random.Generator) -> np.ndarray:
    """A clip of a picture that moves, uint8 (T, H, W, 3). Half of the clips of each way run backwards."""
    strength = rng.uniform(0.7, 1.3) * rng.choice([-1, 1] if way in ("pan", "tilt", "turn", "swing") else [1])
    start = rng.uniform(-0.05, 0.05, 2)
    times = np.linspace(0, 1, NUM_FRAMES)[:: rng.choice([-1, 1])]
    return np.stack([_show(picture, WAYS[way](t, strength), start) for t in times])


def _show(picture: Image.Image, camera: Camera, start: np.ndarray) -> np.ndarray:
    x, y, zoom, angle, brightness = camera
    width, height = (VIEW * side / zoom for side in picture.size)
    left, top = (x + start[0]) * picture.width - width / 2, (y + start[1]) * picture.height - height / 2
    turned = picture.rotate(angle, Image.Resampling.BICUBIC, center=(left + width / 2, top + height / 2))
    shown = turned.resize(SIZE, Image.Resampling.BICUBIC, box=_inside((left, top, left + width, top + height), picture))
    return (np.asarray(shown) * brightness).astype(np.uint8)


def _inside(box: tuple[float, float, float, float], picture: Image.Image) -> tuple[float, float, float, float]:
    return max(box[0], 0), max(box[1], 0), min(box[2], picture.width), min(box[3], picture.height)


def read_pictures(videos: str) -> Iterator[Image.Image]:
    """The middle frame of each video."""
    for path in find_files([videos]):
        with open_video(path) as video:
            middle = video.frames([video.num_frames // 2])[0]
            yield Image.fromarray(middle.permute(1, 2, 0).numpy())


def make_moved(videos: str, out: Path) -> None:
    """Every picture moves in one way only, and serves for one clip."""
    rng = np.random.default_rng(0)
    pictures = list(read_pictures(videos))
    order = iter(rng.permutation(len(pictures)).tolist())
    for part, count in CLIPS.items():
        for number in range(count):
            for way in WAYS:
                path = out / part / way / f"{number:02d}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_video(path, move(pictures[next(order)], way, rng))


def make_two(out: Path) -> None:
    """Clips with each pair of the demo's motions, and lists of them with the label `a;b`."""
    rng = np.random.default_rng(0)
    for part, count in PAIRS.items():
        (out / part).mkdir(parents=True, exist_ok=True)
        with open(out / f"{part}.csv", "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "label"])
            for one, other in combinations(MOTIONS, 2):
                for number in range(count):
                    path = f"{part}/{one}-{other}-{number:02d}.mp4"
                    write_video(out / path, render_clip(CLASSES[one] + CLASSES[other], rng))
                    rows.writerow([path, f"{one};{other}"])


if __name__ == "__main__":
    videos, out = sys.argv[1], Path(sys.argv[2])
    make_dataset(out / "rendered", CLIPS)
    make_moved(videos, out / "moved")
    make_two(out / "two")
