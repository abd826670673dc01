"""The memory of activations on a CPU: without this, every step or clip asks the operating system for it again."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # <malloc.h>


def keep_memory() -> None:
    """Let this process keep freed memory for the next step or clip. Without glibc as the C library, this does nothing.

    Otherwise the pages of large tensors are given back and filled with zeros again, which takes up to a tenth of the time.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
