"""The inference form as it runs on a GPU: in Triton's interpreter, and in one piece through torch.compile."""

import pytest
import torch

from smallbignet.inference import folded_conv, fuse
from smallbignet.inference.fused_sum import sum_relu

FORMS = {
    "full": ("smallbig_r23", ["full"] * 4),
    "typical+se": ("smallbig_r23", ["typical+se"] * 4),
    "Tx3x3": ("smallbig_r23", ["2d", "smallbig_Tx3x3", "full+singlebn", "full+avg"]),
    "tsm and nonlocal": ("smallbig_r23", ["tsm", "nonlocal", "smallbig_3x1x1", "full+3d"]),
    "slowfast": ("slowfast_r50", None),
}
forms = pytest.mark.parametrize(("name", "stages"), FORMS.values(), ids=FORMS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="tests/inference/test_fuse.py does this on the GPU")
@forms
def test_kernels_give_the_logits(name, stages, random_network, change, monkeypatch):
    pytest.importorskip("triton", reason="Triton comes with PyTorch's CUDA wheels")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    from smallbignet.ops import max_pool_triton, norm_relu_triton

    monkeypatch.setattr(norm_relu_triton, "ROWS", 1024)  # large blocks: the interpreter takes its time for each
    monkeypatch.setattr(max_pool_triton, "BLOCK", 2**16)
    sums = []

    def counted(*arguments: object) -> torch.Tensor:
        sums.append(arguments)
        return sum_relu(*arguments)

    monkeypatch.setattr(folded_conv, "sum_relu", counted)
    monkeypatch.setattr(fuse, "sum_relu", counted)
    model = random_network(name, stages=stages, width=8)
    assert change(model, fuse.fuse(model), torch.randn(1, 3, 4, 32, 32)) < 1e-5
    assert sums


@forms
def test_the_compiler_sees_one_graph(name, stages, random_network, change):
    model = random_network(name, stages=stages, width=8)
    torch._dynamo.reset()
    form = torch.compile(fuse.fuse(model), backend="aot_eager", fullgraph=True)
    assert change(model, form, torch.randn(1, 3, 4, 32, 32)) < 1e-5
