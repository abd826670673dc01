"""Draws the two pictures of the README, each for a light and a dark page.

    python experiments/draw_readme.py [--demo runs/demo] [--out docs/pictures]

`unit-light.svg` and `unit-dark.svg` show the small and the big view of a SmallBig unit. `demo-light.png` and `demo-dark.png`
show one validation clip of each of the demo's classes with the label and the score that the demo's model gives it. They need
a finished `smallbig demo`; without one they stay as they are.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle
from matplotlib.transforms import Affine2D
from PIL import Image

from smallbignet import VideoClassifier, open_video
from smallbignet.data.synthetic import CLASSES, render_clip

GRID = 7  # positions along a side of the drawn feature map


@dataclass(frozen=True)
class Colours:
    """What a picture is drawn with; `text` and `line` have to be read on a page of that kind."""

    text: str
    line: str
    box: str
    small: str
    big: str
    strongest: str


PAGES = {
    "light": Colours("#1f2328", "#57606a", "#f6f8fa", "#0969da", "#bf8700", "#cf222e"),
    "dark": Colours("#e6edf3", "#9198a1", "#161b22", "#4493f8", "#e3b341", "#ff6b61"),
}


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A transparent figure whose only axes count in tenths of an inch."""
    figure = Figure(figsize=(width / 10, height / 10))
    figure.patch.set_alpha(0)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return figure, axes


def draw_unit(colours: Colours) -> Figure:
    """Three frames with the two views of one position on the left, what the unit computes from them on the right."""
    figure, axes = new_axes(100, 36)
    frames = render_clip(("y",), np.random.default_rng(207), num_frames=9, size=112)[4::2]
    places = [Affine2D().scale(12, 21).skew_deg(0, 20).translate(1.5 + 13.2 * t, 6) for t in range(3)]
    row, column = 5, 2
    tube = [(t, i, j) for t in range(3) for i in range(row - 1, row + 2) for j in range(column - 1, column + 2)]
    strongest = max(tube, key=lambda cell: cell_saturation(frames[cell[0]])[cell[1:]])

    for t, (frame, place, name) in enumerate(zip(frames, places, ("frame $t-1$", "frame $t$", "frame $t+1$"), strict=True)):
        axes.imshow(frame, extent=(0, 1, 0, 1), transform=place + axes.transData, interpolation="none", aspect="auto")
        for line in range(1, GRID):
            for ends in ([(line / GRID, 0), (line / GRID, 1)], [(0, line / GRID), (1, line / GRID)]):
                axes.plot(*place.transform(ends).T, color="white", alpha=0.15, linewidth=0.5)
        draw_cells(axes, place, (row - 1, column - 1), 3, colours.big, fill=0.3)
        if t == 1:
            draw_cells(axes, place, (row, column), 1, colours.small, fill=0.75)
        if t == strongest[0]:
            draw_cells(axes, place, strongest[1:], 1, colours.strongest, fill=0.6)
        axes.text(7.5 + 13.2 * t, 4, name, ha="center", va="center", color=colours.text, fontsize=11)
    for i in (row - 1, row + 2):
        for j in (column - 1, column + 2):
            ends = [place.transform((j / GRID, 1 - i / GRID)) for place in (places[0], places[2])]
            axes.plot(*zip(*ends, strict=True), color=colours.big, linewidth=1, linestyle=(0, (4, 2)))

    draw_flow(axes, colours)
    axes.set(xlim=(0, 100), ylim=(0, 36))
    return figure


def cell_saturation(frame: np.ndarray) -> np.ndarray:
    """Mean saturation of each cell of the grid, (GRID, GRID): it stands for a feature that responds to the coloured shape."""
    side = frame.shape[0] // GRID
    saturation = np.ptp(frame.astype(float), axis=2)
    return saturation.reshape(GRID, side, GRID, side).mean(axis=(1, 3))


def draw_cells(axes: Axes, place: Affine2D, first: tuple[int, int], count: int, colour: str, fill: float) -> None:
    """A square of `count` x `count` cells of a frame, from the row and column `first`."""
    left, top, side = first[1] / GRID, 1 - first[0] / GRID, count / GRID
    corners = place.transform([(left, top), (left + side, top), (left + side, top - side), (left, top - side)])
    axes.add_patch(Polygon(corners, closed=True, facecolor=to_rgba(colour, fill), edgecolor=colour, linewidth=1.5))


