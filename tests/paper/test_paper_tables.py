"""The paper's tables as data: as printed, consistent in themselves, and of the networks that they say."""

import re
from math import prod

import pytest

from smallbignet.errors import SmallBigError
from smallbignet.paper.tables import HEADINGS, Network, find_tables, paper_tables

ROWS = [(table.number, row) for table in paper_tables() for row in table.rows]
VARIANTS = [(table.number, row) for table in paper_tables() for row in table.variants]


def test_every_row_of_the_paper_is_there():
    counts = [(1, 7), (2, 3), (3, 5), (4, 6), (5, 5), (6, 7), (7, 3), (8, 4), (9, 2), (10, 26), (11, 11), (11, 9)]
    assert [(table.number, len(table.rows)) for table in paper_tables()] == counts


def test_rows_have_the_columns_of_their_table():
    for table in paper_tables():
        assert set(table.columns) <= set(HEADINGS)
        for row in table.rows:
            assert set(row.figures) <= set(table.columns), row.label


def number(text) -> float:
    return float(str(text).replace(",", ""))


@pytest.mark.parametrize("text", [str(v) for _, row in ROWS for v in row.figures.values() if re.search(r"=[\d.]+[x+]", str(v))])
def test_products_and_sums_as_printed_come_out(text):
    """Such as GFlops x crops, "5,875=23.5x250", or the frames of an ensemble, "24=8+16"."""
    total, parts = text.removesuffix(", 224").split("=")
    if "+" in parts:
        assert number(total) == sum(map(number, parts.split("+")))
    else:
        assert number(total) == pytest.approx(prod(map(number, parts.split("x"))), abs=0.5)


def test_a_network_has_the_same_accuracy_in_every_table():
    seen: dict = {}
    for table, row in ROWS:
        if table < 10 and row.networks:
            figures = row.figures["top1"], row.figures["top5"]
            assert seen.setdefault(row.networks, figures) == figures, row.label
    assert len(seen) == 21


@pytest.mark.parametrize(("number", "label", "column", "figure"), [
    ("5", "SmallBig: Full", "top1", 72.6),
    ("7", "NonLocal-R23", "top1", 70.2),
    ("8", "R50", "top1", 70.4),
    ("9", "Extra Unit: Simple", "top5", 92.1),
])  # fmt: skip
def test_figures_that_the_text_names(number, label, column, figure):
    [table] = find_tables(number)
    assert {row.label: row.figures[column] for row in table.rows}[label] == figure


@pytest.mark.parametrize("number", ["6", "7"])
def test_parameters_are_the_papers(number):
    [table] = find_tables(number)
    for row in table.rows:
        [network] = row.networks
        assert network.complexity().params / 1e6 == pytest.approx(float(row.figures["params"][:-1]), abs=0.2)


COSTS = [
    (row.label, row.figures["frames"], float(re.sub(r".*=|x.*", "", str(row.figures["gflops"]))), row.networks)
    for table, row in ROWS
    if table > 9 and row.networks and row.figures["gflops"] != "N/A" and "57x30" not in str(row.figures["gflops"])
]


@pytest.mark.parametrize(("label", "frames", "gflops", "networks"), COSTS, ids=[f"{c[0]}-{c[1]}" for c in COSTS])
def test_multiply_accumulates_are_the_papers(label, frames, gflops, networks):
    """All of Tables 10 and 11 but SmallBig-R50's 57, of which see the notes."""
    assert sum(network.complexity().macs for network in networks) / 1e9 == pytest.approx(gflops, rel=0.015)


@pytest.mark.parametrize(("label", "gmacs"), [("R50 typical", 51.97), ("R50 typical, full res4", 56.90), ("R50 full", 62.66)])
def test_blocks_around_the_57_of_smallbig_r50(label, gmacs):
    [table] = find_tables("10")
    [network] = {row.label: row.networks for row in table.variants}[label]
    assert network.complexity().macs / 1e9 == pytest.approx(gmacs, abs=0.01)


def test_the_widths_that_table_1_prints_are_not_resnets():
    [table] = find_tables("1")
    params, channels = 64 * 3 * 49, 64
    for row in table.rows[2:6]:
        first, middle, last = (int(width) for width in re.findall(r", (\d+)", row.figures["block"]))
        blocks = int(re.search(r"\) x (\d)", row.figures["block"])[1])
        params += channels * last  # the shortcut
        for _ in range(blocks):
            params += channels * first + 9 * first * middle + middle * last
            channels = last
    params += 2048 * 400
    assert f"{params / 1e6:.1f} M" in table.note and Network("c2d_r23").complexity().params < params / 2


def test_an_unknown_table_is_a_mistake():
    with pytest.raises(SmallBigError, match="1 to 11"):
        find_tables("12")
