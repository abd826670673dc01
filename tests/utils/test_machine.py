"""What the machine's CPU can do, read from what the system says of it."""

import pytest
import torch

from smallbignet.errors import SmallBigError
from smallbignet.utils import machine
from smallbignet.utils.machine import computes_bf16, pick_device


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("flags", "fpu sse avx avx2 fma", False),
        ("flags", "avx2 avx512f avx512bw avx512_vnni", False),
        ("flags", "avx2 avx512f avx512_bf16", True),
        ("flags", "avx2 avx512f amx_bf16 amx_tile", True),
        ("Features", "fp asimd svei8mm bf16 sb", True),
        ("Features", "fp asimd svebf16only", False),
    ],
)
def test_only_cpus_with_instructions_for_it_compute_bf16(monkeypatch, key, value, expected):
    monkeypatch.setattr(machine, "_cpu_info", lambda asked: value if asked == key else "")
    assert computes_bf16(torch.device("cpu")) == expected
    assert not computes_bf16(torch.device("mps"))


@pytest.mark.parametrize("name", ["meta", "cuda:99", "nope", "cpu:x", "privateuseone"])
def test_a_device_that_computes_nothing_here_is_named(name):
    with pytest.raises(SmallBigError, match=f"this device is not available here \\({name}\\)"):
        pick_device(name)
