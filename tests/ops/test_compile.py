"""torch.compile sees one graph for each pass of a network, with our pooling kernels in it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from smallbignet import create_model


def test_our_kernels_are_part_of_one_graph():
    pytest.importorskip("triton", reason="Triton comes with PyTorch's CUDA wheels")
    program = Path(__file__).with_name("trace_step.py")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    views = 3 + 3  # big views with a window, of a typical and a full block
    assert done.stdout.split() == [str(views)] * 3  # the fused form, a step's forward pass, its backward pass


def test_a_training_step_on_a_cpu_is_one_graph():
    torch.manual_seed(0)
    network, clips = create_model("smallbig_r23", 3, width=8).double(), torch.randn(2, 3, 4, 32, 32).double()
    torch._dynamo.reset()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    gradients = []
    for form in (network, compiled):
        loss = F.cross_entropy(form(clips), torch.tensor([0, 1]))
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
