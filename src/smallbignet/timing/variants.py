"""The variants of a network that are timed: inference and training, each in several forms and precisions."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallbignet.inference.fuse import fuse
from smallbignet.ops.recompute import kept_for, recompute
from smallbignet.timing.cases import Case, make_network
from smallbignet.timing.clips import CALIBRATION, make_noise
from smallbignet.timing.timed import Timed
from smallbignet.utils.memory import keep_memory

AUTOCAST_FORMS = ("plain", "channels_last", "compiled")  # the others choose their precision themselves, in inference


class Inference(Timed):
    """A call computes the logits of a batch of clips."""

    def __init__(self, case: Case):
        super().__init__(case)
        clips = torch.load(case.clips) if case.clips else make_noise(case.clip)
        self.clips = clips[CALIBRATION:].to(case.device)
        self.format = torch.contiguous_format if self.form == "plain" else torch.channels_last_3d
        if self.form == "fused" and not self.on_gpu:
            keep_memory()
        self.network = self._in_its_form(make_network(case.model).to(case.device).eval(), clips[:CALIBRATION])
        self.batch = self.clips[torch.arange(case.batch) % len(self.clips)]

    def call(self) -> Tensor:
        return self.compute(self.batch)

    def logits(self) -> Tensor:
        return torch.cat([self.compute(clips) for clips in self.clips.split(self.case.batch)]).cpu()

    @torch.no_grad()
    def compute(self, clips: Tensor) -> Tensor:
        """(N, 3, T, S, S) -> logits (N, num_classes), float32."""
        with self.operations(), self.autocast(self.bf16 and self.form in AUTOCAST_FORMS):
            return self.network(clips.contiguous(memory_format=self.format)).float()

    def _in_its_form(self, network: nn.Module, calibration: Tensor) -> nn.Module:
        if self.form == "channels_last":
            return network.to(memory_format=self.format)
        if self.form == "compiled":
            if not self.on_gpu:
                freeze_when_compiling()
            return torch.compile(network.to(memory_format=self.format))  # type: ignore[return-value]
        if self.form == "fused":
            return fuse(network, torch.bfloat16 if self.bf16 else torch.float32)  # type: ignore[arg-type]
        if self.form in ("openvino", "int8"):
            from smallbignet.inference.int8 import OpenVINONetwork, quantize, to_openvino

            if self.form == "int8":
                return quantize(network, calibration)
            return OpenVINONetwork(to_openvino(network, calibration.shape[1:]), "bf16" if self.bf16 else "f32")
        return network


def freeze_when_compiling() -> None:
    """Let `torch.compile` repack constant weights for the CPU. Only a private setting does that, which a PyTorch may lack."""
    settings: Any = getattr(getattr(torch, "_inductor", None), "config", None)
    if hasattr(settings, "freezing"):
        settings.freezing = True


class Training(Timed):
    """A call is a training step: forward, backward, optimizer."""

    def __init__(self, case: Case):
        super().__init__(case)
        if self.form == "fused" and not self.on_gpu:
            keep_memory()
        self.format = torch.contiguous_format if self.form == "plain" else torch.channels_last_3d
        self.network = make_network(case.model).to(case.device).to(memory_format=self.format).train()
        self.sgd = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9)
        self.forward = torch.compile(self.network, dynamic=False) if self.form == "compiled" else self.network
        self.clips: dict[int, Tensor] = {}  # the last batch, by its size
        self.batch = case.batch or self._largest_batch()

    def call(self) -> None:
        self.step(self.batch)

    def step(self, batch: int) -> None:
        """Take one step on a batch of this size."""
        self.loss(batch).backward()
        self.sgd.step()
        self.sgd.zero_grad()

    def loss(self, batch: int, saving: AbstractContextManager | None = None) -> Tensor:
        """Return the loss of a batch of noise, computed within the context `saving`; by default what the form trains in."""
        frames, size = self.case.clip
        if batch not in self.clips:
            clips = torch.randn(batch, 3, frames, size, size, device=self.case.device)
            self.clips = {batch: clips.contiguous(memory_format=self.format)}
        recomputes = self.form == "fused" and self.on_gpu and self.forward is self.network  # a compiler decides that itself
        saving = saving or (recompute() if recomputes else nullcontext())
        with self.operations(), self.autocast(self.bf16), saving:
            logits = self.forward(self.clips[batch]).float()
            return F.cross_entropy(logits, torch.arange(batch, device=self.case.device) % logits.shape[1])

    def batch_size(self) -> int:
        return self.batch

    def kept(self) -> int:
        """Return the bytes that one more clip in a batch keeps for the backward pass."""
        return self._kept(3) - self._kept(2)  # with a single clip, a normalisation may see a single value

    def _kept(self, batch: int) -> int:
        parameters = {p.data_ptr() for p in self.network.parameters()}
        kept: dict[int, Tensor] = {}  # by memory

        def keep(x: Tensor) -> Tensor:
            for needed in kept_for(x) if self.on_gpu else (x,):
                kept[needed.untyped_storage().data_ptr()] = needed
            return x.detach()  # an operation that saves its own result would keep itself alive through it

        self.loss(batch, torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x))
        return sum(x.untyped_storage().nbytes() for pointer, x in kept.items() if pointer not in parameters)

    def _largest_batch(self) -> int:
        """Return the largest multiple of 8 that fits the GPU, estimated from the memory of two small batches, then tried."""
        self.step(8)  # makes the optimizer's momentum and workspaces
        peaks = []
        for batch in (8, 16):
            torch.cuda.reset_peak_memory_stats()
            self.step(batch)
            peaks.append(torch.cuda.max_memory_allocated())
        free = 0.85 * torch.cuda.get_device_properties(self.case.device).total_memory - peaks[0]
        batch = 8 + int(free / (peaks[1] - peaks[0])) * 8
        while True:
            torch.cuda.reset_peak_memory_stats()
            try:
                self.step(batch)
                return batch
            except torch.cuda.OutOfMemoryError:  # workspaces grow with the batch, and other processes may use the GPU
                self.clips.clear()
                torch.cuda.empty_cache()
                batch -= 8
