"""A run directory: the files that a training run leaves, and from which it is resumed. Only this module reads or writes them.

config.yaml         all settings, as a recipe
train.csv val.csv   the videos
metrics.jsonl       two lines for each epoch, one for training and one for validation
best/ last/         model directories
state/              what the run is resumed from
report.json         the figures of the finished run
curves.png          loss and accuracy over the epochs
reliability.png     accuracy over score, as the network gives it and calibrated
index.html          all of this as a page, with excerpts of videos
tensorboard/        the metrics again, for TensorBoard
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from smallbignet.data.annotations import Annotations, to_csv
from smallbignet.errors import SmallBigError
from smallbignet.training.confusion import Confused
from smallbignet.training.settings import TrainConfig, load_recipe
from smallbignet.utils import plots
from smallbignet.utils.files import recovered, write_text, writing
from smallbignet.utils.statistics import wilson_interval

# settings that may differ when a run is resumed, because they don't change what is computed
FREE = {"run": {"dir", "device", "workers", "save_steps", "trackers"}, "data": {"backend", "max_unreadable"}}


@dataclass(frozen=True)
class FinalTest:
    """The test that ends a run: the last model on the validation videos.

    Attributes:
        model: which model was tested: "last".
        views: clips x crops, such as "10x3".
        videos: number of videos that could be read.
        top1: accuracy, 0 to 1.
        top5: likewise.
        calibration_error: expected calibration error of the scores as the network gives them, 0 to 1.
        calibrated_error: the same at the temperature that was fitted on these videos.
    """

    model: str
    views: str
    videos: int
    top1: float
    top5: float
    calibration_error: float | None = None
    calibrated_error: float | None = None


@dataclass
class Totals:
    """What an epoch has added up so far, over all processes.

    Attributes:
        loss: summed over the clips.
        correct: number of clips whose best logit is their label's.
        clips: number of clips.
    """

    loss: float = 0.0
    correct: float = 0.0
    clips: float = 0.0

    def to_tensor(self, device: torch.device) -> Tensor:
        """(3,) float32."""
        return torch.tensor([self.loss, self.correct, self.clips], device=device)


@dataclass
class Progress:
    """How far a run is: what it resumes from, besides weights, momentum and the moving average.

    Attributes:
        epoch: number of epochs done.
        batch: number of optimizer steps done in the current epoch.
        rate: learning rate of the last optimizer step.
        totals: of the current epoch.
        best_top1: top-1 of the best validation, 0 to 1; negative before the first.
        best_epoch: the epoch of `best_top1`, counted from 1; of several, that with the lowest validation loss.
        best_mean_class: mean accuracy of the classes in that validation, 0 to 1; None before the first.
        best_train_top1: top-1 on the training clips in that epoch, 0 to 1; None before the first, and under mixup or CutMix.
        best_confused: the classes that are confused most in that validation.
        last_top1: top-1 of the last validation, 0 to 1; negative before the first.
        best_map: mean average precision in that validation, 0 to 1, where videos may have several classes; else None.
        best_loss: lowest validation loss so far.
        loss_of_best: validation loss in the epoch of `best_epoch`, by which ties are broken.
        better_epoch: the last epoch whose validation was better than all before in top-1 or in loss.
        is_stopped: whether the run ended early, after `optim.patience` epochs without a better validation.
        test: the test that ends the run; None before it is done.
        val_videos: number of videos that the last validation could read.
        unreadable: why each unreadable training video could not be read, by path.
        val_unreadable: likewise for validation videos.
        seconds: time spent in training so far, without validation.
        tracker_ids: by which the trackers find the run again, by tracker.
    """

    epoch: int = 0
    batch: int = 0
    totals: Totals = field(default_factory=Totals)
    best_top1: float = -1.0
    best_epoch: int = 0
    last_top1: float = -1.0
    test: FinalTest | None = None
    val_videos: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    val_unreadable: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    tracker_ids: dict[str, str] = field(default_factory=dict)
    rate: float = 0.0
    best_mean_class: float | None = None
    best_train_top1: float | None = None
    best_confused: list[Confused] = field(default_factory=list)
    best_map: float | None = None
    best_loss: float = math.inf
    loss_of_best: float = math.inf
    better_epoch: int = 0
    is_stopped: bool = False

    def state_dict(self) -> dict[str, Any]:
        """Plain data, which loading doesn't have to unpickle."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a saved progress, also one that version 0.1.0 saved: its best, last and totals had no names."""
        state = dict(state)
        if "best" in state:
            state["best_top1"], state["best_epoch"] = state.pop("best")
            state["last_top1"] = state.pop("last")
            state["totals"] = asdict(Totals(*state["totals"]))
        state["totals"] = Totals(**state["totals"])
        state["test"] = FinalTest(**state["test"]) if state["test"] else None
        state["best_confused"] = [Confused(**pair) for pair in state.get("best_confused", [])]
        self.__dict__.update(state)


