"""Training: SGD on labelled videos, on Hugging Face Accelerate: one device, several, or several machines.

A run can be killed at any moment and resumed: what a step does depends on the settings, the step's number and the weights
alone. Batches, crops and dropout are drawn from (seed, epoch, ...), the learning rate is a function of the step.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import broadcast, gather_object
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from smallbignet.data.datasets import Batch, TrainClips, epoch_batches, make_loader, read_split
from smallbignet.data.transforms import mix, to_input
from smallbignet.errors import SmallBigError, WorkError
from smallbignet.inference.classifier import VideoClassifier
from smallbignet.inference.evaluation import Evaluation, score_videos
from smallbignet.models.network import VideoNetwork
from smallbignet.ops.recompute import recompute
from smallbignet.training.distributed import gather_state, is_sharded, make_accelerator
from smallbignet.training.run_directory import FinalTest, Progress, RunDirectory, TrainReport
from smallbignet.training.schedule import freeze_statistics, highest_rate, learning_rate
from smallbignet.training.settings import NetworkSpec, TrainConfig
from smallbignet.utils.console import bar, console
from smallbignet.utils.files import fresh_folder, fresh_name, install
from smallbignet.utils.memory import keep_memory
from smallbignet.version import __version__
from smallbignet.weights.directory import ModelConfig, save_model
from smallbignet.weights.load import create_model, load_weights


def build_network(spec: NetworkSpec, classes: list[str], weights: str) -> tuple[VideoNetwork, dict[str, Any]]:
    """Returns the network to train, with the weights of that name (see `load_weights`), and its arguments of `create_model`."""
    model_args: dict[str, Any] = {
        "name": spec.name,
        "num_classes": len(classes),
        "stages": spec.stages,
        "width": spec.width,
        "drop_rate": spec.drop_rate,
    }
    model = create_model(**model_args)
    if weights:
        load_weights(model, weights, classes)
    return model, model_args


class Trainer:
    """One run: its data, its network, its optimizer, and where it stands."""

    def __init__(self, config: TrainConfig, resume: bool):
        self.config, self.optim, self.run_spec = config, config.optim, config.run
        self.accelerator = make_accelerator(config)
        self.train_set, self.val_set = read_split(config.data)
        self._check_batch()
        self.clips = TrainClips(self.train_set, config.clip, config.input, config.data, config.run.seed, config.augment)
        self.directory, parts = RunDirectory(config.run.dir), {"train": self.train_set, "val": self.val_set}
        state = self.directory.find_state(config, parts, resume)
        torch.manual_seed(config.run.seed)
        model, network = build_network(config.model, self.train_set.classes, "" if state else config.model.weights)
        model.set_grad_checkpointing(config.run.grad_checkpointing)
        keep_memory()
        on_gpu = self.accelerator.device.type == "cuda"
        self.saving = recompute if on_gpu else nullcontext  # where kernels pool and normalise, again is cheaper than kept
        self.memory_format = torch.channels_last_3d if config.run.channels_last else torch.contiguous_format
        model = model.to(self.accelerator.device).to(memory_format=self.memory_format)
        self.ema, self.replica = None, copy.deepcopy(model) if is_sharded(self.accelerator) else None
        if self.optim.ema_decay:
            if self.replica is not None:
                raise SmallBigError(
                    "a moving average of weights that are sharded (FSDP) isn't kept; set it to 0", "optim.ema_decay"
                )
            self.ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(self.optim.ema_decay), use_buffers=True)
            self.accelerator.register_for_checkpointing(self.ema)
        sgd = torch.optim.SGD(
            model.parameters(),
            lr=highest_rate(self.optim),
            momentum=self.optim.momentum,
            nesterov=self.optim.nesterov,
            weight_decay=self.optim.weight_decay,
        )
        self.model, self.optimizer = self.accelerator.prepare(model, sgd)
        self.progress = Progress()
        self.accelerator.register_for_checkpointing(self.progress)
        source = {"source": "smallbig train", "smallbignet": __version__, "started from": config.model.weights or "random"}
        self.model_config = ModelConfig(network, self.train_set.classes, config.clip, config.input, config.run.views, source)
        self.accelerator.wait_for_everyone()
        if state:
            self.accelerator.load_state(str(state))
        if self.is_main:
            self.directory.start(config, parts, self.progress.epoch)
            if (rate := highest_rate(self.optim)) != self.optim.lr:
                base, size = self.optim.lr_base_size, self.optim.batch_size
                console.print(f"learning rate {rate:g}: {self.optim.lr:g}, for batches of {base}, in proportion to {size}")

    @property
    def is_main(self) -> bool:
        return self.accelerator.is_main_process

    @property
    def steps_per_epoch(self) -> int:
        return max(len(self.train_set) // self.optim.batch_size, 1)

    @property
    def clips_per_epoch(self) -> int:
        return self.steps_per_epoch * min(self.optim.batch_size, len(self.train_set))

    def run(self) -> TrainReport:
        """Trains what is left of the run."""
        progress, clips = self.progress, self.clips_per_epoch
        done = progress.epoch * clips + progress.batch * clips // self.steps_per_epoch
        with bar("train", self.optim.epochs * clips, "clips", done, visible=self.is_main) as self.bar:
            while progress.epoch < self.optim.epochs:
                self._train_epoch()
                self._finish_epoch()
            if progress.test is None:
                progress.test = self._test(self._score(self._whole_model(), self.run_spec.views))
                self._save_state()
        return self._report()

    def _train_epoch(self) -> None:
        self.model.train()
        if self.optim.freeze_bn:
            freeze_statistics(self.model)
        started, progress = time.monotonic(), self.progress
        # the totals stay on the device: reading them at every step would make it wait
        totals = torch.tensor(progress.totals, device=self.accelerator.device) * self.is_main
        for parts in self._batches():
            epoch = progress.epoch + progress.batch / self.steps_per_epoch
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.optim, epoch)
            seed = self._seed_step()
            for part, batch in enumerate(parts):
                totals += self._step(batch, seed + part)
                self._note_unreadable(batch)
            if self.ema:
                self.ema.update_parameters(self.accelerator.unwrap_model(self.model))
            progress.batch += 1
            clips = sum(len(batch.rows) for batch in parts) * self.accelerator.num_processes
            self.bar.advance(clips, f"epoch {progress.epoch + 1}/{self.optim.epochs}")
            last = progress.batch == self.steps_per_epoch
            save = last or progress.batch % self.run_spec.save_steps == 0
            if save or progress.batch % 10 == 0:
                self._check(totals)
            if save:
                progress.seconds, started = progress.seconds + time.monotonic() - started, time.monotonic()
                if not last:
                    self._save_state()

    def _batches(self) -> Iterator[list[Batch]]:
        """The rest of the epoch, each batch as this process's share of it, in `accumulate` parts."""
        process, processes, parts = self.accelerator.process_index, self.accelerator.num_processes, self.optim.accumulate
        batches = epoch_batches(len(self.train_set), self.optim.batch_size, self.run_spec.seed, self.progress.epoch)
        mine = [batch[process::processes] for batch in batches[self.progress.batch :]]
        keys = [batch[part::parts] for batch in mine for part in range(parts)]
        loader = iter(make_loader(self.clips.read_batch, keys, self.run_spec.workers))
        for _ in mine:
            yield [next(loader) for _ in range(parts)]

    def _step(self, batch: Batch, seed: int) -> Tensor:
        """Forward, backward and, with a batch's last part, an update; answers [loss summed, correct, clips]."""
        labels = batch.labels.to(self.accelerator.device, non_blocking=True)
        images = to_input(batch.clips.to(self.accelerator.device, non_blocking=True), self.config.input)
        images, targets = mix(images, labels, len(self.train_set.classes), self.config.augment, seed)
        with self.accelerator.accumulate(self.model):
            with self.saving():
                logits = self.model(images.contiguous(memory_format=self.memory_format))  # Accelerate brings the autocast
            loss = F.cross_entropy(logits.float(), targets, label_smoothing=self.optim.label_smoothing)
            self.accelerator.backward(loss)
            if self.optim.clip_grad and self.accelerator.sync_gradients:
                self.accelerator.clip_grad_norm_(self.model.parameters(), self.optim.clip_grad)
            self.optimizer.step()
            self.optimizer.zero_grad()
        correct = (logits.argmax(1) == labels).sum()
        return torch.stack([loss.detach() * len(labels), correct.float(), torch.tensor(float(len(labels)), device=loss.device)])

    def _seed_step(self) -> int:
        """Seeds dropout by the step's place, and answers the seed."""
        place = [self.run_spec.seed, self.progress.epoch, self.progress.batch, self.accelerator.process_index]
        seed = int(np.random.SeedSequence(place).generate_state(1)[0])
        on_gpu = self.accelerator.device.type == "cuda"
        (torch.cuda.manual_seed if on_gpu else torch.default_generator.manual_seed)(seed)
        return seed

    def _note_unreadable(self, batch: Batch) -> None:
        for video in batch.unreadable:
            if video.path not in self.progress.unreadable:
                self.progress.unreadable[video.path] = video.reason
                console.print(f"unreadable, replaced by another video: {video.path}: {video.reason}")

    def _check(self, totals: Tensor) -> None:
        """Collects what all processes have seen, and stops all of them where it makes no sense to go on."""
        progress = self.progress
        progress.totals = self.accelerator.reduce(totals).tolist()
        progress.unreadable = dict(gather_object(list(progress.unreadable.items())))
        if not math.isfinite(progress.totals[0]):
            place = f"epoch {progress.epoch + 1}, step {progress.batch}"
            raise WorkError(f"the loss is no longer a number at {place}; try a lower optim.lr, optim.clip_grad or fp32")
        if len(progress.unreadable) > self.config.data.max_unreadable * len(self.train_set):
            share = f"{len(progress.unreadable)} of {len(self.train_set)} training videos can't be read"
            what = f"{share}, more than data.max_unreadable allows; `smallbig check` finds them and writes a clean list"
            raise WorkError(what, self.config.data.train)

    def _finish_epoch(self) -> None:
        """Keeps the last and the best model, validates, writes the metrics, and saves the state to resume from."""
        progress, epoch = self.progress, self.progress.epoch + 1
        loss, correct, clips = progress.totals
        trained = {"epoch": epoch, "split": "train", "loss": loss / clips, "top1": correct / clips}
        self._log(trained | {"lr": learning_rate(self.optim, epoch), "seconds": round(progress.seconds, 2)})
        said = f"epoch {epoch}/{self.optim.epochs}  loss {loss / clips:.3f}  top-1 {correct / clips:.1%}"
        model = self._whole_model()
        if self.is_main:
            save_model(model, self.model_config, self.directory.last)
        if epoch % self.run_spec.val_epochs == 0 or epoch == self.optim.epochs:
            said += f"  validation: {self._validate(model, epoch)}"
        if self.is_main:
            console.print(f"{said}  ({progress.seconds:.0f} s)")
        progress.epoch, progress.batch, progress.totals = epoch, 0, [0.0, 0.0, 0.0]
        self._save_state()

    def _whole_model(self) -> Any:
        """The network to test and to keep, in eval mode, the same on every process: the average where there is one."""
        if self.replica is not None:
            self.replica.load_state_dict(gather_state(self.accelerator, self.model))
            return self.replica.eval()
        model: Any = self.ema.module if self.ema else self.accelerator.unwrap_model(self.model)
        broadcast(list(model.buffers()))  # each process's normalisations have seen other clips; the first's are kept
        return model.eval()

    def _validate(self, model: Any, epoch: int) -> str:
        """Scores the validation videos, keeps the model if it is the best, and answers the figures in words."""
        progress, spec = self.progress, self.run_spec
        val = self._score(model, spec.val_views)
        progress.last, progress.val_videos = val.accuracy(), len(val.videos)
        progress.val_unreadable = {video.path: video.reason for video in val.unreadable}
        if progress.last > progress.best[0]:
            progress.best = (progress.last, epoch)
            if self.is_main:
                save_model(model, self.model_config, self.directory.best)
        figures = {"loss": val.loss(), "top1": progress.last, "top5": val.accuracy(5), "videos": len(val.videos)}
        self._log({"epoch": epoch, "split": "val"} | figures)
        if epoch == self.optim.epochs and spec.val_views == spec.views:
            progress.test = self._test(val)
        return f"loss {val.loss():.3f}  top-1 {progress.last:.1%}"

    def _test(self, result: Evaluation) -> FinalTest:
        return FinalTest("last", self.run_spec.views, len(result.videos), result.accuracy(), result.accuracy(5))

    def _log(self, line: dict[str, Any]) -> None:
        if self.is_main:
            self.directory.log(line)

    def _score(self, model: Any, views: str) -> Evaluation:
        """Scores of the validation videos, on all processes."""
        spec, precision = self.run_spec, "bf16" if self.run_spec.precision == "bf16" else "fp32"
        classifier = VideoClassifier(model, self.model_config, self.accelerator.device, precision)

        def say(_: int) -> None:
            self.bar.advance(0, f"epoch {min(self.progress.epoch + 1, self.optim.epochs)}/{self.optim.epochs}, views {views}")

        return score_videos(classifier, self.val_set, views, self.config.data, spec.workers, say)

    def _save_state(self) -> None:
        if self.is_main:
            fresh = fresh_folder(self.directory.state)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(fresh_name(self.directory.state)))
        self.accelerator.wait_for_everyone()
        if self.is_main:
            install(fresh, self.directory.state)

    def _check_batch(self) -> None:
        processes, parts = self.accelerator.num_processes, self.optim.accumulate
        if self.optim.batch_size % (processes * parts):
            where = f"batch_size {self.optim.batch_size}, {processes} processes, accumulate {parts}"
            raise SmallBigError("optim.batch_size must be a multiple of the processes times optim.accumulate", where)
        if len(self.train_set) < processes * parts:
            what = f"{len(self.train_set)} training videos are too few for {processes * parts} parts of a batch"
            raise SmallBigError(what, self.config.data.train)

    def _report(self) -> TrainReport:
        progress = self.progress
        assert progress.test is not None  # the run has ended
        report = TrainReport(
            directory=str(self.directory.path),
            best_top1=progress.best[0],
            best_epoch=progress.best[1],
            last_top1=progress.last,
            test=progress.test,
            epochs=progress.epoch,
            clips_per_second=progress.epoch * self.clips_per_epoch / max(progress.seconds, 1e-9),
            seconds=progress.seconds,
            train_videos=len(self.train_set),
            val_videos=progress.val_videos,
            unreadable=progress.unreadable | progress.val_unreadable,
        )
        if self.is_main:
            self.directory.finish(report)
        self.accelerator.end_training()
        return report
