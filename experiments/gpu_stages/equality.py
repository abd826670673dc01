"""A step of SGD on the GPU beside the CPU's in float64, through Accelerate as `smallbig train` makes it."""

from __future__ import annotations

import copy
import os
import socket
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from accelerate import Accelerator, GradScalerKwargs
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from gpu_stages.scale import Scale
from gpu_stages.training import allow_tf32
from gpu_stages.worker import Turn
from smallbignet import create_model, ops
from smallbignet.ops.choice import is_plain
from smallbignet.ops.recompute import recompute

# How far a step may be from the CPU's, relative to its length: this much, or twice as far as the step of plain PyTorch in the
# same precision on the same device. Normalisations magnify roundings: plain PyTorch's step on a CPU is off by 0.065 in float16,
# and by 0.18 in bfloat16.
BOUND, TIMES_PLAIN = 5e-3, 2.0
LOSS_SCALE = 2.0**10  # no gradient overflows; the default would find such a scale by skipping steps
CLIPS, FRAMES, SIDE, SQUARE = 8, 8, 64, 16


@dataclass
class Reference:
    """A network, what it is trained on, and the changes of its weights by the CPU's step in float64."""

    network: nn.Module
    clips: Tensor
    labels: Tensor
    changes: Tensor


def step(turn: Turn, scale: Scale, case: str) -> None:
    """Tell how far a step is from the CPU's, and how far plain PyTorch's is: the difference's length by that of the changes.

    Args:
        case: fp32, fp16 or bf16; checkpointing or FSDP, both in float32.
    """
    allow_tf32(False)
    plain = 0.0
    if case in ("fp32", "fp16", "bf16"):
        with ops.plain():
            plain = difference(case, scale)
        turn.tell({"plain": plain})
    turn.tell({"difference": difference(case, scale), "bound": max(BOUND, TIMES_PLAIN * plain)})


def difference(case: str, scale: Scale) -> float:
    reference = make_reference()
    changes = weights(stepped(reference, case, scale), reference.network) - weights_before(reference)
    return ((changes - reference.changes).norm() / reference.changes.norm()).item()


@cache
def make_reference() -> Reference:
    torch.manual_seed(0)
    network = create_model("smallbig_r23", 10, width=16)
    for stage in (network.res2, network.res3, network.res4, network.res5):
        del stage[1:]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d) and not module.weight.any():
            nn.init.uniform_(module.weight, 0.2, 0.6)
    reference = Reference(network, make_clips(), torch.arange(CLIPS), torch.empty(0))
    exact = copy.deepcopy(network).double()
    F.cross_entropy(exact(reference.clips.double()), reference.labels).backward()
    sgd(exact).step()
    reference.changes = weights(exact.state_dict(), network) - weights_before(reference)
    return reference


def make_clips() -> Tensor:
    """Return squares of other colours in each clip, and a little noise: clips of noise alone are all alike to the network."""
    squares = torch.randn(CLIPS, 3, 1, SIDE // SQUARE, SIDE // SQUARE)
    return squares.repeat_interleave(SQUARE, 3).repeat_interleave(SQUARE, 4) + 0.1 * torch.randn(CLIPS, 3, FRAMES, SIDE, SIDE)


def weights(state: dict[str, Tensor], network: nn.Module) -> Tensor:
    """Return all parameters of a state dict in one row of float64."""
    return torch.cat([state[name].detach().cpu().double().flatten() for name, _ in network.named_parameters()])


def weights_before(reference: Reference) -> Tensor:
    return weights(reference.network.state_dict(), reference.network)


def sgd(network: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)


def stepped(reference: Reference, case: str, scale: Scale) -> dict[str, Tensor]:
    """Return the state dict after a step of a case."""
    if case == "FSDP":
        join_a_group_of_one()
    precision = case if case in ("bf16", "fp16") else "no"
    AcceleratorState._reset_state()  # else a process could not have another precision than its first
    scaler = GradScalerKwargs(init_scale=LOSS_SCALE)
    accelerator = Accelerator(cpu=not scale.on_gpu, mixed_precision=precision, kwargs_handlers=[scaler])
    network = copy.deepcopy(reference.network).to(accelerator.device)
    if case != "FSDP":  # which takes parameters in the default format only
        network = network.to(memory_format=torch.channels_last_3d)
    network.set_grad_checkpointing(case == "checkpointing")
    network, optimizer = accelerator.prepare(network, sgd(network))
    clips = reference.clips.to(accelerator.device).contiguous(memory_format=torch.channels_last_3d)
    with nullcontext() if is_plain() else recompute():
        logits = network(clips)
    accelerator.backward(F.cross_entropy(logits.float(), reference.labels.to(accelerator.device)))
    optimizer.step()
    state = accelerator.get_state_dict(network)
    accelerator.end_training()
    return state


def join_a_group_of_one() -> None:
    """Set the environment that `accelerate launch --num_processes 1 --use_fsdp --fsdp_version 2` gives a process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "SIZE_BASED_WRAP"}
    os.environ |= {"FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT", "FSDP_RESHARD_AFTER_FORWARD": "true"}
