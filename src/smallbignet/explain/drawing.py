"""The pictures of an explanation, drawn on the frames that the network was shown, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw

from smallbignet.data.synthetic import write_video
from smallbignet.explain.big_views import BigView, Place
from smallbignet.explain.clip import SampledClip, shown_frames
from smallbignet.explain.contributions import Contributions
from smallbignet.explain.feature_maps import robust_scale
from smallbignet.explain.proof import Deletion

COLUMNS = 8  # frames beside each other
LEAST_COLUMNS = 5  # so that a picture's title fits
SIGNED, POSITIVE = "bwr", "inferno"  # colours: red above zero and blue below; dark to bright
DPI = 100
OVERLAY_SIDE = 224  # pixels; the frames of smaller clips are enlarged in the video
SIDE = 1.4  # inches of a frame
YELLOW, RED = "#ffd60a", "#ff3b30"  # as in Fig. 1b: the tube, and where the maximum came from


def enlarge(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a map (H', W') in the size of a frame: each position is a square of one value."""
    image = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))[None, None]
    return F.interpolate(image, (height, width), mode="nearest")[0, 0].numpy()


def tint(frame: np.ndarray, values: np.ndarray, scale: float) -> np.ndarray:
    """Return a grey frame in red where contributions are above zero and in blue where they are below.

    Args:
        frame: uint8 (H, W, 3).
        values: contributions (H', W').
        scale: the contribution that has the full colour.

    Returns:
        uint8 (H, W, 3).
    """
    shares = np.clip(enlarge(values, *frame.shape[:2]) / scale, -1, 1)
    colours = colormaps[SIGNED]((shares + 1) / 2)[..., :3] * 255
    grey = frame.mean(2, keepdims=True).repeat(3, 2)
    alpha = 0.65 * np.abs(shares)[..., None]
    return (grey * (1 - alpha) + colours * alpha).round().astype(np.uint8)


