"""A training run on Hugging Face Accelerate: on one device, several, or several machines.

A run can be killed at any moment and resumed: what a step computes depends only on the settings, the step's number and the
weights. Batches, crops and dropout are drawn from (seed, epoch, ...); the learning rate is a function of the step.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor

from smallbignet.data.datasets import Batch
from smallbignet.data.split import note_imbalance, read_split
from smallbignet.errors import SmallBigError, WorkError
from smallbignet.inference.calibration import calibration_error, fit_scores, reliability, temper
from smallbignet.inference.classifier import VideoClassifier
from smallbignet.inference.evaluation import Evaluation, score_videos
from smallbignet.inference.multilabel import fit_thresholds
from smallbignet.report.evaluation import write_evaluation_page
from smallbignet.training.batches import TrainBatches
from smallbignet.training.confusion import most_confused
from smallbignet.training.distributed import make_accelerator
from smallbignet.training.learner import Learner, build_network
from smallbignet.training.loss import balanced_weights, positive_weights
from smallbignet.training.run_directory import FinalTest, Progress, RunDirectory, Totals, TrainReport
from smallbignet.training.schedule import highest_rate, learning_rate
from smallbignet.training.settings import TrainConfig
from smallbignet.training.trackers import errors_in_main_thread, finish_trackers, start_trackers
from smallbignet.utils import plots
from smallbignet.utils.console import bar, console
from smallbignet.utils.files import fresh_folder, fresh_name, install, writing
from smallbignet.utils.memory import keep_memory
from smallbignet.version import __version__
from smallbignet.weights.directory import ModelConfig, ScoreSpec, save_model, write_config
from smallbignet.weights.load import tagged_weights


class Trainer:
    """One run: its data, its network, and how far it is.

    Args:
        config: the settings.
        resume: go on with the run in `run.dir`, however it stopped.

    Raises:
        SmallBigError: settings or data that can't work; a run directory that is in use, or has nothing to resume.
    """

    def __init__(self, config: TrainConfig, resume: bool):
        self.config = config
        self.accelerator = make_accelerator(config)
        self.train_set, self.val_set = read_split(config.data)
        if len(self.train_set.classes) < 2:
            what = f'there is only the class "{self.train_set.classes[0]}"; a classifier needs at least two'
            raise SmallBigError(what, config.data.train)
        self.batches = TrainBatches(self.train_set, config, self.accelerator.process_index, self.accelerator.num_processes)
        self.directory = RunDirectory(config.run.dir)
        parts = {"train": self.train_set, "val": self.val_set}
        state = self.directory.find_state(config, parts, resume)
        torch.manual_seed(config.run.seed)
        start = config.model.weights or tagged_weights(config.model.name)
        if config.model.freeze and not start:
            what = "freezing stages keeps their random weights; choose weights to start from with model.weights"
            raise SmallBigError(what, f"model.freeze {config.model.freeze}")
        network, arguments = build_network(config.model, self.train_set.classes, "" if state else start)
        keep_memory()
        self.learner = Learner(network, len(self.train_set.classes), config, self.accelerator, self._class_weights())
        self.progress = Progress()
        self.accelerator.register_for_checkpointing(self.progress)
        source = {"source": "smallbig train", "smallbignet": __version__, "started from": start or "random"}
        scores = ScoreSpec("sigmoid" if self.train_set.is_multilabel else "softmax")
        classes = self.train_set.classes
        self.model_config = ModelConfig(arguments, classes, config.clip, config.input, config.run.views, source, scores)
        self.accelerator.wait_for_everyone()
        if state:
            self.accelerator.load_state(str(state))
        if self.is_main:
            self.directory.start(config, parts, self.progress.epoch)

    def _class_weights(self) -> Tensor | None:
        """The weights of the classes in the loss; None where all count the same. Warns of classes with very few videos."""
        balance = self.config.data.balance
        if balance == "none" and self.is_main:
            note_imbalance(self.train_set)
        if balance == "loss" and self.train_set.is_multilabel:
            return positive_weights(self.train_set.counts(), len(self.train_set))
        return balanced_weights(self.train_set.labels, len(self.train_set.classes)) if balance == "loss" else None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and messages."""
        return self.accelerator.is_main_process

    @errors_in_main_thread()
    def run(self) -> TrainReport:
        """Trains until the last epoch, tests the last model, and writes the report.

        Raises:
            WorkError: too many unreadable videos, or a loss that is no longer a number.
        """
        progress = self.progress
        clips = self.batches.clips
        done = progress.epoch * clips + progress.batch * clips // self.batches.steps
        self._say_rate()
        with writing(self.directory.path):
            start_trackers(self.accelerator, self.config, progress)
        try:
            with bar("train", self.config.optim.epochs * clips, "clips", done, visible=self.is_main) as self.bar:
                while progress.epoch < self.config.optim.epochs and not progress.is_stopped:
                    self._train_epoch()
                    self._finish_epoch()
                if progress.test is None:
                    result = self._score(self.learner.whole_model(), self.config.run.views)
                    progress.test = self._final_test(result)
                    self._save_state()
        finally:
            with writing(self.directory.path):
                finish_trackers(self.accelerator)
        report = self._report(progress.test)
        if self.is_main:
            self.directory.finish(report)
        self.accelerator.end_training()
        return report

    # ---- an epoch

    def _train_epoch(self) -> None:
        """Trains on what is left of the current epoch, and saves the state every `run.save_steps` steps."""
        progress = self.progress
        self.learner.start_epoch()
        started = time.monotonic()
        # Totals stay on the device, because reading them at every step would make it wait. They are summed over the processes,
        # so one process alone begins with those of a resumed epoch.
        totals = progress.totals.to_tensor(self.accelerator.device) * self.is_main
        for parts in self.batches.rest_of_epoch(progress.epoch, progress.batch):
            progress.rate = self._learning_rate()
            for part_totals in self.learner.step(parts, self.batches.batch_clips, progress.rate, self._seed_step()):
                totals += part_totals
            self._note_unreadable(parts)
            progress.batch += 1
            self.bar.advance(self.batches.batch_clips, f"epoch {progress.epoch + 1}/{self.config.optim.epochs}")
            is_last = progress.batch == self.batches.steps
            is_saved = is_last or progress.batch % self.config.run.save_steps == 0
            if is_saved or progress.batch % 10 == 0:
                self._check(totals)
            if is_saved:
                now = time.monotonic()
                progress.seconds += now - started
                started = now
                if not is_last:  # after the last step, `_finish_epoch` saves
                    self._save_state()

    def _learning_rate(self) -> float:
        """The learning rate of the next step."""
        steps = self.batches.steps
        return learning_rate(self.config.optim, self.progress.epoch + self.progress.batch / steps, 1 / steps)

    def _seed_step(self) -> int:
        """Seeds dropout by the step's place in the run, and returns the seed."""
        place = [self.config.run.seed, self.progress.epoch, self.progress.batch, self.accelerator.process_index]
        seed = int(np.random.SeedSequence(place).generate_state(1)[0])
        on_gpu = self.accelerator.device.type == "cuda"
        (torch.cuda.manual_seed if on_gpu else torch.default_generator.manual_seed)(seed)
        return seed

    def _note_unreadable(self, parts: list[Batch]) -> None:
        """Says once for each video that it could not be read."""
        for video in (video for part in parts for video in part.unreadable):
            if video.path not in self.progress.unreadable:
                self.progress.unreadable[video.path] = video.reason
                console.print(f"unreadable, replaced by another video: {video.path}: {video.reason}")

    def _check(self, totals: Tensor) -> None:
        """Collects the totals and unreadable videos of all processes, and stops the run if it makes no sense to go on."""
        progress = self.progress
        progress.totals = Totals(*self.accelerator.reduce(totals).tolist())
        progress.unreadable = dict(gather_object(list(progress.unreadable.items())))
        if not math.isfinite(progress.totals.loss):
            what = "the loss is no longer a number; try a lower optim.lr, a limit on the gradient (optim.clip_grad), or fp32"
            raise WorkError(what, f"epoch {progress.epoch + 1}, step {progress.batch}")
        if len(progress.unreadable) > self.config.data.max_unreadable * len(self.train_set):
            share = f"{len(progress.unreadable)} of {len(self.train_set)} training videos can't be read"
            what = f"{share}, more than data.max_unreadable allows; `smallbig check` finds them and writes a clean list"
            raise WorkError(what, self.config.data.train)

    def _finish_epoch(self) -> None:
        """Keeps the last model, validates, writes the metrics, and saves the state to resume from."""
        progress = self.progress
        totals = progress.totals
        epoch = progress.epoch + 1
        epochs = self.config.optim.epochs
        loss = totals.loss / totals.clips
        top1 = totals.correct / totals.clips
        self._log(epoch, "train", {"loss": loss, "top1": top1, "lr": progress.rate, "seconds": round(progress.seconds, 2)})
        message = f"epoch {epoch}/{epochs}  loss {loss:.3f}  top-1 {top1:.1%}"
        model = self.learner.whole_model()
        if self.is_main:
            save_model(model, self.model_config, self.directory.last)
        if epoch % self.config.run.val_epochs == 0 or epoch == epochs:
            val = self._validate(model, epoch)
            message += f"  validation: loss {val.loss():.3f}  top-1 {progress.last_top1:.1%}"
        if self.is_main:
            console.print(f"{message}  ({progress.seconds:.0f} s)")
        progress.epoch = epoch
        progress.batch = 0
        progress.totals = Totals()
        self._save_state()

    # ---- validation

    def _validate(self, model: Any, epoch: int) -> Evaluation:
        """Scores the validation videos, logs the figures, and keeps the model if it is the best so far.

        The best has the highest top-1, or mean average precision where videos may have several classes; of equal ones, the
        lowest loss. A few validation videos often leave several epochs with the same top-1.
        """
        progress = self.progress
        run = self.config.run
        val = self._score(model, run.val_views)
        progress.last_top1 = val.accuracy()
        progress.val_videos = len(val.videos)
        progress.val_unreadable = {video.path: video.reason for video in val.unreadable}
        loss = val.loss()
        if val.is_multilabel:
            accuracy = val.average_precision()
            best = -1.0 if progress.best_map is None else progress.best_map
        else:
            accuracy = progress.last_top1
            best = progress.best_top1
        is_best = (accuracy, -loss) > (best, -progress.loss_of_best)
        if accuracy > best or loss < progress.best_loss:
            progress.better_epoch = epoch
        progress.best_loss = min(progress.best_loss, loss)
        patience = self.config.optim.patience
        progress.is_stopped = bool(patience) and epoch - progress.better_epoch >= patience
        if is_best:
            progress.best_top1 = progress.last_top1
            progress.best_epoch = epoch
            progress.loss_of_best = loss
            if val.is_multilabel:
                progress.best_map = accuracy
            else:
                progress.best_mean_class = val.mean_class_accuracy()
                progress.best_confused = most_confused(val.confusion(), val.classes)
            mixes = self.config.augment.mixup or self.config.augment.cutmix
            progress.best_train_top1 = None if mixes else progress.totals.correct / progress.totals.clips
            if self.is_main:
                save_model(model, self._calibrated(val), self.directory.best)
        figures = {"loss": loss, "top1": progress.last_top1, "top5": val.accuracy(5), "videos": len(val.videos)}
        self._log(epoch, "val", figures)
        if (epoch == self.config.optim.epochs or progress.is_stopped) and run.val_views == run.views:
            progress.test = self._final_test(val)
        return val

    def _score(self, model: Any, views: str) -> Evaluation:
        """Scores of the validation videos, computed on all processes together."""
        precision = "bf16" if self.accelerator.mixed_precision == "bf16" else "fp32"
        classifier = VideoClassifier(model, self.model_config, self.accelerator.device, precision)
        epochs = self.config.optim.epochs
        note = f"epoch {min(self.progress.epoch + 1, epochs)}/{epochs}, views {views}"

        def show(_: int) -> None:
            self.bar.advance(0, note)

        return score_videos(classifier, self.val_set, views, self.config.data, self.config.run.workers, show)

    def _calibrated(self, val: Evaluation) -> ModelConfig:
        """The model's configuration, with a temperature and a threshold fitted on the scores of the validation videos."""
        if val.is_multilabel:
            thresholds = fit_thresholds(val.scores, val.labels)
            return replace(self.model_config, scores=ScoreSpec("sigmoid", thresholds=thresholds))
        return replace(self.model_config, scores=fit_scores(val.scores, val.labels, self.config.run.wanted_precision))

    def _final_test(self, result: Evaluation) -> FinalTest:
        """The figures of the last model, which gets the temperature and the threshold that fit its scores."""
        config = self._calibrated(result)
        figures = ("last", self.config.run.views, len(result.videos), result.accuracy(), result.accuracy(5))
        calibrated = replace(
            result, scores=temper(result.scores, config.scores.temperature, config.scores.kind), spec=config.scores
        )
        if self.is_main:
            write_config(config, self.directory.last)
            name = f"{self.directory.path} (last)"
            metrics, settings = self.directory.metrics(), self.config.to_yaml()
            write_evaluation_page(self.directory.page, calibrated, config, name, self.config.data, metrics, settings)
        if result.is_multilabel:
            return FinalTest(*figures)
        if self.is_main:
            temperature = f"at temperature {config.scores.temperature:.2f}"
            curves = {"as the network gives them": result, temperature: calibrated}
            bins = {name: reliability(scored.scores, scored.labels) for name, scored in curves.items()}
            plots.reliability(bins, self.directory.path / "reliability.png")
        return FinalTest(
            *figures,
            calibration_error=calibration_error(result.scores, result.labels),
            calibrated_error=calibration_error(calibrated.scores, result.labels),
        )

    # ---- what is written and said

    def _log(self, epoch: int, split: str, figures: dict[str, float]) -> None:
        """Writes figures to `metrics.jsonl` and to the trackers."""
        with writing(self.directory.path):
            if self.is_main:
                self.directory.log({"epoch": epoch, "split": split} | figures)
            self.accelerator.log({f"{split}/{name}": value for name, value in figures.items()}, step=epoch)

    def _save_state(self) -> None:
        """Saves all that the run resumes from; a kill at any moment leaves the state before or this one, whole."""
        if self.is_main:
            fresh = fresh_folder(self.directory.state)
        self.accelerator.wait_for_everyone()
        with writing(self.directory.state):
            self.accelerator.save_state(str(fresh_name(self.directory.state)))
        self.accelerator.wait_for_everyone()
        if self.is_main:
            install(fresh, self.directory.state)

    def _say_rate(self) -> None:
        """Says the learning rate if it differs from `optim.lr`, or never comes up to it."""
        optim = self.config.optim
        if self.is_main and optim.warmup_epochs > optim.epochs:
            what = f"the warm-up of {optim.warmup_epochs:g} epochs is longer than the run, so that little is learned"
            console.print(f"warning: {what}; set optim.warmup_epochs below {optim.epochs}")
        rate = highest_rate(optim)
        if self.is_main and rate != optim.lr:
            reason = f"optim.lr {optim.lr:g} is meant for batches of {optim.lr_base_size}, and these are of {optim.batch_size}"
            console.print(f"learning rate {rate:g}: {reason}")

    def _report(self, test: FinalTest) -> TrainReport:
        progress = self.progress
        return TrainReport(
            directory=str(self.directory.path),
            best_top1=progress.best_top1,
            best_epoch=progress.best_epoch,
            last_top1=progress.last_top1,
            test=test,
            epochs=progress.epoch,
            clips_per_second=progress.epoch * self.batches.clips / max(progress.seconds, 1e-9),
            seconds=progress.seconds,
            train_videos=len(self.train_set),
            val_videos=progress.val_videos,
            unreadable=progress.unreadable | progress.val_unreadable,
            guessing=float(self.val_set.counts().max() / len(self.val_set)),
            best_mean_class=progress.best_mean_class,
            best_train_top1=progress.best_train_top1,
            best_confused=progress.best_confused,
            best_map=progress.best_map,
            is_stopped=progress.is_stopped,
        )
