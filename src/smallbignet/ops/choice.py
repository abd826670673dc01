"""Which implementation an operation of this folder uses: PyTorch's own, the fast one for a CPU, or the Triton kernels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec

import torch
from torch import Tensor

HAS_TRITON = find_spec("triton") is not None  # it is installed with PyTorch's CUDA wheels for Linux
KERNEL_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

_plain = False


@contextmanager
def plain() -> Iterator[None]:
    """Within this context every operation of `smallbignet.ops` is PyTorch's own, for comparison with the fast ones.

    It holds for the whole process, because PyTorch may run a backward pass in another thread, which must choose the same way.
    Don't enter it while another thread trains. What `torch.compile` traces within it is compiled for the plain operations; a
    call outside compiles again.
    """
    global _plain
    before = _plain
    _plain = True
    try:
        yield
    finally:
        _plain = before


def is_plain() -> bool:
    """Whether this code runs within `plain()`."""
    return _plain


def as_on_gpu(x: Tensor) -> bool:
    """Whether the GPU's implementation applies to `x`: it is on a GPU, or the environment asks for Triton's interpreter."""
    return x.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"


def as_on_cpu(x: Tensor) -> bool:
    """Whether the implementation for CPUs applies to `x`. Not within `torch.compile`, which fuses PyTorch's own operations."""
    return x.device.type == "cpu" and not as_on_gpu(x) and not torch.compiler.is_compiling()


def uses_kernels(x: Tensor) -> bool:
    """Whether the Triton kernels apply to `x`."""
    return as_on_gpu(x) and HAS_TRITON and x.dtype in KERNEL_DTYPES


def device_of(x: Tensor) -> AbstractContextManager:
    """Return a context in which Triton launches kernels on the GPU of `x`; within `torch.compile` it does so anyway."""
    return nullcontext() if torch.compiler.is_compiling() else torch.cuda.device_of(x)
