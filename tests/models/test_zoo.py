"""Names, specs, and the errors for wrong ones."""

import json
from dataclasses import asdict

import pytest

from smallbignet import BlockSpec, SmallBigError, block_spec, create_model, list_models
from smallbignet.models.zoo import saved_stages, stages_to_save


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("2d", BlockSpec()),
        ("smallbig_3x5x5", BlockSpec(("3x5x5", None, None))),
        ("3d+extra", BlockSpec(temporal=3, extra="smallbig")),
        ("full+avgviews+unshared", BlockSpec(("3x3x3", "3x3x3", "Tx3x3"), extra="smallbig", pool="avg", shared=False)),
        ("full+avg", BlockSpec(("3x3x3", "3x3x3", "Tx3x3"), extra="smallbig", pool="avg", extra_pool="avg")),
        ("smallbig_3x3x3_Tx3x3", BlockSpec(("3x3x3", None, "Tx3x3"))),
        ("smallbig_Tx5x5", BlockSpec(("Tx5x5", None, None))),
        ("smallbig_1x3x3_5x1x1_Tx9x9", BlockSpec(("1x3x3", "5x1x1", "Tx9x9"))),
        ("typical+Tx5x5", BlockSpec(("3x3x3", "3x3x3", "Tx5x5"))),
        ("full+5x5x5+3d", BlockSpec(("3x3x3", "3x3x3", "5x5x5"), extra="smallbig", temporal=3)),
        ("smallbig_3x3x3+3x11x3", BlockSpec(("3x11x3", None, None))),
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


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("smallbig_2x2x2", r"odd extents.*not '2x2x2' \(smallbig_2x2x2\)"),
        ("smallbig_3x3x3_4x3x3", r"odd extents.*not '4x3x3'"),
        ("smallbig_TxHxW", r"odd extents.*not 'TxHxW'"),
        ("smallbig_3x3", r"odd extents.*not '3x3'"),
        ("typical+2x3x3", r"odd extents.*not '2x3x3' \(typical\+2x3x3\)"),
        ("typical+TxHxW", r"odd extents.*not 'TxHxW'"),
        ("2d+3x3x3", r"2d has no big view"),
        ("smallbig", r"smallbig_3x3x3_Tx3x3 \(smallbig\)"),
        ("smallbig_3x3x3_3x3x3_3x3x3_3x3x3", "one to three windows"),
        ("typical+extr", "a window such as Tx5x5"),
    ],
)
def test_a_window_that_is_none_is_one_line(name, words):
    with pytest.raises(SmallBigError, match=words) as caught:
        block_spec(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["smallbig_r50", "slowfast_r50"])
def test_a_list_has_the_blocks_of_a_stage_and_is_repeated(name):
    stages = ["2d", ["2d", "nonlocal"], ["full", "typical", BlockSpec()], "3d"]
    model = create_model(name, 2, width=8, stages=stages)
    trunk = getattr(model, "slow", model)
    assert [type(block.nonlocal_after).__name__ for block in trunk.res3] == ["Identity", "NonLocal"] * 2
    assert [type(block.extra).__name__ for block in trunk.res4] == ["ExtraUnit", "Identity", "Identity"] * 2
    assert [block.unit1.window for block in trunk.res4] == [(3, 3, 3), (3, 3, 3), None] * 2


def test_stages_are_saved_in_words_that_version_0_1_0_did_not_have():
    stages = ["2d", "full+avg", ["2d+avg+extra", "avg"], BlockSpec()]
    assert stages_to_save(stages) == [
        "2d",
        "full+avgviews+avgextra",
        ["2d+avgviews+avgextra+extra", "avgviews+avgextra"],
        BlockSpec(),
    ]
    assert saved_stages(stages)[1:3] == ["full+avgviews", ["2d+avgviews+extra", "avgviews"]]
    assert saved_stages(stages_to_save(stages)) == stages_to_save(stages) and stages_to_save(None) is None
    assert [block_spec(name) for name in stages_to_save(["full+avg"])] == [block_spec("full+avg")]


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
        (
            lambda: create_model("smallbig_r23", stages=["2d", "2d", "2d", ["2d", "full"]]),
            "a list for res5 of this network names 1 block, not 2",
        ),
        (lambda: create_model("smallbig_r50", stages=["2d", [], "2d", "2d"]), r"stages\[1\] must be"),
        (lambda: create_model("smallbig_r50", stages=["2d", [["2d"]], "2d", "2d"]), r"stages\[1\]"),
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
