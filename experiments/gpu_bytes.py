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
from smallbignet.inference.fuse import fuse
from smallbignet.models.zoo import list_models
from smallbignet.ops import max_pool_triton, norm_relu_triton  # noqa: F401  (imported before TRITON_INTERPRET is set)
from smallbignet.ops.recompute import kept_for, recompute
from smallbignet.timing.cases import build_network

CLIP = (8, 224)  # frames, size
SUMS_FIRST = ("aten::native_batch_norm", "aten::native_batch_norm_backward")
NETWORKS = ("smallbig_r50", "smallbig_r23", "smallbig_slowonly_r50", "slowonly_r50")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=list_models(), metavar="NETWORK")
    args = parser.parse_args()
    os.environ["TRITON_INTERPRET"] = "1"  # so that the operations of a GPU are chosen without one
    print("| network | kept, plain | ours | ratio | moved, plain | ours | ratio | at least | launches, plain | ours |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in args.networks:
        kept, moved, least, launches = zip(*(of_a_clip(name, plain) for plain in (True, False)), strict=True)
        cells = [f"{a / 1e6:.0f} | {b / 1e6:.0f} | {b / a:.2f}" for a, b in (kept, moved)]
        print(f"| {name} | {' | '.join(cells)} | {least[1] / 1e6:.0f} | {launches[0]} | {launches[1]} |", flush=True)
    print("\n| network, inference | moved, plain | ours | ratio | at least | launches, plain | ours |")
    print("|---|---|---|---|---|---|---|")
    for name in args.networks:
        moved, least, launches = zip(*(in_inference(name, plain) for plain in (True, False)), strict=True)
        cells = f"{moved[0] / 1e6:.0f} | {moved[1] / 1e6:.0f} | {moved[1] / moved[0]:.2f} | {least[0] / 1e6:.0f}"
        print(f"| {name} | {cells} | {launches[0]} | {launches[1]} |", flush=True)


def of_a_clip(name: str, plain: bool) -> tuple[int, ...]:
    """Of a training step: a clip's bytes kept, moved, and moved by its convolutions at least; and what the step launches."""
    network = make_network(name, plain).train()
    with FakeTensorMode(allow_non_fake_inputs=True), ops.plain() if plain else nullcontext():
        two, three = (_of_a_batch(network, make_clips(count, plain), plain) for count in (2, 3))
    *bytes_of_a_clip, _ = (more - fewer for fewer, more in zip(two, three, strict=True))
    return *bytes_of_a_clip, three[-1]


def in_inference(name: str, plain: bool) -> tuple[int, ...]:
    """Likewise of inference: bytes moved, and by the convolutions at least; and launches."""
    network = make_network(name, plain).eval()
    form = network if plain else fuse(network, torch.bfloat16)
    counts = []
    with FakeTensorMode(allow_non_fake_inputs=True), ops.plain() if plain else nullcontext(), torch.no_grad():
        for count in (2, 3):
            with Moved() as moved:
                form(make_clips(count, plain))
            counts.append(moved)
    two, three = counts
    return three.bytes - two.bytes, three.convolutions - two.convolutions, three.launches


def make_network(name: str, plain: bool) -> nn.Module:
    memory_format = torch.contiguous_format if plain else torch.channels_last_3d
    network = build_network(name).to(torch.bfloat16, memory_format=memory_format)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.float()
    return network


def make_clips(count: int, plain: bool) -> Tensor:
    clips = torch.empty(count, 3, CLIP[0], CLIP[1], CLIP[1], dtype=torch.bfloat16)
    return clips.to(memory_format=torch.contiguous_format if plain else torch.channels_last_3d)


def _of_a_batch(network: nn.Module, clips: Tensor, plain: bool) -> tuple[int, ...]:
    kept: dict[int, Tensor] = {}  # by memory

    def keep(x: Tensor) -> Tensor:
        kept.update({needed.untyped_storage()._cdata: needed for needed in kept_for(x)})
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x), patch.object(JITFunction, "run", lambda *_, **__: None):
        network(clips)
    network.zero_grad()
    with Moved() as moved:
        with nullcontext() if plain else recompute():
            loss = F.cross_entropy(network(clips).float(), torch.zeros(len(clips), dtype=torch.long))
        loss.backward()
    convolutions = 3 * moved.convolutions  # forward and two gradients
    return sum(x.untyped_storage().nbytes() for x in kept.values()), moved.bytes, convolutions, moved.launches


class Moved(TorchDispatchMode):
    """Adds up what operations and kernels read and write, and counts them. Kernels don't run."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.convolutions = self.launches = 0
        self.kernels = patch.object(JITFunction, "run", lambda _kernel, *arguments, **_options: self.add(arguments))

    def __enter__(self) -> Moved:
        self.kernels.start()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.kernels.stop()

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        result = operation(*arguments, **(options or {}))
        if operation.namespace == "aten" and not operation.is_view and "empty" not in operation.name():
            self.add((arguments, options, result))
        if operation.name() in SUMS_FIRST:  # it passes over the gradient and the input, or the input alone, twice
            self.add(arguments[:2] if "backward" in operation.name() else arguments[0], launches=0)
        if operation is torch.ops.aten.convolution.default:
            self.convolutions += _size(arguments[0]) + _size(result)
        return result

    def add(self, arguments: object, launches: int = 1) -> None:
        self.bytes += sum(_size(x) for x in tree_leaves(arguments) if isinstance(x, Tensor))
        self.launches += launches


def _size(x: Tensor) -> int:
    return min(x.numel() * x.element_size(), x.untyped_storage().nbytes())  # an expanded tensor is as large as its memory


if __name__ == "__main__":
    main()
