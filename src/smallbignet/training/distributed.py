"""Accelerate as the settings ask for it, and what training on several processes takes besides it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, ProjectConfiguration, broadcast_object_list
from torch import nn

from smallbignet.errors import SmallBigError
from smallbignet.training.settings import TrainConfig
from smallbignet.training.trackers import find_trackers
from smallbignet.utils.machine import computes_bf16

# what gloo and NCCL say when another process has ended
LOST = re.compile(r"closed by peer|reset by peer|broken pipe|remote process|watchdog|timed? ?out|connection refused", re.I)


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Accelerate on the device, in the precision and with the trackers of the settings.

    Raises:
        SmallBigError: fp16 without a GPU, a device that this machine doesn't have, or a tracker that isn't installed.
    """
    run = config.run
    cpu = run.device == "cpu" or not torch.cuda.is_available()
    if run.device == "cuda" and cpu:
        raise SmallBigError("there is no CUDA device here; use cpu", "run.device cuda")
    if run.precision == "fp16" and cpu:
        raise SmallBigError("fp16 needs a GPU; a CPU takes bf16 or fp32", "run.precision fp16")
    chosen = run.precision
    if chosen == "auto":
        chosen = "bf16" if computes_bf16(torch.device("cpu" if cpu else "cuda")) else "fp32"
    AcceleratorState._reset_state()  # else the second run in a process could not have another precision than the first
    return Accelerator(
        cpu=cpu,
        mixed_precision="no" if chosen == "fp32" else chosen,
        gradient_accumulation_steps=config.optim.accumulate,
        log_with=find_trackers(run.trackers) or None,
        project_config=ProjectConfiguration(logging_dir=str(Path(run.dir) / "tensorboard")),
    )


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether each process holds only a part of the network (FSDP)."""
    return accelerator.distributed_type == DistributedType.FSDP


def gather_state(accelerator: Accelerator, model: nn.Module) -> dict[str, Any]:
    """The whole state dict of a sharded network, on every process."""
    [state] = broadcast_object_list([accelerator.get_state_dict(model)])
    return state


def lost_process(error: RuntimeError) -> bool:
    """Whether an error says that another process of the run has ended."""
    return torch.distributed.is_available() and torch.distributed.is_initialized() and bool(LOST.search(str(error)))
