"""Names, specs, and the errors for wrong ones."""

import json
from dataclasses import asdict

import pytest

from smallbignet import BlockSpec, SmallBigError, block_spec, create_model, list_models


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("2d", BlockSpec()),
        ("smallbig_3x5x5", BlockSpec(("3x5x5", None, None))),
        ("3d+extra", BlockSpec(temporal=3, extra="smallbig")),
        ("full+avg+unshared", BlockSpec(("3x3x3", "3x3x3", "Tx3x3"), extra="smallbig", pool="avg", shared=False)),
        ("full+3d", BlockSpec(("3x3x3", "3x3x3", "Tx3x3"), extra="smallbig", temporal=3)),
        ("typical+se", BlockSpec(("3x3x3", "3x3x3", "Tx3x3"), extra="se")),
    ],
)
def test_a_block_is_data(name, spec):
    assert block_spec(name) == spec


def test_a_spec_in_json_is_read_back():
    written = json.loads(json.dumps(asdict(block_spec("full+avg"))))
    assert written["views"] == ["3x3x3", "3x3x3", "Tx3x3"] and "windows" not in written
    assert block_spec(written) == block_spec("full+avg")
    assert block_spec({"views": ["1x11x3", None, "Tx5x5"]}).windows == [(1, 11, 3), None, (None, 5, 5)]


@pytest.mark.parametrize("window", ["3x3", "2x3x3", "3x3x4", "0x3x3", "tx3x3", "3xTx3", " 3x3x3", "3x3x3x3", ""])
def test_other_windows_are_errors(window):
    with pytest.raises(SmallBigError, match="must be null or a pooling window with odd extents"):
        BlockSpec((window, None, None))


def test_smallbig_r50_is_its_parts():
    model = create_model("smallbig_r50", 7, width=8)
    assert [len(stage) for stage in (model.res2, model.res3, model.res4, model.res5)] == [3, 4, 6, 3]
    assert model.res2[0].unit1.window is None
    assert [model.res4[5].unit1.window, model.res4[5].unit3.window] == [(3, 3, 3), (None, 3, 3)]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: create_model("smallbig50"), "smallbig_r50"),
        (lambda: create_model("smallbig_r50", stages=["2d"]), "a list of 4 values"),
        (lambda: create_model("smallbig_r50", stages=["2d", "3d", "4d", "2d"]), "4d"),
        (lambda: create_model("smallbig_r50", stages=["2d+big"] * 4), "2d+big"),
        (lambda: create_model("smallbig_r50", width=12), "multiple of 8"),
        (lambda: create_model("smallbig_r50", width=8, weights="imagnet"), "imagnet"),
        (lambda: create_model("slowfast_r50", width=8, weights="imagenet"), "imagenet"),
    ],
)
def test_a_mistake_is_one_line_that_helps(call, words):
    with pytest.raises(SmallBigError, match=words.replace("+", r"\+")) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_patterns():
    assert list_models("c2d_*") == ["c2d_r23", "c2d_r50", "c2d_r101"]
    assert len(list_models()) == 16
