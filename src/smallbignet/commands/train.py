"""`smallbig train`: trains a video classifier with the settings of a recipe."""

from __future__ import annotations

import torch
from rich.table import Table

from smallbignet.errors import WorkError
from smallbignet.training.distributed import lost_process
from smallbignet.training.run_directory import RunDirectory, TrainReport
from smallbignet.training.settings import TrainConfig
from smallbignet.training.trainer import Trainer
from smallbignet.utils.checks import Folder, read_as
from smallbignet.utils.statistics import videos_for
from smallbignet.weights.load import load_config

MARGIN = 0.05  # a difference in accuracy that people care about
LARGE_GAP = 0.2  # of the accuracy in training over that in validation


def train(config: TrainConfig, *, resume: bool = False) -> TrainReport:
    """Trains a video classifier on labelled videos. The settings are a recipe's, shipped or a YAML file; options change them.

    Args:
        config: the settings.
        resume: go on with the run in `run.dir` where it stopped, even if it was killed.

    Raises:
        SmallBigError: settings or data that can't work; a run directory that holds a run, or none to resume.
        WorkError: too many unreadable videos, a loss that is no longer a number, no GPU memory left, or a lost process.
    """
    read_as(Folder, config.run.dir, "run.dir")
    try:
        return Trainer(config, resume).run()
    except torch.OutOfMemoryError as error:
        what = "out of GPU memory; try run.grad_checkpointing true, a larger optim.accumulate or a smaller optim.batch_size"
        where = f"optim.batch_size {config.optim.batch_size}, optim.accumulate {config.optim.accumulate}"
        raise WorkError(what, where) from error
    except RuntimeError as error:
        if not lost_process(error):
            raise
        what = "another process of this run has ended; the same command with --resume goes on"
        raise WorkError(what, config.run.dir) from error


def show(report: TrainReport) -> Table:
    """The figures of a finished run as a table."""
    table = Table(show_header=False, title="finished run")
    top5 = f", top-5 {100 * report.test.top5:.2f} %" if len(load_config(report.directory).classes) > 5 else ""
    rows = {}
    if report.best_map is not None:
        rows["best mean average precision"] = f"{100 * report.best_map:.2f} %"
    if report.best_mean_class is not None:
        rows["best mean class accuracy"] = f"{100 * report.best_mean_class:.2f} %"
    stopped = ", after which nothing was better" if report.is_stopped else ""
    rows |= {
        "best top-1": f"{100 * report.best_top1:.2f} % (epoch {report.best_epoch} of {report.epochs}{stopped})",
        "last top-1": f"{100 * report.last_top1:.2f} %",
        f"last model, views {report.test.views}": f"top-1 {100 * report.test.top1:.2f} %{top5}",
        "videos": f"{report.train_videos} to train, {report.val_videos} to validate, {len(report.unreadable)} unreadable",
        "training": f"{report.seconds:.0f} s, {report.clips_per_second:.1f} clips/s",
        "model": f"{report.directory}/best",
    }
    before, after = report.test.calibration_error, report.test.calibrated_error
    if before is not None and after is not None:  # None for videos with several classes
        rows["calibration error"] = f"{100 * before:.1f} %, {100 * after:.1f} % calibrated"
    page = RunDirectory(report.directory).page
    rows |= {"page": str(page)} if page.is_file() else {"curves": f"{report.directory}/curves.png"}  # a run of 0.1.0
    low, high = report.best_interval
    needed = videos_for(report.best_top1, MARGIN)
    interval = f"{100 * low:.1f} to {100 * high:.1f} %, from {report.val_videos} validation videos"
    if needed > report.val_videos:
        interval += f"; {needed - report.val_videos} more would narrow it to {100 * MARGIN:.0f} points on either side"
    rows["95 % interval of the best top-1"] = interval
    if report.best_train_top1 is not None:
        gap = 100 * (report.best_train_top1 - report.best_top1)
        rows["top-1 in training"] = f"{100 * report.best_train_top1:.2f} %, {abs(gap):.0f} points {_gap(gap)}"
    if report.best_confused:
        rows["confused most"] = "; ".join(map(str, report.best_confused))
    if report.is_guessing:
        guess = f"it may be no better than guessing: the most frequent class alone gives {100 * report.guessing:.2f} %"
        rows["best model"] = f"{guess}; use more clips, more epochs, or trained weights (recipe auto)"
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _gap(points: float) -> str:
    """What a difference between the top-1 in training and in validation means, in words."""
    if points < 0:
        return "below validation: training clips are cut and changed at random"
    if points < 100 * LARGE_GAP:
        return "above validation"
    return "above validation: it knows its training videos by heart; more videos help, or model.freeze, or augment.randaugment"
