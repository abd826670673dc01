"""How many bytes of each clip a training step in bfloat16 on a GPU keeps and moves, counted without a GPU.

    python experiments/gpu_bytes.py [--networks NETWORK ...]

Each network takes steps on tensors that have a shape and a type but no memory, with the operations that run on a GPU, in
batches of 2 and 3; the difference is what one clip costs. Prints a Markdown table in MB:

- kept: what the forward pass keeps for the backward pass;
- moved: what operations and Triton kernels read and write, each tensor once, except that PyTorch's normalisation reads its
  input twice. The copies that cuDNN makes of tensors in another memory format, such as plain's, are not counted;
- at least: every convolution's input and output, three times: forward, for the gradient of the input, for that of the weights.
"""

from __future__ import annotations

import argparse
import os
from contextlib import nullcontext
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from triton.runtime.jit import JITFunction

from smallbignet import ops
from smallbignet.models.zoo import list_models
from smallbignet.ops import max_pool_triton, norm_relu_triton  # noqa: F401  (imported before TRITON_INTERPRET is set)
from smallbignet.ops.recompute import kept_for, recompute
from smallbignet.timing.cases import build_network

CLIP = (8, 224)  # frames, size
NETWORKS = ("smallbig_r50", "smallbig_r23", "smallbig_slowonly_r50", "slowonly_r50")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=list_models(), metavar="NETWORK")
    args = parser.parse_args()
    os.environ["TRITON_INTERPRET"] = "1"  # so that the operations of a GPU are chosen without one
    print("| network | kept, plain | ours | ratio | moved, plain | ours | ratio | at least |")
    print("|---|---|---|---|---|---|---|---|")
    for name in args.networks:
        kept, moved, least = zip(*(of_a_clip(name, plain) for plain in (True, False)), strict=True)
        cells = [f"{a / 1e6:.0f} | {b / 1e6:.0f} | {b / a:.2f}" for a, b in (kept, moved)]
        print(f"| {name} | {' | '.join(cells)} | {least[1] / 1e6:.0f} |", flush=True)


def of_a_clip(name: str, plain: bool) -> tuple[int, ...]:
    """Return the bytes of a clip: kept, moved, and what its convolutions have to move."""
    last = torch.contiguous_format if plain else torch.channels_last_3d
    network = build_network(name).train().to(torch.bfloat16, memory_format=last)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.float()
    with FakeTensorMode(allow_non_fake_inputs=True), ops.plain() if plain else nullcontext():
        clips = [torch.empty(n, 3, CLIP[0], CLIP[1], CLIP[1], dtype=torch.bfloat16).to(memory_format=last) for n in (2, 3)]
        two, three = (_of_a_batch(network, batch, plain) for batch in clips)
    return tuple(more - fewer for fewer, more in zip(two, three, strict=True))


def _of_a_batch(network: nn.Module, clips: Tensor, plain: bool) -> tuple[int, int, int]:
    kept: dict[int, Tensor] = {}  # by memory

    def keep(x: Tensor) -> Tensor:
        kept.update({needed.untyped_storage()._cdata: needed for needed in kept_for(x)})
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x), patch.object(JITFunction, "run", lambda *_, **__: None):
        network(clips)
    moved = Moved()
    with moved, patch.object(JITFunction, "run", lambda _kernel, *arguments, **_options: moved.add(arguments)):
        with nullcontext() if plain else recompute():
            loss = F.cross_entropy(network(clips).float(), torch.zeros(len(clips), dtype=torch.long))
        loss.backward()
    return sum(x.untyped_storage().nbytes() for x in kept.values()), moved.bytes, moved.convolutions


class Moved(TorchDispatchMode):
    """Adds up the bytes that operations read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.convolutions = 0

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        result = operation(*arguments, **(options or {}))
        if operation.namespace == "aten" and not operation.is_view and "empty" not in operation.name():
            self.add((arguments, options, result))
        if "batch_norm" in operation.name():  # the input, and in the backward pass the gradient too, is read again
            self.add(arguments[:2] if "backward" in operation.name() else arguments[0])
        if operation is torch.ops.aten.convolution.default:  # three times: forward and two gradients
            self.convolutions += 3 * (_size(arguments[0]) + _size(result))
        return result

    def add(self, arguments: object) -> None:
        self.bytes += sum(_size(x) for x in tree_leaves(arguments) if isinstance(x, Tensor))


def _size(x: Tensor) -> int:
    return min(x.numel() * x.element_size(), x.untyped_storage().nbytes())  # an expanded tensor is as large as its memory


if __name__ == "__main__":
    main()
