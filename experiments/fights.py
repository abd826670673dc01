"""SmallBig-R23 beside its 2-D and 3-D counterparts on real clips, from random weights, one budget for all.

    python experiments/fights.py CLIPS.csv RUNS

CLIPS.csv has the columns path, label and fold: folds 0 to 2 train, fold 3 validates. RUNS takes a run directory for each
network and seed; a finished one is not trained again. Prints a Markdown table.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import torch

from smallbignet.commands.train import train
from smallbignet.training.settings import load_recipe

NETWORKS = ("smallbig_r23", "c2d_r23", "i3d_r23")
SEEDS = (0, 1)
BUDGET = ["--optim.epochs", "8", "--optim.batch_size", "8", "--optim.lr", "0.005", "--optim.warmup_epochs", "1"]
FOLDS = ["--data.select", "fold=0,1,2", "--data.val_select", "fold=3"]


def finished(clips: str, runs: Path, network: str, seed: int) -> dict:
    """The report of one run, trained first where there is none."""
    directory = runs / f"{network}-{seed}"
    if not (directory / "report.json").exists():
        settings = ["--data.train", clips, "--run.dir", str(directory), "--model.name", network, "--run.seed", str(seed)]
        train(load_recipe("small", [*settings, *FOLDS, *BUDGET]), resume=(directory / "config.yaml").exists())
    return json.loads((directory / "report.json").read_text())


def main(clips: str, runs: Path) -> None:
    print("| network | seed | last top-1 | best top-1 (epoch) | training s | clips/s |\n|---|---|---|---|---|---|")
    for network in NETWORKS:
        for seed in SEEDS:
            r = finished(clips, runs, network, seed)
            best = f"{r['best_top1']:.1%} ({r['best_epoch']})"
            print(
                f"| {network} | {seed} | {r['last_top1']:.1%} | {best} | {r['seconds']:.0f} | {r['clips_per_second']:.1f} |",
                flush=True,
            )
    print(f"\n{r['train_videos']} videos to train, {r['val_videos']} to validate. Recipe `small`, {' '.join(BUDGET)}.")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, Python {platform.python_version()}.")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
