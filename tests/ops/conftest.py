"""Where Triton's kernels run in the tests: on a GPU, which makes GPU tests of them, or in Triton's interpreter."""

import pytest
import torch

ON_GPU = torch.cuda.is_available()


@pytest.fixture(params=[pytest.param("cuda", marks=pytest.mark.gpu) if ON_GPU else "cpu"])
def device(request, monkeypatch) -> str:
    pytest.importorskip("triton", reason="Triton comes with PyTorch's CUDA wheels")
    if request.param == "cuda":
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
        monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
        return "cuda"
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    from smallbignet.ops import max_pool_triton, norm_relu_triton

    monkeypatch.setattr(max_pool_triton, "BLOCK", 128)  # small blocks, to have several of them, and quickly
    monkeypatch.setattr(norm_relu_triton, "ROWS", 16)
    monkeypatch.setattr(norm_relu_triton, "CHANNELS", 4)
    monkeypatch.setattr(norm_relu_triton, "PROGRAMS", 2)
    return "cpu"


@pytest.fixture(params=[torch.float32, *[torch.bfloat16, torch.float16][: 2 * ON_GPU]], ids=str)
def precision(request) -> torch.dtype:
    """Of a whole training step: the interpreter takes its time for one."""
    return request.param
