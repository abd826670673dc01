"""`smallbig demo`: the main job on embedded data. It renders real video files, trains SmallBigNet and its 2-D parent the same
way, evaluates both, predicts a few clips, and shows what came out.

The classes differ in what moves, and no single frame tells them apart: a network that sees frames one by one can't do much
better than chance, one that sees a big view can.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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
from smallbignet.utils.console import bar, console
from smallbignet.weights.load import load_model

NETWORKS = {"smallbig": "SmallBig-R23", "parent": "its 2-D parent"}
CHANGES = {"smallbig": [], "parent": ["--model.stages", "[2d, 2d, 2d, 2d]"]}  # of the recipe
MARK = ".smallbig-demo"  # in a folder that a demo made, and only there, a demo deletes
CLIPS = {"train": 120, "val": 30}  # per class


@dataclass(frozen=True)
class DemoReport:
    """What the demo found.

    Attributes:
        top1: accuracy on the validation clips, 0 to 1, by network.
        chance: accuracy of guessing.
        params: number of parameters, by network.
        predictions: answers of SmallBigNet to one validation clip of each class, by path.
        directory: run directory of the SmallBigNet, a model directory in its `best`.
        picture: PNG of the clips with the answers.
        seconds: all of it took.
    """

    top1: dict[str, float]
    chance: float
    params: dict[str, int]
    predictions: dict[str, list[Prediction]]
    directory: str
    picture: str
    seconds: float


def demo(*, out: str = "runs/demo", seed: int = 0) -> DemoReport:
    """Renders clips, trains SmallBigNet and its 2-D parent, evaluates both and predicts: under 4 minutes on 2 cores.

    Args:
        out: folder for the clips, the runs and the picture; an earlier demo's is replaced.
        seed: of the clips and the training.

    Raises:
        SmallBigError: `out` holds something else than an earlier demo.
    """
    started, root = time.monotonic(), Path(out)
    if root.exists() and any(root.iterdir()) and not (root / MARK).is_file():
        raise SmallBigError("this folder holds something else; choose another --out", out)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    (root / MARK).touch()
    with bar("render", sum(CLIPS.values()) * len(CLASSES), "clips") as progress:
        clips = make_dataset(
            root / "clips", CLIPS, seed, num_frames=16, size=48, fps=8, progress=lambda done, total: progress.advance()
        )
    top1, params = {}, {}
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
    picture = root / "demo.png"
    draw(predictions, top1, 1 / len(CLASSES), picture)
    seconds = time.monotonic() - started
    return DemoReport(top1, 1 / len(CLASSES), params, predictions, out, str(picture), seconds)


def draw(predictions: dict[str, list[Prediction]], top1: dict[str, float], chance: float, file: Path) -> None:
    """Each clip as a row of frames with its answer, and the networks' accuracies beside guessing."""
    figure = Figure(figsize=(11, 0.95 * len(predictions) + 0.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(3.2, 1))  # type: ignore[misc]
    grid = left.subplots(len(predictions), 8, gridspec_kw={"wspace": 0, "hspace": 0.05})
    for row, (path, answers) in zip(grid, predictions.items(), strict=True):
        with open_video(path) as video:
            frames = video.frames(np.linspace(0, video.num_frames - 1, 8).astype(int).tolist())
        for axes, frame in zip(row, frames, strict=True):
            axes.imshow(frame.permute(1, 2, 0).numpy())
            axes.set(xticks=[], yticks=[])
        label = Path(path).parent.name
        right_answer = answers[0].label == label
        text = f"{label}\n→ {answers[0].label} {answers[0].score:.2f}"
        row[0].set_ylabel(text, rotation=0, ha="right", va="center", color="black" if right_answer else "tab:red")
    axes = right.subplots()
    bars = axes.bar(
        [name.replace(" 2-D", "\n2-D") for name in top1],
        [100 * share for share in top1.values()],
        color=["tab:blue", "tab:grey"],
        width=0.6,
    )
    axes.bar_label(bars, fmt="%.0f %%")
    axes.axhline(100 * chance, color="black", linestyle=":", label="guessing")
    axes.set(ylim=(0, 105), ylabel="top-1 (%)")
    axes.legend(loc="upper right")
    figure.savefig(file, dpi=110)


def show(report: DemoReport) -> Group:
    """The figures, the predictions, and what to do next."""
    table = Table("network", "parameters", "top-1", title="validation clips")
    for name, share in report.top1.items():
        table.add_row(name, f"{report.params[name]:,}", f"{100 * share:.1f} %")
    table.add_row("guessing", "", f"{100 * report.chance:.1f} %")
    clips = Table(Column("clip", overflow="fold"), "answer", "score", title="predictions of SmallBigNet")
    for path, predictions in report.predictions.items():
        clips.add_row(path, predictions[0].label, f"{predictions[0].score:.3f}")
    last = (
        f"\nThe picture: {report.picture}. The model: {report.directory}/best. It took {report.seconds:.0f} s.\n"
        f"Next: smallbig predict {report.directory} {next(iter(report.predictions))}"
    )
    return Group(table, clips, last)
