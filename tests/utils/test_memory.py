"""Memory that is kept is not asked for, and cleared by the system, again."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from smallbignet.utils.memory import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
size = 2**26
x = bytearray(b"1") * size
del x
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
x = bytearray(b"1") * size
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is kept where the C library is glibc")
def test_what_is_allocated_again_has_the_same_pages():
    kept, not_kept = (
        int(subprocess.run([sys.executable, "-c", SCRIPT, word], capture_output=True, text=True, check=True).stdout)
        for word in ("keep", "no")
    )
    assert kept < 200 and not_kept > 2000  # 64 MiB are 16384 pages of 4 KiB
