"""`smallbig demo`: makes video files, trains SmallBigNet and its 2-D parent on them in the same way, evaluates both, predicts.

The classes differ only in how things move, so a single frame does not tell them apart. A network that sees each frame by itself
cannot do much better than guessing; one with a big view can.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Group
from rich.table import Column, Table

from smallbignet.commands.evaluate import evaluate
from smallbignet.commands.train import train
from smallbignet.data.synthetic import CLASSES, make_dataset
from smallbignet.data.video import open_video
from smallbignet.errors import SmallBigError
from smallbignet.inference.classifier import Prediction, VideoClassifier
from smallbignet.training.settings import load_recipe
from smallbignet.utils.checks import Folder, Seed, checked
from smallbignet.utils.console import bar, console
from smallbignet.weights.load import load_model

NETWORKS = {"smallbig": "SmallBig-R23", "parent": "its 2-D parent"}
CHANGES = {"smallbig": [], "parent": ["--model.stages", "[2d, 2d, 2d, 2d]"]}  # in the recipe
MARK = ".smallbig-demo"  # a file in the folder of a demo; a demo deletes nothing in folders without it
CLIPS = {"train": 120, "val": 30}  # per class
FRAMES_SHOWN = 8  # of each clip in the picture


@dataclass(frozen=True)
class DemoReport:
    """The results of the demo.

    Attributes:
        top1: accuracy on the validation clips, 0 to 1, by network.
        chance: accuracy of guessing, 0 to 1.
        params: number of parameters, by network.
        predictions: those of SmallBigNet for one validation clip of each class, best first, by path.
        directory: run directory of SmallBigNet.
        picture: PNG file with the clips and their predictions.
        seconds: time that the demo took.
    """

    top1: dict[str, float]
    chance: float
    params: dict[str, int]
    predictions: dict[str, list[Prediction]]
    directory: str
    picture: str
    seconds: float


@checked
def demo(*, out: Folder = "runs/demo", seed: Seed = 0) -> DemoReport:
    """Makes video clips, trains SmallBigNet and its 2-D parent, evaluates both and predicts: under 4 minutes on 2 cores.

    Args:
        out: folder for the clips, the runs and the picture; an earlier demo in it is replaced.
        seed: seed of the clips and of the training.

    Raises:
        SmallBigError: `out` holds something other than an earlier demo.
    """
    started = time.monotonic()
    root = Path(out)
    make_empty(root)
    clips = render(root / "clips", seed)
    top1 = {}
    params = {}
    for key, name in NETWORKS.items():
        console.print(f"\n{name}, trained on {CLIPS['train']} clips of each of {len(CLASSES)} classes")
        directory = root if key == "smallbig" else root / key
        settings = ["--data.train", str(clips), "--run.dir", str(directory), "--run.seed", str(seed), *CHANGES[key]]
        train(load_recipe("demo", settings))
        top1[name] = evaluate(str(directory), str(clips), workers=0).accuracy()
        params[name] = sum(p.numel() for p in load_model(directory).parameters())
    classifier = VideoClassifier(root)
    videos = [min((clips / "val" / label).iterdir()) for label in CLASSES]
    predictions = {str(video): classifier.predict(video, top=3) for video in videos}
    chance = 1 / len(CLASSES)
    picture = root / "demo.png"
    draw(predictions, top1, chance, picture)
    return DemoReport(top1, chance, params, predictions, out, str(picture), time.monotonic() - started)


def make_empty(folder: Path) -> None:
    """Makes an empty folder for a demo; that of an earlier demo is deleted.

    Raises:
        SmallBigError: the folder holds something else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise SmallBigError("this folder holds something other than an earlier demo; choose another --out", folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARK).touch()


def render(folder: Path, seed: int) -> Path:
    """Renders the video clips, with `train` and `val` folders and in these a folder for each class; returns `folder`."""
    with bar("render", sum(CLIPS.values()) * len(CLASSES), "clips") as progress:

        def show_progress(done: int, total: int) -> None:
            progress.advance()

        return make_dataset(folder, CLIPS, seed, num_frames=16, size=48, fps=8, progress=show_progress)


def draw(predictions: dict[str, list[Prediction]], top1: dict[str, float], chance: float, file: Path) -> None:
    """Draws each clip as a row of frames with its prediction, and the networks' accuracies beside that of guessing."""
    figure = Figure(figsize=(11, 0.95 * len(predictions) + 0.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(3.2, 1))  # type: ignore[misc]
    grid = left.subplots(len(predictions), FRAMES_SHOWN, gridspec_kw={"wspace": 0, "hspace": 0.05})
    for row, (path, found) in zip(grid, predictions.items(), strict=True):
        draw_clip(row, path, found[0])
    draw_accuracies(right.subplots(), top1, chance)
    figure.savefig(file, dpi=110)


def draw_clip(row: Sequence[Axes], path: str, prediction: Prediction) -> None:
    """Draws frames of a clip, one in each of the axes, with its label and prediction; a wrong prediction is red."""
    with open_video(path) as video:
        frames = video.frames(np.linspace(0, video.num_frames - 1, len(row)).astype(int).tolist())
    for axes, frame in zip(row, frames, strict=True):
        axes.imshow(frame.permute(1, 2, 0).numpy())
        axes.set(xticks=[], yticks=[])
    label = Path(path).parent.name
    text = f"{label}\n→ {prediction.label} {prediction.score:.2f}"
    colour = "black" if prediction.label == label else "tab:red"
    row[0].set_ylabel(text, rotation=0, ha="right", va="center", color=colour)


def draw_accuracies(axes: Axes, top1: dict[str, float], chance: float) -> None:
    """Draws the top-1 of each network as a bar, and that of guessing as a line."""
    names = [name.replace(" 2-D", "\n2-D") for name in top1]
    bars = axes.bar(names, [100 * share for share in top1.values()], color=["tab:blue", "tab:grey"], width=0.6)
    axes.bar_label(bars, fmt="%.0f %%")
    axes.axhline(100 * chance, color="black", linestyle=":", label="guessing")
    axes.set(ylim=(0, 105), ylabel="top-1 (%)")
    axes.legend(loc="upper right")


def show(report: DemoReport) -> Group:
    """The accuracies and predictions for people, and what to do next."""
    table = Table("network", "parameters", "top-1", title="accuracy on the validation clips")
    for name, share in report.top1.items():
        table.add_row(name, f"{report.params[name]:,}", f"{100 * share:.1f} %")
    table.add_row("guessing", "", f"{100 * report.chance:.1f} %")
    clips = Table(Column("clip", overflow="fold"), "prediction", "score", title="predictions of SmallBigNet")
    for path, predictions in report.predictions.items():
        clips.add_row(path, predictions[0].label, f"{predictions[0].score:.3f}")
    last = (
        f"\nPage: {report.directory}/index.html. Picture: {report.picture}. Model: {report.directory}/best.\n"
        f"The demo took {report.seconds:.0f} s.\n"
        f"Next: smallbig predict {report.directory} {next(iter(report.predictions))}"
    )
    return Group(table, clips, last)
