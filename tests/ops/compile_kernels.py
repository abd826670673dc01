"""Compiles every Triton kernel of a training step for a GPU that need not be there, as the functions around them launch it.

    python tests/ops/compile_kernels.py ARCHITECTURE        (80: A100, 90: H100)

Prints one line per kernel: name, registers per thread, bytes spilled, bytes loaded at once, tensors that each of its loops
carries.
Apart from the tests, because what Triton's interpreter has been asked for can't be compiled in the same process.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from no_device import NoDevice
from torch import nn
from triton.backends.nvidia.compiler import get_ptxas
from triton.runtime.jit import JITFunction

from smallbignet.ops import max_pool_triton, norm_relu_triton

ARCHITECTURE = int(sys.argv[1])


def compile_only(kernel: JITFunction, *arguments, warmup: bool, **options):
    compiled = run(kernel, *arguments, warmup=True, **options)
    if compiled.hash not in seen:
        seen.add(compiled.hash)
        report(kernel.__name__, compiled.asm["ptx"], compiled.asm["ttir"])
    return compiled


def report(name: str, ptx: str, ttir: str) -> None:
    ptxas = getattr(get_ptxas(ARCHITECTURE), "path", get_ptxas(ARCHITECTURE))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(ptx)
        suffix = "a" if ARCHITECTURE >= 90 else ""
        command = [ptxas, "-v", f"-arch=sm_{ARCHITECTURE}{suffix}", str(source), "-o", str(source.with_suffix(".cubin"))]
        log = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    registers, spilled = (re.search(pattern, log)[1] for pattern in (r"Used (\d+) registers", r"(\d+) bytes spill stores"))
    loaded = 4 * max(int(count or 1) for count in re.findall(r"ld\.global(?:\.v(\d))?\.b", ptx))
    loops = re.findall(r"scf\.for .*?\n", ttir)
    print(name, registers, spilled, loaded, ",".join(str(loop.count(" = ") - 1) for loop in loops) or "-")


def compile_all() -> None:
    """What a step of any network of this package launches under bfloat16."""
    x = torch.zeros(2, 64, 8, 14, 14, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last_3d)
    few = x[:, :8].contiguous(memory_format=torch.channels_last_3d)
    for window in ((3, 1, 1), (3, 3, 3), (None, 3, 3), (3, 7, 7)):
        for clips in (x, few, x.contiguous()):
            y, taps = max_pool_triton.pool_forward(clips, window)
            max_pool_triton.pool_backward(clips, y, taps, window)
    norm = nn.BatchNorm3d(64)
    mean, *_ = norm_relu_triton.statistics(x, norm)
    norm_relu_triton.statistics(x, norm, mean)
    for big in (None, x, x[:, :, :1].contiguous(memory_format=torch.channels_last_3d)):
        coefficients = (mean, None if big is None else mean, mean)
        statistics_big = None if big is None else (mean, mean)
        for shortcut, relu in ((None, False), (None, True), (x, True)):
            y = norm_relu_triton.apply(x, big, coefficients, shortcut, relu)
            seen_by_relu = y if relu and shortcut is not None else None
            terms = norm_relu_triton.sums(y, seen_by_relu, x, coefficients, big, (mean, mean), statistics_big, relu)
            norm_relu_triton.gradients(y, seen_by_relu, x, coefficients, big, terms, relu, shortcut is not None)


if __name__ == "__main__":
    run, seen = JITFunction.run, set()
    norm_relu_triton.PROGRAMS = 2  # so that a program has several steps, as for large tensors
    JITFunction.run = compile_only
    triton.runtime.driver.set_active(NoDevice(ARCHITECTURE))
    compile_all()
