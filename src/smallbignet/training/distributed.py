"""What training on several processes takes besides Accelerate."""

from __future__ import annotations

import re
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, broadcast_object_list
from torch import nn

from smallbignet.errors import SmallBigError
from smallbignet.training.settings import TrainConfig

# how gloo and NCCL say that a process they were waiting for is gone
LOST = re.compile(r"closed by peer|reset by peer|broken pipe|remote process|watchdog|timed? ?out|connection refused", re.I)


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Accelerate on the device and in the precision of the settings.

    Raises:
        SmallBigError: fp16 without a GPU, or no such device.
    """
    cpu = config.run.device == "cpu" or not torch.cuda.is_available()
    if config.run.device == "cuda" and cpu:
        raise SmallBigError("there is no CUDA device here", "run.device cuda")
    if config.run.precision == "fp16" and cpu:
        raise SmallBigError("fp16 needs a GPU; a processor has bf16", "run.precision fp16")
    precision = {"fp32": "no"}.get(config.run.precision, config.run.precision)
    AcceleratorState._reset_state()  # else a process's second run could not have another precision than its first
    return Accelerator(cpu=cpu, mixed_precision=precision, gradient_accumulation_steps=config.optim.accumulate)


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether each process holds a part of the network only (FSDP)."""
    return accelerator.distributed_type == DistributedType.FSDP


def gather_state(accelerator: Accelerator, model: nn.Module) -> dict[str, Any]:
    """The whole state dict of a sharded network, on every process."""
    [state] = broadcast_object_list([accelerator.get_state_dict(model)])
    return state


def lost_process(error: RuntimeError) -> bool:
    """Whether an error says that another process of the run is gone."""
    return torch.distributed.is_available() and torch.distributed.is_initialized() and bool(LOST.search(str(error)))
