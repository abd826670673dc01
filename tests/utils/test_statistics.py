"""Confidence intervals and tests, against values of tables and against counting."""

from itertools import product

import numpy as np
import pytest

from smallbignet.utils.statistics import mcnemar, videos_for, wilson_interval


@pytest.mark.parametrize(
    ("right", "count", "expected"),
    [
        (0.8, 10, (0.4902, 0.9433)),
        (0.0, 10, (0.0, 0.2775)),
        (1.0, 10, (0.7225, 1.0)),
        (0.5, 100, (0.4038, 0.5962)),
        (0, 0, (0, 1)),
    ],
)
def test_wilsons_interval(right, count, expected):
    """The first four are what R's binom.wilson gives for 8 of 10, 0 of 10, 10 of 10 and 50 of 100."""
    assert wilson_interval(right, count) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("only_one", "only_other"), [(0, 0), (3, 3), (1, 9), (9, 1), (0, 5), (4, 7)])
def test_mcnemars_test_counts_the_outcomes_that_are_at_least_as_far_apart(only_one, only_other):
    """Which model is right about a video that they differ on is a fair coin's throw."""
    one = np.array([True] * only_one + [False] * only_other + [True, True, False])
    other = np.array([False] * only_one + [True] * only_other + [True, True, False])
    outcomes = list(product([0, 1], repeat=only_one + only_other))
    distance = abs(only_one - only_other)
    extreme = sum(abs(2 * sum(outcome) - len(outcome)) >= distance for outcome in outcomes)
    assert mcnemar(one, other) == pytest.approx(extreme / len(outcomes))


def test_mcnemars_test_of_many_videos():
    one = np.arange(20_000) % 2 == 0
    assert mcnemar(one, ~one) == 1
    assert mcnemar(np.ones(20_000, bool), np.zeros(20_000, bool)) == 0


@pytest.mark.parametrize(("right", "expected"), [(0.5, 381), (1.0, 35)])
def test_the_videos_that_narrow_an_interval(right, expected):
    """Wilson's formula solved by hand for z = 1.96: z^2 (1 / (4 * 0.05^2) - 1) at 0.5, and z^2 (1 / (2 * 0.05) - 1) at 1."""
    assert videos_for(right, 0.05) == expected
