"""What machine this is: its devices and its CPU."""

from __future__ import annotations

import platform

import torch

from smallbignet.errors import SmallBigError


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """The device of that name; without one, a GPU where there is one.

    Raises:
        SmallBigError: this torch doesn't have that device.
    """
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise SmallBigError("this device is not available here", device) from error
    return chosen


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
