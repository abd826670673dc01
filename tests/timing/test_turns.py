"""Processes that take turns, and what becomes of one that cannot continue."""

from contextlib import ExitStack

from smallbignet.timing.cases import FLOORS, Case
from smallbignet.timing.turns import Worker, measure


def test_a_variant_that_cannot_run_says_why_and_stops_nothing_else():
    cases = [Case("s3d", variant, (4, 32), 1, "cpu", 1, train=False) for variant in ("plain", "channels_last")]
    rows, rates = measure(cases, {}, 1, profile=False, advance=lambda: None)
    assert [row.variant for row in rows] == ["plain", "channels_last"] and rates == [{}]
    assert all(row.refused and row.times_plain is None for row in rows)
    with ExitStack() as stack:
        worker = Worker(Case("", FLOORS[2], (0, 0), 0, "cpu", 1, train=False), stack)
        assert 0 < worker.ask("seconds")[0] < 1e-6
        worker.process.kill()
        assert worker.ask("seconds") is None and "died" in worker.refused
