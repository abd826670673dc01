"""Where Triton's kernels run in the tests: on a GPU, or in Triton's interpreter."""

import pytest
import torch


@pytest.fixture
def device(monkeypatch) -> str:
    pytest.importorskip("triton", reason="Triton comes with PyTorch's CUDA wheels")
    if torch.cuda.is_available():
        return "cuda"
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    from smallbignet.ops import max_pool_triton, norm_relu_triton

    monkeypatch.setattr(max_pool_triton, "BLOCK", 128)  # small blocks, to have several of them, and quickly
    monkeypatch.setattr(norm_relu_triton, "ROWS", 16)
    monkeypatch.setattr(norm_relu_triton, "CHANNELS", 4)
    monkeypatch.setattr(norm_relu_triton, "PROGRAMS", 2)
    return "cpu"
