"""SmallBig-R23 beside its 2-D and 3-D counterparts on real clips, from random weights, with the same training for all.

    python experiments/fights.py CLIPS.csv RUNS

CLIPS.csv has the columns path, label and fold: folds 0 to 2 train, fold 3 validates. In the folder RUNS each network and seed
has a run directory; finished runs are not trained again. Prints a Markdown table.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import torch

from smallbignet.commands.train import train
from smallbignet.training.run_directory import RunDirectory, TrainReport
from smallbignet.training.settings import load_recipe

NETWORKS = ("smallbig_r23", "c2d_r23", "i3d_r23")
SEEDS = (0, 1)
BUDGET = ["--optim.epochs", "8", "--optim.batch_size", "8", "--optim.lr", "0.005", "--optim.warmup_epochs", "1"]
FOLDS = ["--data.select", "fold=0,1,2", "--data.val_select", "fold=3"]


def finished(clips: str, runs: Path, network: str, seed: int) -> TrainReport:
    """The report of one run, which is trained first if it isn't finished."""
    directory = RunDirectory(runs / f"{network}-{seed}")
    if directory.is_finished:
        return directory.report()
    settings = ["--data.train", clips, "--run.dir", str(directory.path), "--model.name", network, "--run.seed", str(seed)]
    return train(load_recipe("small", [*settings, *FOLDS, *BUDGET]), resume=directory.is_started)


def main(clips: str, runs: Path) -> None:
    print("| network | seed | last top-1 | best top-1 (epoch) | training s | clips/s |\n|---|---|---|---|---|---|")
    for network in NETWORKS:
        for seed in SEEDS:
            r = finished(clips, runs, network, seed)
            best = f"{r.best_top1:.1%} ({r.best_epoch})"
            print(
                f"| {network} | {seed} | {r.last_top1:.1%} | {best} | {r.seconds:.0f} | {r.clips_per_second:.1f} |",
                flush=True,
            )
    print(f"\n{r.train_videos} videos to train, {r.val_videos} to validate. Recipe `small`, {' '.join(BUDGET)}.")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, Python {platform.python_version()}.")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
