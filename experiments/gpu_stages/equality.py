"""A step of SGD on the GPU beside the CPU's in float64, through Accelerate as `smallbig train` makes it."""

from __future__ import annotations

import copy
import os
import socket
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator, GradScalerKwargs
from torch import Tensor, nn

from gpu_stages.scale import Scale
from gpu_stages.training import allow_tf32
from smallbignet import create_model
from smallbignet.ops.recompute import recompute

# How far the step may be from the CPU's, relative to its length. Normalisations magnify roundings: on a CPU those to float32
# make 7e-4 of it, those to bfloat16 0.18, which is eight times what those to float16 make. The bounds are twice that or more.
BOUNDS = {"fp32": 5e-3, "bf16": 0.4, "fp16": 0.05, "checkpointing": 5e-3, "FSDP": 5e-3}
LOSS_SCALE = 2.0**10  # no gradient overflows; the default would find such a scale by skipping steps
CLIPS, FRAMES, SIDE, SQUARE = 8, 8, 64, 16


def step(scale: Scale, case: str) -> Iterator[dict[str, Any]]:
    """How far a step is from the CPU's: of the changes of all weights, the difference's length by the CPU's.

    Args:
        case: of `BOUNDS`; checkpointing and FSDP in fp32.
    """
    torch.manual_seed(0)
    network = create_model("smallbig_r23", 10, width=16)
    for stage in (network.res2, network.res3, network.res4, network.res5):
        del stage[1:]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d) and not module.weight.any():
            nn.init.uniform_(module.weight, 0.2, 0.6)
    clips, labels = make_clips(), torch.arange(CLIPS)
    before = weights(network.state_dict(), network)
    exact = weights(stepped_on_the_cpu(network, clips, labels), network) - before
    yield {}
    allow_tf32(False)
    found = weights(stepped(network, clips, labels, case, scale), network) - before
    yield {"difference": ((found - exact).norm() / exact.norm()).item(), "bound": BOUNDS[case]}


def make_clips() -> Tensor:
    """Squares of other colours in each clip, and a little noise: clips of noise alone are all the same to a random network."""
    squares = torch.randn(CLIPS, 3, 1, SIDE // SQUARE, SIDE // SQUARE)
    return squares.repeat_interleave(SQUARE, 3).repeat_interleave(SQUARE, 4) + 0.1 * torch.randn(CLIPS, 3, FRAMES, SIDE, SIDE)


def weights(state: dict[str, Tensor], network: nn.Module) -> Tensor:
    """All parameters of a state dict in one row of float64."""
    return torch.cat([state[name].detach().cpu().double().flatten() for name, _ in network.named_parameters()])


def stepped_on_the_cpu(network: nn.Module, clips: Tensor, labels: Tensor) -> dict[str, Tensor]:
    network = copy.deepcopy(network).double()
    F.cross_entropy(network(clips.double()), labels).backward()
    sgd(network).step()
    return network.state_dict()


def sgd(network: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)


def stepped(network: nn.Module, clips: Tensor, labels: Tensor, case: str, scale: Scale) -> dict[str, Tensor]:
    """The state dict after a step of a case."""
    if case == "FSDP":
        alone_in_a_group()
    precision = case if case in ("bf16", "fp16") else "no"
    scaler = GradScalerKwargs(init_scale=LOSS_SCALE)
    accelerator = Accelerator(cpu=not scale.on_gpu, mixed_precision=precision, kwargs_handlers=[scaler])
    network = copy.deepcopy(network).to(accelerator.device).to(memory_format=torch.channels_last_3d)
    network.set_grad_checkpointing(case == "checkpointing")
    network, optimizer = accelerator.prepare(network, sgd(network))
    with recompute():
        logits = network(clips.to(accelerator.device).contiguous(memory_format=torch.channels_last_3d))
    accelerator.backward(F.cross_entropy(logits.float(), labels.to(accelerator.device)))
    optimizer.step()
    return accelerator.get_state_dict(network)


def alone_in_a_group() -> None:
    """The environment that `accelerate launch --num_processes 1 --use_fsdp --fsdp_version 2` gives a process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "SIZE_BASED_WRAP"}
    os.environ |= {"FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT", "FSDP_RESHARD_AFTER_FORWARD": "true"}
