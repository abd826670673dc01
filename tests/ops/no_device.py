"""A driver for Triton on a machine without a GPU."""

from __future__ import annotations

from triton.backends.compiler import GPUTarget


class NoDevice:
    """What Triton asks a driver for before it compiles for an architecture, such as 90 for an H100."""

    def __init__(self, architecture: int):
        self.architecture = architecture

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.architecture, 32)
