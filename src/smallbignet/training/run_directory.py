"""A run directory: what a training run leaves behind and goes on from.

config.yaml       all settings, as a recipe
metrics.jsonl     two lines an epoch, one of training and one of validation
best/ last/       model directories
state/            what the run resumes from
report.json curves.png tensorboard/
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from smallbignet.data.annotations import Annotations, to_csv
from smallbignet.errors import SmallBigError
from smallbignet.training.settings import TrainConfig, load_recipe
from smallbignet.utils import plots
from smallbignet.utils.files import recovered, write_text

# settings that may differ when a run is resumed: they don't change what is computed
FREE = {"run": {"dir", "device", "workers", "save_steps"}, "data": {"backend", "max_unreadable"}}


@dataclass
class Progress:
    """How far a run is: what it resumes from, besides weights and momentum.

    Attributes:
        epoch: epochs done.
        batch: optimizer steps done in the current one.
        totals: of the current epoch, over all processes: loss summed over clips, correct clips, clips.
        best: top-1 of the best validation, 0 to 1, and its epoch (from 1).
        last: top-1 of the last validation.
        test: figures of the test that ends the run, once it is done.
        val_videos: videos it could read.
        unreadable: reason of each training video that could not be read, by path.
        val_unreadable: likewise of validation videos.
        seconds: spent in training so far.
    """

    epoch: int = 0
    batch: int = 0
    totals: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    best: tuple[float, int] = (-1.0, 0)
    last: float = -1.0
    test: dict[str, Any] = field(default_factory=dict)
    val_videos: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    val_unreadable: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


@dataclass(frozen=True)
class TrainReport:
    """What a finished run has to say; `report.json` in the run directory.

    Attributes:
        directory: the run directory; `best` in it is a model directory.
        best_top1: best top-1 on the validation videos, 0 to 1.
        best_epoch: counted from 1.
        last_top1: after the last epoch.
        test: of the last model under `run.views`, on the validation videos: model, views, videos, top1 and top5.
        epochs: trained in all.
        clips_per_second: trained on, validation left out.
        seconds: of training, over all resumptions.
        train_videos: number of videos.
        val_videos: number of videos that could be read.
        unreadable: reason of each training or validation video that could not be read, by path.
    """

    directory: str
    best_top1: float
    best_epoch: int
    last_top1: float
    test: dict[str, Any]
    epochs: int
    clips_per_second: float
    seconds: float
    train_videos: int
    val_videos: int
    unreadable: dict[str, str]


class RunDirectory:
    """The files of one run."""

    def __init__(self, path: str):
        self.path = Path(path)
        self.best, self.last, self.state = (self.path / name for name in ("best", "last", "state"))
        self.board: Any = None

    def find_state(self, config: TrainConfig, parts: dict[str, Annotations], resume: bool) -> Path | None:
        """The state to go on from; None for a new run, and for one that was stopped before it saved any.

        Args:
            parts: the videos to train and to validate on, by the names "train" and "val".

        Raises:
            SmallBigError: a run is there and isn't to be resumed; or none is, or one with other settings or videos.
        """
        state, settings = recovered(self.state), self.path / "config.yaml"
        if not resume:
            if state:
                raise SmallBigError("this directory holds a run: add --resume to go on, or choose another run.dir", self.path)
            return None
        if not settings.exists():
            raise SmallBigError("no run to resume in this directory", self.path)
        if state:
            if changed := changed_settings(settings, config):
                raise SmallBigError(f"the run to resume was started with other settings: {', '.join(changed)}", settings)
            for name, part in parts.items():
                if (self.path / f"{name}.csv").read_text(encoding="utf-8") != to_csv(part, self.path):
                    what = f"the videos to {name} are no longer those that the run to resume was started with"
                    raise SmallBigError(what, self.path / f"{name}.csv")
        return state

    def start(self, config: TrainConfig, parts: dict[str, Annotations], epochs_done: int) -> None:
        """Writes settings and videos of a new run; drops what an interrupted epoch has written."""
        if not recovered(self.state):
            for name, part in parts.items():
                write_text(self.path / f"{name}.csv", to_csv(part, self.path))
            write_text(self.path / "config.yaml", config.to_yaml())
        kept = [line for line in self.metrics() if line["epoch"] <= epochs_done]
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))
        with suppress(ImportError):  # an extra
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(self.path / "tensorboard"), purge_step=epochs_done + 1)

    def log(self, line: dict) -> None:
        """Appends a line of metrics: epoch, split and figures."""
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.board:
            for key in line.keys() - {"epoch", "split"}:
                self.board.add_scalar(f"{line['split']}/{key}", line[key], line["epoch"])

    def metrics(self) -> list[dict]:
        """All lines of metrics; one that was cut off by a kill is left out."""
        lines = []
        with suppress(FileNotFoundError, json.JSONDecodeError):
            for line in (self.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
                lines.append(json.loads(line))
        return lines

    def finish(self, report: dict) -> None:
        """Writes the report and the curves."""
        write_text(self.path / "report.json", json.dumps(report, indent=2) + "\n")
        plots.curves(self.metrics(), self.path / "curves.png")
        if self.board:
            self.board.close()


def changed_settings(file: Path, config: TrainConfig) -> list[str]:
    """The settings of a run's file, "section.key value", that differ from `config` in what they compute.

    A setting that the file doesn't have, since it was written by an earlier version, is that version's default.
    """
    before, now = (yaml.safe_load(settings.to_yaml()) for settings in (load_recipe(str(file)), config))
    return [
        f"{section}.{key} {before[section][key]}"
        for section, values in now.items()
        for key, value in values.items()
        if key not in FREE.get(section, ()) and before[section][key] != value
    ]
