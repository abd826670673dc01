"""What a network on a processor loses to the operating system: its activations' memory, asked for and given back every time."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # <malloc.h>


def keep_memory() -> None:
    """Lets this process keep freed memory for the next step or clip, where the C library is glibc; elsewhere nothing happens.

    Large tensors are otherwise mapped afresh, and their pages filled with zeros: up to a tenth of the time.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
