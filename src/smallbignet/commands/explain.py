"""`smallbig explain`: which places and frames made a network's answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from rich.table import Column, Table

from smallbignet.data.options import VideoOptions
from smallbignet.explain import explanation
from smallbignet.explain.big_views import Place
from smallbignet.explain.clip import read_clip
from smallbignet.explain.explanation import Explanation, Model
from smallbignet.explain.page import PAGE, write_explanation
from smallbignet.utils.checks import Folder, Must, checked
from smallbignet.utils.console import bar
from smallbignet.utils.machine import pick_device
from smallbignet.weights.load import load_config, load_model

PLACE = re.compile(r"([0-9]{1,6},[0-9]{1,6},[0-9]{1,6})?")
PlaceText = Annotated[str, Must("frame, row and column from 0, such as 3,2,4", PLACE.fullmatch)]


@dataclass(frozen=True)
class Explained:
    """An explanation, and the files that it was written to."""

    explanation: Explanation
    directory: str
    files: list[str]

    def report(self) -> dict[str, Any]:
        """The numbers, and the files, as plain data."""
        return self.explanation.report() | {"directory": self.directory, "files": self.files}


@checked
def explain(
    model: str,
    video: str,
    *,
    out: Folder,
    label: str = "",
    against: str = "",
    beside: str = "",
    at: PlaceText = "",
    source: VideoOptions = VideoOptions(),
    device: str = "",
) -> Explained:
    """Shows why a network gave a video its answer: a page, pictures, a video and the numbers.

    What is explained is one view, the middle clip and its centre crop, as `predict --views 1x1` scores it.

    Args:
        model: a model or run directory, a published network's name, or org/name on the Hugging Face hub.
        video: a video file, or a folder of frames.
        out: folder for index.html, contributions.npz, overlay.mp4 and the pictures.
        label: class to explain; the one with the best score if not given.
        against: another class; what is explained is then the difference of the two logits.
        beside: another model, whose feature maps are drawn below those of the first, on the same frames.
        at: place whose big views are shown: frame, row and column in the map of contributions, from 0, such as 3,2,4; the one
            that contributes most if not given.
        source: how the video is opened.
        device: cpu, cuda, ...; a GPU where there is one if not given.

    Raises:
        SmallBigError: no such model or class, a place outside of the map, or a video that can't be read.
        WorkError: the network returns values that are not numbers.
    """
    names = [model, beside] if beside else [model]
    models = [Model(Path(name).name, load_model(name, pick_device(device or None)), load_config(name)) for name in names]
    clip = read_clip(video, models[0].config, source)
    place = read_place(at) if at else None
    with bar("explain", explanation.PARTS, "parts") as progress:
        found = explanation.explain(models[0], clip, label, against, models[1] if beside else None, place, progress.advance)
    return Explained(found, out, write_explanation(found, Path(out)))


def read_place(text: str) -> Place:
    """Return the place in a text such as "3,2,4"."""
    frame, row, column = map(int, text.split(","))
    return frame, row, column


def show(result: Explained) -> Table:
    """A table of the numbers that say whether the pictures can be trusted."""
    report = result.report()
    found = result.explanation
    table = Table("", Column("value", overflow="fold"), caption=f"open {Path(result.directory) / PAGE}")
    table.add_row("explained", found.what)
    table.add_row("score", f"{report['score']:.3f}")
    total = f"{report['sum_of_map']:.4f} + {report['bias']:.4f} = {found.contributions.total:.4f}"
    table.add_row("sum of the map + bias", total)
    table.add_row("logit", f"{report['logit']:.4f} (relative error {report['relative_error']:.0e})")
    for view in report["big_views"]:
        frames = ", ".join(str(frame) for frame in view["key_frames"]) or "none"
        table.add_row(f"key frames of {view['layer']}", f"{frames} of the clip's {view['map_size'][0]}")
    similarity = ", ".join(f"{value:+.2f}" for value in found.similarity)
    table.add_row("rank correlation with random weights", f"{similarity} (near 0 is good)")
    best, random = found.deletion.areas
    verdict = "falls faster" if best < random else "does not fall faster on this clip"
    table.add_row("mean score, removing places", f"best first {best:.3f}, random first {random:.3f}: {verdict}")
    return table
