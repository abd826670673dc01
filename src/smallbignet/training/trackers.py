"""Experiment trackers, through Hugging Face Accelerate: TensorBoard, Weights & Biases, MLflow and Trackio."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from accelerate import Accelerator

from smallbignet.errors import SmallBigError
from smallbignet.training.run_directory import Progress
from smallbignet.training.settings import TrainConfig

PROJECT = "smallbignet"  # the project of Weights & Biases and Trackio, the experiment of MLflow


def find_trackers(chosen: list[Any] | None) -> list[str]:
    """The trackers to log to: the chosen ones; without a choice, TensorBoard if it is installed.

    Raises:
        SmallBigError: a chosen tracker isn't installed.
    """
    if chosen is None:
        return ["tensorboard"] if find_spec("tensorboard") else []
    for name in chosen:
        if not find_spec(name):
            raise SmallBigError(f"{name} is not installed: pip install {name}", f"run.trackers {name}")
    return chosen


@contextmanager
def errors_in_main_thread() -> Iterator[None]:
    """Lets TensorBoard's thread, which writes, end without a traceback: its error is raised again in the thread that logs."""
    before = threading.excepthook

    def pass_on(error: threading.ExceptHookArgs) -> None:
        is_told = isinstance(error.exc_value, OSError) and type(error.thread).__module__.startswith("tensorboard")
        if not is_told:
            before(error)

    threading.excepthook = pass_on
    try:
        yield
    finally:
        threading.excepthook = before


def start_trackers(accelerator: Accelerator, config: TrainConfig, progress: Progress) -> None:
    """Starts the accelerator's trackers with the settings of a new run, or lets them go on with a resumed one.

    What Weights & Biases and MLflow find the run by again is kept in `progress.tracker_ids`.
    """
    is_new = progress.epoch == 0 and progress.batch == 0
    name = Path(config.run.dir).resolve().name
    ids = progress.tracker_ids
    options = {
        "tensorboard": {"purge_step": progress.epoch + 1},  # drops what an interrupted epoch has logged
        "wandb": {"name": name, "id": ids.get("wandb"), "resume": "allow", "dir": config.run.dir},
        "mlflow": {"run_name": name, "run_id": ids.get("mlflow")},
        "trackio": {"name": name, "resume": "never" if is_new else "allow"},
    }
    with redirect_stdout(sys.stderr):  # Trackio writes its messages to standard output
        accelerator.init_trackers(PROJECT, flat_settings(config) if is_new else None, options)
    if accelerator.is_main_process:
        for tracker in accelerator.trackers:
            if tracker.name == "wandb":
                ids["wandb"] = tracker.tracker.id
            elif tracker.name == "mlflow":
                ids["mlflow"] = tracker.tracker.info.run_id


def finish_trackers(accelerator: Accelerator) -> None:
    """Ends the trackers' runs, so that this process can start another."""
    with redirect_stdout(sys.stderr):
        for tracker in accelerator.trackers:
            if tracker.name == "trackio" and accelerator.is_main_process:
                import trackio

                trackio.finish()  # Accelerate would leave the run current, which Trackio then finishes again at exit
            else:
                tracker.finish()
    accelerator.trackers.clear()


def flat_settings(config: TrainConfig) -> dict[str, Any]:
    """All settings by "section.key"; lists and missing values as text, since trackers take only numbers and text."""
    return {
        f"{section}.{key}": value if isinstance(value, (bool, int, float, str)) else str(value)
        for section, values in yaml.safe_load(config.to_yaml()).items()
        for key, value in values.items()
    }
