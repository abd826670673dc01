"""The kernels for real GPUs: the interpreter accepts what the compiler may not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("architecture", [80, 90], ids=["A100", "H100"])
def test_every_kernel_compiles_keeps_to_its_registers_and_loads_16_bytes_at_once(architecture, tmp_path):
    pytest.importorskip("triton", reason="Triton comes with PyTorch's CUDA wheels")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(Path(__file__).with_name("compile_kernels.py")), str(architecture)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment | {"TRITON_CACHE_DIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    kernels = [line.split() for line in done.stdout.splitlines()]
    assert {name for _, name, *_ in kernels} == {"_forward", "_backward", "_moments", "_apply", "_sums", "_gradients"}
    assert all(wide == "True" for *_, wide in kernels)
    assert not [name for dtype, name, _, spilled, _ in kernels if dtype == "torch.bfloat16" and spilled != "0"]
