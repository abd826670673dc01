"""The tests that need a GPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpu_stages.scale import Scale

ROOT = Path(__file__).parents[2]
PROCESSES, A_TEST = 8, 60  # at once; seconds
WORDS = "PASSED|FAILED|ERROR|SKIPPED|XFAIL"
OUTCOME = re.compile(rf"\b({WORDS}) (tests/.*)|(tests/.*) ({WORDS})\b")  # with pytest-xdist, and without
REASON = re.compile(r"(?:FAILED|ERROR) (tests/\S.*)")


def tests(scale: Scale) -> Iterator[dict[str, Any]]:
    """Counts of passed, failed and skipped tests, and those that failed with their reasons, as far as they have run."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "--tb=short", "-p", "no:cacheprovider"]
    command += ["-n", str(min(PROCESSES, os.cpu_count() or 1))] if find_spec("xdist") and scale.on_gpu else []
    command += [f"--timeout={A_TEST}"] if find_spec("pytest_timeout") else []
    command += [] if scale.on_gpu else ["tests/ops"]
    yield {}
    counts, failed, over = Counter(), {}, False
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in running.stdout:
        sys.stderr.write(line)
        over = over or "short test summary" in line
        if over and (match := REASON.match(line)):
            name, _, reason = match[1].partition(" - ")
            failed[name] = reason.strip()[:200]
        elif not over and "%]" in line and (match := OUTCOME.search(line)):
            outcome, name = match[1] or match[4], (match[2] or match[3]).strip()
            counts[outcome.lower()] += 1
            if outcome in ("FAILED", "ERROR"):
                failed.setdefault(name, "")
        else:
            continue
        yield {"counts": dict(counts), "failed": failed}
    if running.wait() not in (0, 5):
        raise RuntimeError(f"{len(failed)} failed")
