"""The kernels for real GPUs: the interpreter accepts what the compiler may not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("architecture", [80, 90], ids=["A100", "H100"])
def test_every_kernel_compiles_and_those_of_the_papers_blocks_fit_their_registers(architecture, tmp_path):
    pytest.importorskip("triton", reason="Triton comes with PyTorch's CUDA wheels")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(Path(__file__).with_name("compile_kernels.py")), str(architecture)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment | {"TRITON_CACHE_DIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    rows = list(map(str.split, done.stdout.splitlines()))
    kernels = [(name, int(spilled), int(loaded)) for name, _, spilled, loaded, _ in rows]
    pools = {"_forward", "_backward"}
    norms = {"_moments", "_finish_moments", "_apply", "_sums", "_finish_sums", "_gradients"}
    assert {name for name, _, _ in kernels} == pools | norms
    assert all(loaded == 16 for name, _, loaded in kernels if name in norms)
    assert sum(loaded == 16 for name, _, loaded in kernels if name in pools) == 2 * 3  # of the windows up to 3x3
    assert not any(spilled for _, spilled, loaded in kernels if loaded == 16)
    assert max(spilled for _, spilled, _ in kernels) <= 128  # 3x7x7, of few channels
    # A tensor that Triton drops from a loop, because one turn hands it to the next unchanged, gives wrong results, which only a
    # real GPU shows: so each loop's tensors are counted. "3,2" is a loop that carries two
    # tensors within one that carries three.
    loops = {name: {row[-1] for row in rows if row[0] == name} for name in pools | norms}
    assert loops == {
        "_forward": {"2", "3", "4"},  # the last frame and the maximum of the last two, values and their numbers
        "_backward": {"0", "2"},
        "_moments": {"3"},
        "_finish_moments": {"1,1"},
        "_apply": {"-", "0"},
        "_sums": {"2", "3", "3,2"},
        "_finish_sums": {"3"},
        "_gradients": {"-", "1"},
    }
    assert sum(row[0] == "_forward" and row[-1] == "4" for row in rows) == 2 * 3  # 3x3x3 and 3x7x7
