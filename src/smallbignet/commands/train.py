"""`smallbig train`: trains a video classifier by a recipe."""

from __future__ import annotations

import torch
from rich.table import Table

from smallbignet.errors import WorkError
from smallbignet.training.distributed import lost_process
from smallbignet.training.run_directory import TrainReport
from smallbignet.training.settings import TrainConfig
from smallbignet.training.trainer import Trainer
from smallbignet.weights.load import load_config


def train(config: TrainConfig, *, resume: bool = False) -> TrainReport:
    """Trains a video classifier on labelled videos. A recipe, shipped or a YAML file, has the settings; options change them.

    Args:
        config: the settings.
        resume: go on where the run in `run.dir` stopped, however it stopped.

    Raises:
        SmallBigError: settings or data that can't work; a run directory that is in use, or has nothing to resume.
        WorkError: too many unreadable videos, or a loss that is no longer a number.
    """
    try:
        return Trainer(config, resume).run()
    except torch.OutOfMemoryError as error:
        what = "out of GPU memory; try a smaller optim.batch_size, optim.accumulate, or run.grad_checkpointing"
        raise WorkError(what, f"optim.batch_size {config.optim.batch_size}") from error
    except RuntimeError as error:
        if not lost_process(error):
            raise
        raise WorkError(
            "another process of this run has ended; the same command with --resume goes on", config.run.dir
        ) from error


def show(report: TrainReport) -> Table:
    """The end of a run for people."""
    table = Table(show_header=False, title="trained")
    top5 = f", top-5 {100 * report.test.top5:.2f} %" if len(load_config(report.directory).classes) > 5 else ""
    rows = {
        "best top-1": f"{100 * report.best_top1:.2f} % (epoch {report.best_epoch} of {report.epochs})",
        "last top-1": f"{100 * report.last_top1:.2f} %",
        f"last model, views {report.test.views}": f"top-1 {100 * report.test.top1:.2f} %{top5}",
        "videos": f"{report.train_videos} to train, {report.val_videos} to validate, {len(report.unreadable)} unreadable",
        "training": f"{report.seconds:.0f} s, {report.clips_per_second:.1f} clips/s",
        "model": f"{report.directory}/best",
        "curves": f"{report.directory}/curves.png",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table
