"""Where Triton's kernels run in the tests: on a GPU, or in Triton's interpreter."""

import pytest
import torch


@pytest.fixture
def device(monkeypatch) -> str:
    pytest.importorskip("triton", reason="Triton comes with PyTorch's CUDA wheels")
    if torch.cuda.is_available():
        return "cuda"
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    from smallbignet.ops import norm_kernels, pool_kernels

    monkeypatch.setattr(pool_kernels, "BLOCK", 128)  # small blocks, to have several of them, and quickly
    monkeypatch.setattr(norm_kernels, "ROWS", 16)
    monkeypatch.setattr(norm_kernels, "CHANNELS", 4)
    monkeypatch.setattr(norm_kernels, "PROGRAMS", 2)
    return "cpu"
