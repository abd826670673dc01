"""The tests that need a GPU."""

from __future__ import annotations

import os
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from gpu_stages.scale import Scale
from gpu_stages.worker import Turn

ROOT = Path(__file__).parents[2]
A_TEST = 60  # seconds
CORES_FOR_OTHERS = 6  # which compile meanwhile
SLOWEST = 5


class Reports:
    """A plugin of pytest that tells each result as it comes: a run that is stopped has told why tests failed."""

    def __init__(self, turn: Turn):
        self.turn = turn
        self.counts: Counter[str] = Counter()
        self.failed: dict[str, str] = {}
        self.seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.when != "call" and report.passed:  # what is before and after a test only counts if it fails or skips it
            return
        self.counts[report.outcome] += 1
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = f"{Path(crash.path).name}:{crash.lineno}: {crash.message}" if crash else report.longreprtext
            self.failed[report.nodeid] = " ".join(reason.split())[:300]
        slowest = [(name, round(seconds, 1)) for name, seconds in self.seconds.most_common(SLOWEST)]
        self.turn.tell({"counts": dict(self.counts), "failed": self.failed, "slowest": slowest})


def tests(turn: Turn, scale: Scale) -> None:
    """Tell the counts of passed, failed and skipped tests, the reasons, and the slowest ones."""
    os.chdir(ROOT)
    words = ["-m", "gpu", "-v", "--tb=short", "-p", "no:cacheprovider"]
    if scale.on_gpu and find_spec("xdist"):
        words += ["-n", str(max((os.cpu_count() or 1) - CORES_FOR_OTHERS, 1))]
    if find_spec("pytest_timeout"):
        words += [f"--timeout={A_TEST}"]
    # The longest tests come first.
    words += ["tests/training", "tests/inference", "tests/ops"] if scale.on_gpu else ["tests/ops"]
    reports = Reports(turn)
    if pytest.main(words, plugins=[reports]) not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"{len(reports.failed)} tests failed")
