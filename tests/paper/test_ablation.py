"""The statistics of an ablation, by values counted by hand."""

import pytest

from smallbignet.paper.ablation import RowResult, Run, compare, values_of


def row(*values: float, paper: float = 50.0) -> RowResult:
    return RowResult("", {"top1": paper}, 0, 0, [], {str(i): value for i, value in enumerate(values)})


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (row(0.5, 0.7), row(0.6, 0.84, paper=51), (12.0, 2.0, "as in the paper, more than the standard error")),
        (row(0.5, 0.7), row(0.4, 0.84, paper=51), (2.0, 12.0, "as in the paper, less than the standard error")),
        (row(0.5, 0.7), row(0.6, 0.84, paper=49), (12.0, 2.0, "not as in the paper, more than the standard error")),
        (row(0.5, 0.7), row(0.6, paper=51), (10.0, None, "as in the paper, one run")),
        (row(0.5), row(paper=51), (None, None, "not measured")),
    ],
)
def test_neighbours_are_compared_seed_by_seed(first, second, expected):
    pair = compare(first, second)
    assert (pytest.approx(pair.ours), pytest.approx(pair.error), pair.verdict()) == expected


def test_a_seed_without_all_its_folds_does_not_count():
    runs = [Run("", seed, fold, top1) for seed, fold, top1 in ((0, "a", 0.5), (0, "b", 0.7), (1, "a", 0.5), (1, "b", None))]
    assert values_of(runs, ["a", "b"]) == {"0": pytest.approx(0.6)}
