"""The machine that this runs on: its devices and the name of its CPU."""

from __future__ import annotations

import platform

import torch

from smallbignet.errors import SmallBigError


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """Return the device of this name; without a name, a GPU if there is one, else the CPU.

    Raises:
        SmallBigError: PyTorch has no such device here.
    """
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=chosen).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:
        raise SmallBigError("this device is not available here", device) from error
    return chosen


def cpu_name() -> str:
    """Return the name of the CPU, or as much as the system says of it."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


def int8_products_overflow() -> bool:
    """Return whether sums of two int8 products overflow 16 bits here: on x86 CPUs without VNNI instructions."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return is_x86 and "vnni" not in _cpu_info("flags")


def computes_bf16(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16; without them it is many times slower than float32 on a CPU."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    instructions = {"avx512_bf16", "amx_bf16", "bf16"}  # the last one is ARM's
    return device.type == "cpu" and not instructions.isdisjoint(f"{_cpu_info('flags')} {_cpu_info('Features')}".split())


def _cpu_info(key: str) -> str:
    """Return the first value of a key in Linux's description of the CPU; empty where there is none."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith(key))
    except (OSError, StopIteration):
        return ""
