"""Traces what torch.compile would compile for a GPU that need not be there: a fused network, and a training step.

    python tests/ops/trace_step.py

Prints one line for each graph: the number of its Triton kernels. Apart from the tests, for the reason in `compile_kernels.py`.
Tensors of a CPU stand in for those of a GPU, and no kernel runs.
"""

import torch
import torch.nn.functional as F
import torch.utils._triton
import triton
from no_device import NoDevice
from torch._dynamo.backends.common import aot_autograd
from triton.runtime.jit import JITFunction

from smallbignet import create_model, fuse
from smallbignet.ops import choice, conv, max_pool, norm_relu

LAST = torch.channels_last_3d


def count_kernels(graph: torch.fx.GraphModule, _inputs: list) -> torch.fx.GraphModule:
    print(sum("triton" in str(node.target) for node in graph.graph.nodes))
    return graph


def main() -> None:
    triton.runtime.driver.set_active(NoDevice(90))
    torch.utils._triton.has_triton = lambda: True
    JITFunction.run = lambda *_arguments, **_options: None
    for module in (choice, max_pool, norm_relu):
        module.uses_kernels = lambda _: True
    for module in (choice, conv):
        module.as_on_gpu = lambda _: True
    torch.manual_seed(0)
    network = create_model("smallbig_r23", 3, width=8, stages=["2d", "typical", "full", "2d"])
    for stage in (network.res2, network.res3, network.res4, network.res5):
        del stage[1:]
    network = network.to(memory_format=LAST)
    clips = torch.randn(2, 3, 4, 64, 64).to(memory_format=LAST)
    fused = torch.compile(fuse(network.eval()), backend=aot_autograd(fw_compiler=count_kernels), fullgraph=True)
    fused(clips)
    torch._dynamo.reset()
    compiled = torch.compile(network.train(), backend=aot_autograd(fw_compiler=count_kernels), fullgraph=True)
    F.cross_entropy(compiled(clips), torch.tensor([0, 1])).backward()


if __name__ == "__main__":
    main()
