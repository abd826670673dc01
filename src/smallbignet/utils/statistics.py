"""How far figures of a few videos can be trusted."""

from __future__ import annotations

import itertools
import math

import numpy as np

Z = 1.96  # of a 95 % confidence interval


def wilson_interval(right: float, count: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share, from 0 to 1.

    E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927. It holds for few videos and for
    shares near 0 and 1, too.

    Args:
        right: the share that was seen, from 0 to 1.
        count: of how many. The interval of none is 0 to 1.
    """
    if not count:
        return 0.0, 1.0
    middle = right + Z**2 / (2 * count)
    half = Z * math.sqrt(right * (1 - right) / count + Z**2 / (4 * count**2))
    whole = 1 + Z**2 / count
    return max((middle - half) / whole, 0.0), min((middle + half) / whole, 1.0)


def videos_for(right: float, half_width: float) -> int:
    """Return the number of videos from which on Wilson's interval of a share reaches at most this far to both sides.

    Args:
        right: the share that is expected, from 0 to 1.
        half_width: half of the interval's length, above 0 and below 0.5.
    """
    widths = (wilson_interval(right, count) for count in itertools.count(1))
    return next(count for count, (low, high) in enumerate(widths, 1) if high - low <= 2 * half_width)


def mcnemar(one: np.ndarray, other: np.ndarray) -> float:
    """Return the probability of a difference at least this large between two models that are equally good (two-sided, exact).

    Only the videos that one of them gets right and the other wrong count: of two equally good models, each gets half of these
    right. Q. McNemar, "Note on the sampling error of the difference between correlated proportions", 1947.

    Args:
        one: (N,) of bool, whether the first model is right about each video.
        other: (N,) of bool, likewise for the second model and the same videos.
    """
    only_one = int((one & ~other).sum())
    only_other = int((other & ~one).sum())
    count = only_one + only_other
    # in logarithms, because the numbers of combinations are large
    logarithms = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) - count * math.log(2)
        for k in range(min(only_one, only_other) + 1)
    ]
    return min(2 * math.fsum(map(math.exp, logarithms)), 1.0)
