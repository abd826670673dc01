"""The learning rate over a run, by values that the schedules' formulas give by hand."""

import pytest

from smallbignet.training.schedule import learning_rate
from smallbignet.training.settings import OptimSpec


@pytest.mark.parametrize(
    ("optim", "expected"),
    [
        (OptimSpec(epochs=110, lr=0.02), {0: 0.02, 55: 0.01, 110: 0.0}),  # the paper's on Kinetics-400
        (OptimSpec(epochs=50, lr=0.01, schedule="step", milestones=[30, 40, 45]), {29: 0.01, 30: 1e-3, 44.9: 1e-4, 45: 1e-5}),
        (OptimSpec(epochs=12, lr=0.1, warmup_epochs=2), {0: 0.0, 1: 0.05, 2: 0.1, 7: 0.05}),
        (OptimSpec(epochs=110, lr=0.02, lr_base_size=128, batch_size=32), {0: 0.005, 55: 0.0025}),
    ],
)
def test_schedules(optim, expected):
    assert {epoch: pytest.approx(learning_rate(optim, epoch)) for epoch in expected} == expected


@pytest.mark.parametrize(
    ("warmup_epochs", "steps", "expected"),
    [(2, 1, [0.05, 0.1, 0.1]), (1, 4, [0.025, 0.05, 0.075, 0.1, 0.1]), (0.5, 1, [0.1, 0.1])],
)
def test_a_warm_up_starts_above_zero_and_ends_at_the_highest_rate(warmup_epochs, steps, expected):
    """By hand: step n of the N of a warm-up, counted from 1, has n / N of the highest rate."""
    optim = OptimSpec(epochs=1000, lr=0.1, warmup_epochs=warmup_epochs)
    rates = [learning_rate(optim, step / steps, 1 / steps) for step in range(len(expected))]
    assert rates == pytest.approx(expected, rel=0.01)