def heat(frame: np.ndarray, values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return a frame under the colours of a map (H', W') whose scale goes from `low` to `high`: uint8 (H, W, 3)."""
    shares = np.clip((enlarge(values, *frame.shape[:2]) - low) / (high - low), 0, 1)
    colours = colormaps[POSITIVE](shares)[..., :3] * 255
    return (0.35 * frame + 0.65 * colours).round().astype(np.uint8)


def light(frame: np.ndarray, shares: np.ndarray, most: float) -> np.ndarray:
    """Return a frame that is dark but for positions of a map (H', W') with a large share: uint8 (H, W, 3)."""
    brightness = 0.25 + 0.75 * enlarge(shares, *frame.shape[:2])[..., None] / max(most, 1e-9)
    return (frame * brightness).round().astype(np.uint8)


def full_colour(found: Contributions) -> float:
    """Return the largest contribution of any place in any pathway, which has the full colour in all pictures."""
    return max(float(np.abs(part).max()) for part in (found.map, *found.parts.values())) or 1.0


def draw_contributions(clip: SampledClip, found: Contributions, title: str, file: Path) -> None:
    """Draw the frames, and below each its contributions; of a network with two pathways also those of each."""
    scale = full_colour(found)
    rows = {"all": found.map} | (found.parts if len(found.parts) > 1 else {})
    shown = shown_frames(len(clip.pixels), len(found.map))
    columns = min(COLUMNS, len(shown))
    bands = -(-len(shown) // columns)
    figure, grid = make_grid(bands * (1 + len(rows)), columns, title)
    for place, index in enumerate(shown):
        band, column = divmod(place, columns)
        frame = clip.pixels[index].numpy()
        top = band * (1 + len(rows))
        show_frame(grid[top, column], frame, clip.caption(index))
        for offset, values in enumerate(rows.values(), 1):
            show_frame(grid[top + offset, column], tint(frame, values[place], scale))
    for band in range(bands):
        for offset, name in enumerate(rows, 1):
            grid[band * (1 + len(rows)) + offset, 0].set_ylabel("contributions" if len(rows) == 1 else name, fontsize=8)
    add_bar(figure, grid, -scale, scale, SIGNED, "contribution of one place to the logit")
    figure.savefig(file, dpi=DPI)


def draw_feature_maps(clip: SampledClip, groups: Mapping[str, Mapping[str, np.ndarray]], title: str, file: Path) -> None:
    """Draw rows of maps under eight frames of the clip (Fig. 3). The rows of one group share a scale.

    Args:
        groups: for each group, by its name, its rows (T', H', W') by their names. T' may differ between rows.
    """
    columns = shown_frames(len(clip.pixels), min(COLUMNS, len(clip.pixels)))
    figure, grid = make_grid(1 + sum(map(len, groups.values())), len(columns), title)
    for axes, index in zip(grid[0], columns, strict=True):
        show_frame(axes, clip.pixels[index].numpy(), clip.caption(index))
    top = 1
    for group, rows in groups.items():
        low, high = robust_scale(rows.values())
        for row, (name, maps) in enumerate(rows.items(), top):
            for axes, index in zip(grid[row], columns, strict=True):
                values = maps[index * len(maps) // len(clip.pixels)]
                show_frame(axes, heat(clip.pixels[index].numpy(), values, low, high))
            grid[row, 0].set_ylabel(literal(name), fontsize=8)
        add_bar(figure, grid[top : top + len(rows)], low, high, POSITIVE, group)
        top += len(rows)
    figure.savefig(file, dpi=DPI)


def draw_big_view(clip: SampledClip, view: BigView, place: Place, title: str, file: Path) -> None:
    """Draw the tube of a place (Fig. 1b): brightness is the share of channels whose maximum came from a position.

    The place is a yellow box, its tube a dashed one, and the position that most of the maxima came from a red one. Views of all
    frames also have a histogram over the frames.
    """
    shares = view.shares(place)
    (start, stop), rows, columns = view.tube(place)
    shown = list(range(start, stop))
    if len(shown) > COLUMNS:
        shown = sorted({*np.argsort(-view.by_frame(place), kind="stable")[:COLUMNS].tolist()})
    has_histogram = view.kind != "local"
    figure, grid = make_grid(1, max(len(shown), LEAST_COLUMNS), title, extra=1.6 if has_histogram else 0.0)
    best = np.unravel_index(int(shares.argmax()), shares.shape)
    for axes in grid[0, len(shown) :]:
        axes.set_axis_off()
    for axes, t in zip(grid[0], shown, strict=False):
        index = shown_frames(len(clip.pixels), view.size[0])[t]
        frame = clip.pixels[index].numpy()
        show_frame(axes, light(frame, shares[t], float(shares.max())), clip.caption(index))
        if view.kind != "clip":
            box(axes, frame, view, rows, columns, YELLOW, "--")
            if t == place[0]:
                box(axes, frame, view, (place[1], place[1] + 1), (place[2], place[2] + 1), YELLOW)
        if t == best[0] and shares.any():
            box(axes, frame, view, (int(best[1]), int(best[1]) + 1), (int(best[2]), int(best[2]) + 1), RED)
    if has_histogram:
        height, left, right = figure.get_figheight(), grid[0, 0].get_position().x0, grid[0, -1].get_position().x1
        below = figure.add_axes((left, 0.5 / height, right - left, 0.9 / height))
        draw_frame_shares(below, clip, view, place)
    figure.savefig(file, dpi=DPI)


def draw_frame_shares(axes: Axes, clip: SampledClip, view: BigView, place: Place) -> None:
    """Draw how many of a place's maxima came from each frame; the key frames are red."""
    shares = view.by_frame(place)
    keys = view.key_frames(place)
    names = [str(clip.frames[index]) for index in shown_frames(len(clip.pixels), len(shares))]
    axes.bar(range(len(shares)), 100 * shares, color=[RED if t in keys else "tab:grey" for t in range(len(shares))])
    axes.set_xticks(range(len(shares)), names, fontsize=8)
    axes.set_xlabel("frame", fontsize=8)
    axes.set_ylabel("% of channels", fontsize=8)


def box(axes: Axes, frame: np.ndarray, view: BigView, rows: tuple, columns: tuple, colour: str, style: str = "-") -> None:
    """Draw the outline of some rows and columns of a layer's map."""
    height, width = frame.shape[0] / view.size[1], frame.shape[1] / view.size[2]
    corner = columns[0] * width - 0.5, rows[0] * height - 0.5
    extents = (columns[1] - columns[0]) * width, (rows[1] - rows[0]) * height
    axes.add_patch(Rectangle(corner, *extents, fill=False, edgecolor=colour, linestyle=style, linewidth=2, clip_on=False))


def draw_deletion(found: Deletion, what: str, file: Path) -> None:
    """Draw how the score falls while places are removed: the best first, and at random with the range of the orders."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    percent = 100 * found.removed
    axes.plot(percent, found.best, color="tab:red", marker="o", label="best places first")
    axes.plot(percent, found.random.mean(0), color="tab:grey", marker="o", label="random places first")
    axes.fill_between(percent, found.random.min(0), found.random.max(0), color="tab:grey", alpha=0.25, linewidth=0)
    axes.set(xlabel="places replaced by the mean colour (%)", ylabel=what, ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=DPI)


def make_grid(rows: int, columns: int, title: str, extra: float = 0.0) -> tuple[Figure, np.ndarray]:
    """Return a figure with a title and a grid of axes (rows, columns), and `extra` inches of free space below them."""
    width, height = SIDE * columns + 2, (SIDE + 0.25) * rows + 0.5 + extra
    figure = Figure(figsize=(width, height))
    figure.text(0.5, 1 - 0.1 / height, literal(title), ha="center", va="top", fontsize=10)
    grid = figure.subplots(rows, columns, squeeze=False)
    edges = {"left": 0.7 / width, "right": 1 - 1.2 / width, "top": 1 - 0.6 / height, "bottom": (extra + 0.1) / height}
    figure.subplots_adjust(**edges, wspace=0.05, hspace=0.12)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure, grid


def add_bar(figure: Figure, rows: np.ndarray, low: float, high: float, colours: str, label: str) -> None:
    """Draw the bar of a scale of colours to the right of some rows of a grid."""
    top, bottom = rows[0, -1].get_position(), rows[-1, -1].get_position()
    width = figure.get_figwidth()
    axes = figure.add_axes((top.x1 + 0.12 / width, bottom.y0, 0.14 / width, top.y1 - bottom.y0))
    bar = figure.colorbar(ScalarMappable(Normalize(low, high), colours), cax=axes)
    bar.set_label(literal(label), fontsize=8)
    axes.tick_params(labelsize=8)


def show_frame(axes: Axes, frame: np.ndarray, caption: str = "") -> None:
    axes.imshow(frame, interpolation="nearest")
    if caption:
        axes.set_title(caption, fontsize=8, pad=3)


def literal(text: str) -> str:
    """Return a text in which matplotlib finds no formulas, which it would between dollar signs."""
    return text.replace("$", r"\$")


def draw_overlay(clip: SampledClip, found: Contributions, file: Path) -> None:
    """Write a video (H.264 in MP4) of the clip's frames beside their contributions, four a second.

    A clip's frames may lie seconds or milliseconds apart, so their own times are written on them.
    """
    scale = full_colour(found)
    size = clip.pixels.shape[1]
    factor = -(-OVERLAY_SIDE // size)
    pictures = []
    for index, frame in enumerate(clip.pixels.numpy()):
        values = found.map[index * len(found.map) // len(clip.pixels)]
        both = np.concatenate([frame, tint(frame, values, scale)], axis=1).repeat(factor, 0).repeat(factor, 1)
        image = Image.fromarray(both)
        pen = ImageDraw.Draw(image)
        pen.text((6, 6), clip.caption(index), fill="white", stroke_fill="black", stroke_width=2)
        pictures.append(np.asarray(image)[: both.shape[0] // 2 * 2, : both.shape[1] // 2 * 2])
    write_video(file, np.stack(pictures), fps=4)
