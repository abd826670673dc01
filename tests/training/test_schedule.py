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
