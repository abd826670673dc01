"""The network while it is trained: one optimizer step, and the moving average of its weights (EMA)."""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from smallbignet.data.datasets import Batch
from smallbignet.data.transforms import mix, to_input
from smallbignet.errors import SmallBigError
from smallbignet.models.network import VideoNetwork
from smallbignet.models.smallbig import Bottleneck
from smallbignet.models.zoo import build_model
from smallbignet.ops.recompute import recompute
from smallbignet.training.distributed import gather_state, is_sharded
from smallbignet.training.loss import classification_loss, multilabel_loss
from smallbignet.training.schedule import BATCH_NORMS, freeze_statistics, highest_rate
from smallbignet.training.settings import NetworkSpec, OptimSpec, TrainConfig
from smallbignet.weights.adapter import ADDED, CLASSIFIER
from smallbignet.weights.load import load_weights

STAGES = ["stem", "res2", "res3", "res4", "res5"]


class Learner:
    """A network, its optimizer and the moving average of its weights, on the accelerator's device.

    Args:
        class_weights: (num_classes,) the weight of each class in the loss, or of its videos where they may have several
            classes; None where all count the same.

    Attributes:
        model: the network as Accelerate wraps it.
        average: the moving average of the network; None if `optim.ema_decay` is 0.
        replica: under FSDP, where a process holds only a part of `model`: a whole network, which the parts are gathered into.

    Raises:
        SmallBigError: a moving average is asked for under FSDP.
    """

    def __init__(
        self,
        network: VideoNetwork,
        num_classes: int,
        config: TrainConfig,
        accelerator: Accelerator,
        class_weights: Tensor | None = None,
    ):
        self.config = config
        self.num_classes = num_classes
        self.accelerator = accelerator
        self.memory_format = torch.channels_last_3d if config.run.channels_last else torch.contiguous_format
        self.class_weights = None if class_weights is None else class_weights.to(accelerator.device)
        network.set_grad_checkpointing(config.run.grad_checkpointing)
        self.frozen = freeze_stages(network, config.model.freeze)
        sharded = is_sharded(accelerator)
        # FSDP refuses parameters in another memory format than the default; the activations are in the chosen one all the same
        weights_format = torch.contiguous_format if sharded else self.memory_format
        network = network.to(accelerator.device).to(memory_format=weights_format)
        # on a GPU it takes less time to pool and normalise again than to keep the results in memory
        self.saving = recompute if accelerator.device.type == "cuda" else nullcontext
        self.replica = copy.deepcopy(network) if sharded else None
        self.average = self._make_average(network)
        self.model, self.optimizer = accelerator.prepare(network, make_optimizer(network, config.optim))

    def _make_average(self, network: VideoNetwork) -> AveragedModel | None:
        if not self.config.optim.ema_decay:
            return None
        if self.replica is not None:
            raise SmallBigError("there is no moving average of sharded weights (FSDP); set it to 0", "optim.ema_decay")
        average = AveragedModel(network, multi_avg_fn=warm_average(self.config.optim.ema_decay), use_buffers=True)
        self.accelerator.register_for_checkpointing(average)
        return average

    def start_epoch(self) -> None:
        """Puts the network into training mode, but for frozen stages and, under `optim.freeze_bn`, batch normalisations."""
        self.model.train()
        for stage in self.frozen:
            stage.eval()
        if self.config.optim.freeze_bn:
            freeze_statistics(self.model)

    def step(self, parts: Sequence[Batch], clips: int, rate: float, seed: int) -> list[Tensor]:
        """One optimizer step on a batch, along the gradient of the mean loss over its clips.

        Args:
            parts: the `optim.accumulate` parts of this process's share of the batch, which may differ in size.
            clips: clips of the whole batch, over all processes.
            rate: the learning rate.
            seed: for mixup; part i takes `seed` + i.

        Returns:
            one tensor for each part, on the device: (3,) loss summed over the clips, correct clips, clips, as in `Totals`.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)  # which the groups that an earlier version saved don't have
        totals = [self._train_on(part, clips, seed + number) for number, part in enumerate(parts)]
        if self.average is not None:
            self.average.update_parameters(self.accelerator.unwrap_model(self.model))
        return totals

    def _train_on(self, part: Batch, clips: int, seed: int) -> Tensor:
        """Forward and backward on one part of a batch; with the last part, the update of the weights."""
        device = self.accelerator.device
        optim = self.config.optim
        labels = part.labels.to(device, non_blocking=True)
        images = to_input(part.clips.to(device, non_blocking=True), self.config.input)
        is_multilabel = labels.dim() == 2
        images, targets = mix(images, labels.float() if is_multilabel else labels, self.num_classes, self.config.augment, seed)
        with self.accelerator.accumulate(self.model):
            with self.saving():
                logits = self._forward(images.contiguous(memory_format=self.memory_format))
            loss_of = multilabel_loss if is_multilabel else classification_loss
            loss = loss_of(logits.float(), targets, optim.label_smoothing, self.class_weights)
            # The mean over the batch is the sum over all parts of all processes of loss * len(labels) / clips. Accelerate
            # divides each loss by the number of parts, and PyTorch averages over the processes, so both are undone here.
            all_parts = optim.accumulate * self.accelerator.num_processes
            self.accelerator.backward(loss * (len(labels) * all_parts / clips))
            if optim.clip_grad and self.accelerator.sync_gradients:
                self.accelerator.clip_grad_norm_(self.model.parameters(), optim.clip_grad)
            self.optimizer.step()
            self.optimizer.zero_grad()
        best = logits.argmax(1)
        correct = (labels.gather(1, best[:, None]) if is_multilabel else best == labels).sum()
        number = torch.tensor(float(len(labels)), device=device)
        return torch.stack([loss.detach() * len(labels), correct.float(), number])

    def _forward(self, images: Tensor) -> Tensor:
        """The logits, under Accelerate's autocast.

        Raises:
            SmallBigError: one clip of small frames leaves a batch normalisation a single value, which has no variance.
        """
        try:
            return self.model(images)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            what = "one clip at a time is too little for batch normalisation; use a larger optim.batch_size or input.size, a"
            where = f"optim.batch_size {self.config.optim.batch_size}, optim.accumulate {self.config.optim.accumulate}"
            raise SmallBigError(f"{what} smaller optim.accumulate, or optim.freeze_bn true", where) from error

    def whole_model(self) -> Any:
        """The network to validate and to save, the same on every process, in eval mode: the moving average if there is one."""
        if self.replica is not None:
            self.replica.load_state_dict(gather_state(self.accelerator, self.model))
            return self.replica.eval()
        model: Any = self.average.module if self.average else self.accelerator.unwrap_model(self.model)
        # Each process has other statistics of batch normalisation, from the clips that it saw. The first process's are kept.
        broadcast(list(model.buffers()))
        return model.eval()


def warm_average(decay: float) -> Callable[[Any, Any, Any], None]:
    """The update of an exponential moving average whose decay warms up: min(decay, (1 + n) / (10 + n)) after n updates.

    With a fixed decay, a short run's average would still consist of the weights that it started with. The rule is that of
    TensorFlow's `ExponentialMovingAverage(num_updates=n)`.
    """

    def update(averaged: Any, current: Any, updates: Any) -> None:
        number = int(updates)
        get_ema_multi_avg_fn(min(decay, (1 + number) / (10 + number)))(averaged, current, updates)

    return update


def make_optimizer(network: VideoNetwork, optim: OptimSpec) -> torch.optim.Optimizer:
    """The optimizer of the parameters that are not frozen, in groups by their `factor` of the learning rate and their decay."""
    is_new = re.compile("|".join((*ADDED, CLASSIFIER)))
    norms = {p for module in network.modules() if isinstance(module, BATCH_NORMS) for p in module.parameters()}
    grouped = defaultdict(list)
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            factor = 1.0 if is_new.fullmatch(name) else optim.backbone_lr
            decay = optim.weight_decay if optim.decay_norms or parameter not in norms else 0.0
            grouped[factor, decay].append(parameter)
    groups = [
        {"params": parameters, "factor": factor, "weight_decay": decay} for (factor, decay), parameters in grouped.items()
    ]
    rate = highest_rate(optim)
    if optim.name == "adamw":
        return torch.optim.AdamW(groups, lr=rate)
    return torch.optim.SGD(groups, lr=rate, momentum=optim.momentum, nesterov=optim.nesterov)


def freeze_stages(network: VideoNetwork, last: str) -> list[nn.Module]:
    """Freezes the stages of a network up to one, and returns them.

    Args:
        last: "stem", "res2", ... or "res5"; "" freezes nothing.

    Raises:
        SmallBigError: the network has no such stages, as SlowFast, which has two of each.
    """
    names = STAGES[: STAGES.index(last) + 1] if last else []
    stages = [stage for name, stage in network.named_children() if name in names]
    if len(stages) != len(names):
        what = "this network has no stem, res2, ..., res5 of its own to freeze; leave this setting empty"
        raise SmallBigError(what, f"model.freeze {last}")
    for stage in stages:
        stage.requires_grad_(False)
    return stages


def build_network(spec: NetworkSpec, classes: list[str], weights: str) -> tuple[VideoNetwork, dict[str, Any]]:
    """The network to train, with the weights of that name (see `load_weights`), and the arguments of `create_model` for it."""
    model_args: dict[str, Any] = {
        "name": spec.name,
        "num_classes": len(classes),
        "stages": spec.stages,
        "width": spec.width,
        "drop_rate": spec.drop_rate,
    }
    model = build_model(**model_args)
    if spec.zero_init_residual:
        for module in model.modules():
            if isinstance(module, Bottleneck):
                nn.init.zeros_(module.unit3.bn.weight)
    if weights:
        load_weights(model, weights, classes)
    return model, model_args
