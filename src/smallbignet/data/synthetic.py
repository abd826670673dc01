"""Rendered data sets, one for the demo and a harder one: short real video files whose class is a motion and nothing else.

A clip shows one textured shape, the subject, over a background. The shape has a few independent attributes. Each is either
constant, at a value drawn uniformly from its range, or moves through that range at an even pace, from a random point. In both
cases, its value in any one frame has the same uniform distribution, so no single frame tells the classes apart. Each motion is
as likely to run one way as the other, so the direction of time does not tell them apart either. Everything else in a clip is
drawn independently of its class.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np


class Attribute(NamedTuple):
    """The range of one attribute of a shape, and whether a motion that leaves it at one end continues at the other."""

    low: float
    high: float
    wraps: bool = False


# Lengths are fractions of the frame's side. Half of the largest size is less than the smallest x, so the shape is never cut.
ATTRIBUTES = {
    "x": Attribute(0.22, 0.78),
    "y": Attribute(0.22, 0.78),
    "size": Attribute(0.18, 0.44),
    "angle": Attribute(0.0, 2 * np.pi, wraps=True),
    "hue": Attribute(0.0, 1.0, wraps=True),
    "brightness": Attribute(0.7, 1.0),
}

# The attributes that move in each class.
CLASSES: dict[str, tuple[str, ...]] = {
    "still": (),
    "horizontal": ("x",),
    "vertical": ("y",),
    "turning": ("angle",),
    "growing": ("size",),
    "colour": ("hue",),
}


class Scene(NamedTuple):
    """The classes of a data set, and what its clips show besides the subject.

    Attributes:
        classes: for each name, the attributes of the subject that move.
        distractors: largest number of grey shapes behind the subject, which is never grey; each moves as in a random class.
        drift: how far the background moves to and fro, in each direction, as a fraction of the frame's side.
        noise: standard deviation of the noise of each pixel, whose values go to 255.
    """

    classes: Mapping[str, tuple[str, ...]]
    distractors: int = 0
    drift: float = 0.0
    noise: float = 0.0


DEMO = Scene(CLASSES)
# The demo's classes, and each motion combined with the next one: 10 classes.
MOTIONS = [name for name in CLASSES if CLASSES[name]]
HARD = Scene(
    classes=CLASSES | {"+".join(pair): sum((CLASSES[name] for name in pair), ()) for pair in pairwise(MOTIONS)},
    distractors=2,
    drift=0.25,
    noise=4,
)

# Cycles in a clip: one to two sweeps through a range that is swept to and fro, half a turn to a full turn of one that wraps.
CYCLES = (0.5, 1.0)


def draw_tracks(moving: tuple[str, ...], rng: np.random.Generator, num_frames: int = 32) -> dict[str, np.ndarray]:
    """The values of every attribute in each frame, (T,): those named in `moving` move, the others are constant."""
    if unknown := set(moving) - ATTRIBUTES.keys():
        raise ValueError(f"no such attribute: {', '.join(sorted(unknown))} (there are {', '.join(ATTRIBUTES)})")
    tracks = {}
    for name, (low, high, wraps) in ATTRIBUTES.items():
        # Also drawn for constant attributes, so that a generator gives the same shape and place whatever moves.
        phase = _draw_phase(rng, num_frames, name in moving)
        tracks[name] = low + (high - low) * (phase if wraps else _to_and_fro(phase))
    return tracks


def _draw_phase(rng: np.random.Generator, num_frames: int, moves: bool = True) -> np.ndarray:
    """The position in a cycle in each frame, 0 to 1, (T,)."""
    start, velocity = rng.uniform(), rng.uniform(*CYCLES) * rng.choice([-1, 1])
    return (start + velocity * np.linspace(0, 1, num_frames) * moves) % 1


def _to_and_fro(phase: np.ndarray) -> np.ndarray:
    return 1 - np.abs(2 * phase - 1)


def _box(u: np.ndarray, v: np.ndarray, left: float, right: float, top: float, bottom: float) -> np.ndarray:
    return np.maximum(np.maximum(left - u, u - right), np.maximum(top - v, v - bottom))


# Signed distance to the outline, negative inside, at points (u, v). Each shape nearly fills the unit disc, never leaves it, and
# looks different after a quarter turn: otherwise a turning clip that is sampled at the wrong rate would look still.
SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "bar": lambda u, v: _box(u, v, -0.93, 0.93, -0.35, 0.35),
    "cross": lambda u, v: np.minimum(_box(u, v, -0.22, 0.22, -0.6, 0.97), _box(u, v, -0.7, 0.7, -0.35, 0.1)),
    "l": lambda u, v: np.minimum(_box(u, v, -0.6, -0.15, -0.8, 0.8), _box(u, v, -0.6, 0.6, 0.35, 0.8)),
    "triangle": lambda u, v: np.maximum(v - 0.75, 0.94 * np.abs(u) - 0.34 * v - 0.34),
}


def _noise(cells: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise in 0..1, (H, W, 1): `cells` x `cells` random values, stretched bilinearly to the frame."""
    weights = np.maximum(0, 1 - np.abs(np.linspace(0, cells - 1, size)[:, None] - np.arange(cells)))
    return (weights @ rng.uniform(size=(cells, cells)) @ weights.T)[..., None]