def draw_flow(axes: Axes, colours: Colours) -> None:
    """Both views pass the same convolution, then each a normalisation of its own; the results are added."""
    small, big, middle = 26.5, 11.0, 18.75
    for height, title, colour in ((small, "small view", colours.small), (big, "big view", colours.big)):
        axes.text(49.5, height + 4.6, title, ha="center", va="bottom", color=colour, fontsize=13, weight="bold")
        draw_box(axes, (49.5, height), 8, "", colours, colour)
        draw_box(axes, (65, height), 12, "convolution", colours, colours.line)
        draw_box(axes, (81.5, height), 11, "batch norm", colours, colours.line)
        draw_arrow(axes, (54, height), (58.6, height), colours)
        draw_arrow(axes, (71.4, height), (75.6, height), colours)
    draw_icon(axes, (49.5, small), {(1, 1): colours.small})
    cells = {(i, j): colours.big for i in range(3) for j in range(3)}
    draw_icon(axes, (49.5, big), cells | {(1, 2): colours.strongest})
    for height, text in ((small - 5, "one position"), (big - 5, r"maximum of $3 \times 3 \times 3$")):
        axes.text(49.5, height, text, ha="center", va="center", color=colours.text, fontsize=11)
    axes.text(81.5, big - 5, "scale starts at 0", ha="center", va="center", color=colours.text, fontsize=11)
    axes.plot((65, 65), (big + 3.6, small - 3.6), color=colours.line, linewidth=1.1, linestyle=(0, (2, 2)))
    axes.text(66.2, middle, "same weights", ha="left", va="center", color=colours.text, fontsize=11)
    axes.add_patch(Circle((92.5, middle), 2, facecolor=colours.box, edgecolor=colours.line, linewidth=1.4))
    axes.text(92.5, middle, "+", ha="center", va="center", color=colours.text, fontsize=15)
    draw_arrow(axes, (87.4, small - 1), (91.6, middle + 2.2), colours)
    draw_arrow(axes, (87.4, big + 1), (91.6, middle - 2.2), colours)
    draw_arrow(axes, (94.8, middle), (99, middle), colours)


def draw_box(axes: Axes, centre: tuple[float, float], width: float, text: str, colours: Colours, edge: str) -> None:
    x, y = centre
    corner, shape = (x - width / 2, y - 3.4), "round,pad=0,rounding_size=0.9"
    axes.add_patch(FancyBboxPatch(corner, width, 6.8, boxstyle=shape, facecolor=colours.box, edgecolor=edge, linewidth=1.4))
    axes.text(x, y, text, ha="center", va="center", color=colours.text, fontsize=11)


def draw_icon(axes: Axes, centre: tuple[float, float], cells: dict[tuple[int, int], str]) -> None:
    """Cells of a 3 x 3 grid, by row and column, each in its colour."""
    for (i, j), colour in cells.items():
        corner = (centre[0] + 1.6 * (j - 1.5), centre[1] + 1.6 * (0.5 - i))
        axes.add_patch(Rectangle(corner, 1.6, 1.6, facecolor=to_rgba(colour, 0.6), edgecolor=colour, linewidth=1.1))


def draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colours: Colours) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=10, color=colours.line, linewidth=1.2))


def draw_demo(demo: Path, colours: Colours) -> Figure:
    """A validation clip of each class as a strip of frames, with the label and the score that the demo's model gives it."""
    classifier = VideoClassifier(demo)
    figure, axes = new_axes(98, 38)
    side, shown = 7, 6
    for number, label in enumerate(CLASSES):
        clip = min((demo / "clips" / "val" / label).iterdir())
        best = classifier.predict(clip, top=1)[0]
        left, bottom = 1 + 51 * (number % 2), 28 - 13 * (number // 2)
        with open_video(clip) as video:
            frames = video.frames(np.linspace(0, video.num_frames - 1, shown).astype(int).tolist())
        for i, frame in enumerate(frames.permute(0, 2, 3, 1).numpy()):
            x = left + (side + 0.6) * i
            axes.imshow(frame, extent=(x, x + side, bottom, bottom + side), interpolation="bicubic", aspect="auto")
        colour = colours.small if best.label == label else colours.strongest
        axes.text(left, bottom + 8.6, label, ha="left", va="center", color=colours.text, fontsize=13, weight="bold")
        answer = f"→ {best.label} {best.score:.2f}"
        axes.text(left + 6 * side + 3, bottom + 8.6, answer, ha="right", va="center", color=colour, fontsize=13)
    axes.set(xlim=(0, 98), ylim=(0, 38))
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"), help="the folder of a finished `smallbig demo`")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"), help="the folder of the pictures")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    matplotlib.rcParams["svg.hashsalt"] = "smallbignet"  # the same bytes every time
    for page, colours in PAGES.items():
        draw_unit(colours).savefig(args.out / f"unit-{page}.svg", metadata={"Date": None})
        if args.demo.is_dir():
            picture = args.out / f"demo-{page}.png"
            draw_demo(args.demo, colours).savefig(picture, dpi=130)
            Image.open(picture).quantize(256, dither=Image.Dither.NONE).save(picture, optimize=True)


if __name__ == "__main__":
    main()