@dataclass(frozen=True)
class TrainReport:
    """The figures of a finished run, as `report.json` keeps them.

    Attributes:
        directory: the run directory; `best` in it is a model directory.
        best_top1: best top-1 on the validation videos, 0 to 1.
        best_epoch: the epoch of `best_top1`, counted from 1; of several, that with the lowest validation loss.
        last_top1: top-1 after the last epoch, 0 to 1.
        test: the last model on the validation videos, under `run.views`.
        epochs: number of epochs trained.
        clips_per_second: speed of training, without validation.
        seconds: time spent in training, without validation, over all resumptions.
        train_videos: number of training videos.
        val_videos: number of validation videos that could be read.
        unreadable: why each unreadable training or validation video could not be read, by path.
        guessing: share of the most frequent class among the validation videos; 0 in a report of version 0.1.0.
        best_mean_class: mean accuracy of the classes in the validation of `best_top1`, 0 to 1; None in a report of 0.1.0.
        best_train_top1: top-1 on the augmented training clips in that epoch, 0 to 1; None where it is not known, as under
            mixup and CutMix.
        best_confused: the classes that are confused most in that validation, the worst first.
        best_map: mean average precision in that validation, 0 to 1, by which it is the best, where videos may have several
            classes; else None.
        is_stopped: whether the run ended early, after `optim.patience` epochs without a better validation.
    """

    directory: str
    best_top1: float
    best_epoch: int
    last_top1: float
    test: FinalTest
    epochs: int
    clips_per_second: float
    seconds: float
    train_videos: int
    val_videos: int
    unreadable: dict[str, str]
    guessing: float = 0.0
    best_mean_class: float | None = None
    best_train_top1: float | None = None
    best_confused: list[Confused] = field(default_factory=list)
    best_map: float | None = None
    is_stopped: bool = False

    @property
    def best_interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the best top-1, by the number of validation videos."""
        return wilson_interval(self.best_top1, self.val_videos)

    @property
    def is_guessing(self) -> bool:
        """Whether the best model may be no better than naming the most frequent class every time.

        So it is if that share isn't below the 95 % confidence interval of the best top-1.
        """
        return self.guessing >= self.best_interval[0]


class RunDirectory:
    """The files of one run.

    Attributes:
        path: the run directory.
        best: the model directory of the epoch with the best validation.
        last: the model directory of the last epoch.
        state: the folder that the run is resumed from.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.best = self.path / "best"
        self.last = self.path / "last"
        self.state = self.path / "state"
        self.config_file = self.path / "config.yaml"
        self.report_file = self.path / "report.json"
        self.metrics_file = self.path / "metrics.jsonl"
        self.page = self.path / "index.html"

    @property
    def is_started(self) -> bool:
        """Whether the directory holds a run, finished or not."""
        return self.config_file.is_file()

    @property
    def is_finished(self) -> bool:
        """Whether the directory holds the report of a finished run."""
        return self.report_file.is_file()

    def config(self) -> TrainConfig:
        """The settings that the run was started with.

        A setting that the file doesn't have, because an earlier version wrote it, has its default.

        Raises:
            SmallBigError: there is no run here, or its settings can't be read.
        """
        if not self.is_started:
            raise SmallBigError("this folder holds no training run: it has no config.yaml", self.path)
        return load_recipe(str(self.config_file))

    def report(self) -> TrainReport:
        """The figures of the finished run.

        Raises:
            SmallBigError: the run isn't finished, or the file isn't the report of a run.
        """
        try:
            values = json.loads(self.report_file.read_text(encoding="utf-8"))
            values["test"] = FinalTest(**values["test"])
            values["best_confused"] = [Confused(**pair) for pair in values.get("best_confused", [])]
            return TrainReport(**{field.name: values[field.name] for field in fields(TrainReport) if field.name in values})
        except FileNotFoundError as error:
            what = "this folder holds no finished training run: it has no report.json"
            raise SmallBigError(what, self.path) from error
        except (ValueError, KeyError, TypeError) as error:
            raise SmallBigError(
                "this file is not the report of a finished training run; `smallbig train --resume` writes it anew",
                self.report_file,
            ) from error

    def metrics(self) -> list[dict]:
        """The lines of `metrics.jsonl`: epoch, split ("train" or "val") and figures. A line that a kill cut off is dropped."""
        lines = []
        with suppress(FileNotFoundError, json.JSONDecodeError):
            for line in self.metrics_file.read_text(encoding="utf-8").splitlines():
                lines.append(json.loads(line))
        return lines

    def changed_settings(self, config: TrainConfig) -> list[str]:
        """The settings of the run, as "section.key value", that differ from `config` and change what is computed."""
        before = yaml.safe_load(self.config().to_yaml())
        now = yaml.safe_load(config.to_yaml())
        return [
            f"{section}.{key} {before[section][key]}"
            for section, values in now.items()
            for key, value in values.items()
            if key not in FREE.get(section, ()) and before[section][key] != value
        ]

    def find_state(self, config: TrainConfig, parts: dict[str, Annotations], resume: bool) -> Path | None:
        """The state to resume from; None for a new run, and for a run that was stopped before it saved a state.

        Args:
            parts: the videos to train and to validate on, by the names "train" and "val".

        Raises:
            SmallBigError: there is a run that isn't to be resumed; there is none to resume; or its settings or videos differ.
        """
        state = recovered(self.state)
        if self.is_finished and not state:
            what = "this directory holds a finished run, which can't be resumed without its state; choose another run.dir"
            raise SmallBigError(what, self.path)
        if not resume:
            if state:
                raise SmallBigError("this directory holds a run: add --resume to go on, or choose another run.dir", self.path)
            return None
        if not self.is_started:
            raise SmallBigError("no run to resume in this directory", self.path)
        if state:
            if changed := self.changed_settings(config):
                what = f"the run to resume was started with other settings: {', '.join(changed)}"
                raise SmallBigError(what, self.config_file)
            for name, part in parts.items():
                file = self.path / f"{name}.csv"
                if _rows(file.read_text(encoding="utf-8")) != _rows(to_csv(part, self.path)):
                    what = f"the videos to {name} are no longer those that the run to resume was started with"
                    raise SmallBigError(what, file)
        return state

    def start(self, config: TrainConfig, parts: dict[str, Annotations], epochs_done: int) -> None:
        """Writes the settings and videos of a new run; drops the metrics of an epoch that was interrupted."""
        if not recovered(self.state):
            for name, part in parts.items():
                write_text(self.path / f"{name}.csv", to_csv(part, self.path))
            write_text(self.config_file, config.to_yaml())
        kept = [line for line in self.metrics() if line["epoch"] <= epochs_done]
        write_text(self.metrics_file, "".join(json.dumps(line) + "\n" for line in kept))

    def log(self, line: dict) -> None:
        """Appends a line of metrics: epoch, split and figures."""
        with writing(self.metrics_file), open(self.metrics_file, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def finish(self, report: TrainReport) -> None:
        """Writes the report and the curves."""
        write_text(self.report_file, json.dumps(asdict(report), indent=2) + "\n")
        with writing(self.path / "curves.png"):
            plots.curves(self.metrics(), self.path / "curves.png")


def _rows(table: str) -> str:
    """A .csv file's text without its header, whose column of labels had another name in some cases before."""
    return table.partition("\n")[2]