def _rgb(hue: np.ndarray, value: np.ndarray, saturation: float) -> np.ndarray:
    """Hue and value in 0..1, (T,) -> red, green, blue in 0..255, (T, 3)."""
    sector = (np.array([5, 3, 1]) + 6 * hue[:, None]) % 6
    return 255 * value[:, None] * (1 - saturation * np.clip(np.minimum(sector, 4 - sector), 0, 1))


def render_clip(
    moving: tuple[str, ...], rng: np.random.Generator, num_frames: int = 32, size: int = 96, scene: Scene = DEMO
) -> np.ndarray:
    """Renders a clip, uint8 (T, H, W, 3) with H = W = `size` pixels, in which the attributes named in `moving` move."""
    tracks = draw_tracks(moving, rng, num_frames)
    shape = rng.choice(list(SHAPES))
    tint = rng.uniform(60, 160, size=3)
    margin = round(scene.drift * size)
    wide = size + margin
    background = tint * (0.5 * _noise(4, wide, rng) + 0.3 * _noise(12, wide, rng) + 0.2 * _noise(32, wide, rng))
    stripes = rng.uniform(6, 12)

    path = [(margin * _to_and_fro(_draw_phase(rng, num_frames))).round().astype(int) for _ in range(2)]
    frames = np.stack([background[top : top + size, left : left + size] for top, left in zip(*path, strict=True)])
    for _ in range(rng.integers(scene.distractors + 1)):
        motion = scene.classes[rng.choice(list(scene.classes))]
        _draw_shape(frames, draw_tracks(motion, rng, num_frames), rng.choice(list(SHAPES)), rng.uniform(6, 12), saturation=0)
    _draw_shape(frames, tracks, shape, stripes, saturation=0.85)
    if scene.noise:
        frames += rng.normal(0, scene.noise, frames.shape)
    return frames.clip(0, 255).astype(np.uint8)


def _draw_shape(frames: np.ndarray, tracks: dict[str, np.ndarray], shape: str, stripes: float, saturation: float) -> None:
    """Draws a shape with the values of its attributes over the frames, (T, H, W, 3) in 0..255, H = W."""
    num_frames, size = frames.shape[:2]
    # Only a square around the shape is computed, a fifth of the frame. At the frame's edge the square is moved, not the shape.
    x, y, diameter = (size * tracks[name][:, None, None] for name in ("x", "y", "size"))
    side = min(size, int(np.ceil(ATTRIBUTES["size"].high * size)) + 3)
    left, top = (np.clip((centre - side / 2).round().astype(int), 0, size - side) for centre in (x, y))
    columns, rows = left + np.arange(side), top + np.arange(side)[:, None]  # (T, 1, side), (T, side, 1)
    right, down = 2 * (columns + 0.5 - x) / diameter, 2 * (rows + 0.5 - y) / diameter  # in radii, from the centre
    cosine, sine = np.cos(tracks["angle"])[:, None, None], np.sin(tracks["angle"])[:, None, None]
    u, v = cosine * right + sine * down, cosine * down - sine * right  # (T, side, side), the shape's own axes

    coverage = np.clip(0.5 - SHAPES[shape](u, v) * diameter / 2, 0, 1)[..., None]  # one pixel of soft edge
    texture = 0.85 + 0.15 * np.sin(stripes * (u + 0.5 * v))[..., None]
    colour = _rgb(tracks["hue"], tracks["brightness"], saturation)[:, None, None] * texture
    square = np.arange(num_frames)[:, None, None], rows, columns
    frames[square] += coverage * (colour - frames[square])


def write_video(path: str | Path, frames: np.ndarray, fps: int = 16) -> None:
    """Encodes frames, uint8 (T, H, W, 3) with even H and W, as an MP4 file; the same frames give the same bytes."""
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    # Groups of 16 pictures, closed by default in both codecs, let readers seek. With several threads, the bytes would depend on
    # the machine; with x264's macroblock tree, on memory that it never wrote (seen with MALLOC_PERTURB_ set).
    options = {"preset": "veryfast", "crf": "18", "mbtree": "0", "g": "16", "threads": "1"}
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=Fraction(fps), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def make_dataset(
    root: str | Path,
    clips_per_class: Mapping[str, int],
    seed: int = 0,
    num_frames: int = 32,
    size: int = 96,
    fps: int = 16,
    progress: Callable[[int, int], object] = lambda done, total: None,
    scene: Scene = DEMO,
) -> Path:
    """Writes the data set as root/SPLIT/CLASS/0000.mp4, 0001.mp4, ...; other files in `root` stay as they are.

    Args:
        root: the folder; it is made where it is missing.
        clips_per_class: number of clips of each class by split, such as {"train": 80, "val": 20}.
        seed: a clip depends on this and on its own path, not on the number of other clips.
        num_frames: frames in a clip.
        size: height and width in pixels, even.
        fps: frames per second.
        progress: called after each clip with the number of clips that are done and the number of all clips.
        scene: the classes of the data set, and what its clips show.

    Returns:
        The root.
    """
    root = Path(root)
    clips = [
        (split, label, number) for split, count in clips_per_class.items() for label in scene.classes for number in range(count)
    ]

    for done, (split, label, number) in enumerate(clips, start=1):
        rng = np.random.default_rng([seed, *f"{split}/{label}/{number}".encode()])
        path = root / split / label / f"{number:04d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, render_clip(scene.classes[label], rng, num_frames, size, scene), fps)
        progress(done, len(clips))
    return root
