"""A short training on rendered clips at full width: the GPU's loss curve beside the CPU's."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from gpu_stages.scale import Scale
from gpu_stages.worker import Turn
from smallbignet.commands.train import train
from smallbignet.data.synthetic import make_dataset
from smallbignet.training.run_directory import RunDirectory
from smallbignet.training.settings import load_recipe

FULL = {"train": 30, "val": 10}, 4, 64  # clips of each class, epochs, width
DRY_RUN = {"train": 2, "val": 1}, 1, 8  # likewise
CORES_FOR_OTHERS = 4  # which the CPU's training leaves


def curve(turn: Turn, scale: Scale, device: str) -> None:
    """Tell the loss and the top-1 of each epoch, of the clips trained on and of others: on a GPU in bf16, on a CPU in fp32.

    The recipe is the demo's, but for the width. Both see the same clips in the same order.
    """
    counts, number, width = FULL if scale.on_gpu else DRY_RUN
    with TemporaryDirectory() as folder:
        clips = make_dataset(Path(folder, "clips"), counts, num_frames=16, size=48, fps=8)
        directory = Path(folder, "run")
        words = ["--data.train", str(clips), "--run.dir", str(directory)]
        words += ["--optim.epochs", str(number), "--model.width", str(width)]
        words += ["--run.device", device, "--run.precision", "bf16" if device == "cuda" else "fp32"]
        config = load_recipe("demo", words)
        if device == "cpu" and scale.on_gpu:
            torch.set_num_threads(max((os.cpu_count() or 1) - CORES_FOR_OTHERS, 1))
        with ThreadPoolExecutor() as pool:
            training = pool.submit(train, config)
            while not training.done():
                time.sleep(0.5)
                turn.tell(epochs(directory))
            turn.tell(epochs(directory) | {"clips_per_second": round(training.result().clips_per_second, 1)})


def epochs(directory: Path) -> dict[str, list[float]]:
    """Return the figures of the epochs that are done, by part and name."""
    found: dict[str, list[float]] = {}
    for line in RunDirectory(str(directory)).metrics():
        for name in ("loss", "top1"):
            found.setdefault(f"{line['split']} {name}", []).append(round(line[name], 4))
    return found
