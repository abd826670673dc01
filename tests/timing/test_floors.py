"""The floor of a machine, by hand."""

import pytest

from smallbignet.timing.cases import Case
from smallbignet.timing.floors import Floor, convolution_elements


def test_the_floor_is_the_slower_of_arithmetic_and_memory():
    case = Case("c2d_r23", "plain", (8, 224), 1, "cpu", 1, train=False)
    floor, trained = Floor.of(case), Floor.of(Case("c2d_r23", "plain", (8, 224), 1, "cpu", 1, train=True))
    assert floor.macs / 1e9 == pytest.approx(16.98, abs=0.005) and trained.macs == 3 * floor.macs
    assert floor.elements == convolution_elements("c2d_r23", (8, 224)) and trained.elements == 3 * floor.elements
    rates = {"best convolution": 1e-11, "best convolution bf16": 1e-12, "copy": 0.0}
    assert floor.seconds(rates, half=False) == pytest.approx(floor.macs * 1e-11)
    assert floor.seconds(rates, half=True) == pytest.approx(floor.macs * 1e-12)
    assert floor.seconds(rates | {"copy": 1.0}, half=True) == 2 * floor.elements


def test_elements_of_a_convolution_are_those_it_reads_and_writes():
    small, large = (convolution_elements("c2d_r23", (8, size)) for size in (64, 128))
    assert large == 4 * small
    stem = 8 * (3 * 64 * 64 + 64 * 32 * 32)
    assert stem < small < 20 * stem
