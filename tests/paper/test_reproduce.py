"""Every row of the paper with a network of ours is reached by commands, which `smallbig tables --commands` prints."""

import shlex
from dataclasses import replace
from importlib import import_module

import pytest

from smallbignet import cli
from smallbignet.arguments import parse_call
from smallbignet.models.zoo import find_blocks
from smallbignet.paper.reproduce import list_commands, runs_of
from smallbignet.paper.tables import find_tables, paper_tables
from smallbignet.training.settings import load_recipe

ROWS = [(table, row) for table in paper_tables() for row in (*table.rows, *table.variants) if row.networks]


def parsed(line: str) -> dict:
    """The arguments that a command's verb is called with."""
    smallbig, verb, *words = shlex.split(line)
    assert smallbig == "smallbig"
    function = getattr(import_module(f"smallbignet.commands.{verb}"), verb)
    arguments, _ = parse_call(function, f"smallbig {verb}", cli.VERBS[verb], words)
    return {"verb": verb} | arguments


@pytest.mark.parametrize(("table", "row"), ROWS, ids=[f"{table.number} {row.label}" for table, row in ROWS])
def test_a_row_is_reached_by_its_commands(table, row):
    accuracies = {column.removesuffix("top1") for column in row.figures if column.endswith("top1")}
    assert set(row.recipes) == (accuracies or {""})
    for prefix in row.recipes:
        steps = [parsed(line) for line in list_commands(runs_of(row, prefix), row.views, "runs")]
        configs = [step["config"] for step in steps if step["verb"] == "train"]
        for config, network in zip(configs, row.networks, strict=True):
            assert find_blocks(config.model.name, config.model.stages) == find_blocks(network.name, network.stages)
            assert (config.model.name, config.clip.clip_len) == (network.name, network.clip[0])
        scored = [step for step in steps if step["verb"] == "evaluate"]
        if scored:
            assert [step["model"] for step in scored] == [f"{config.run.dir}/last" for config in configs]
            assert {step["views"] for step in scored} == {row.views}
            assert len({step["scores"] for step in scored}) == len(scored)
        else:
            [config] = configs
            assert row.views in ("", config.run.views)
        averaged = [step["files"] for step in steps if step["verb"] == "ensemble"]
        assert averaged == ([[step["scores"] for step in scored]] if len(row.networks) > 1 else [])


def test_a_run_directory_holds_one_network_and_its_settings():
    runs: dict = {}
    for _, row in ROWS:
        for run in (run for prefix in row.recipes for run in runs_of(row, prefix)):
            assert runs.setdefault(run.name, run).changes == run.changes and runs[run.name].recipe == run.recipe
    assert len(runs) == 38  # 18 of R23, 5 of R50, 7 others on Kinetics-400; 4 for each Something-Something
    assert {name for name in runs if name.startswith("k400_smallbig_r50")} == {
        "k400_smallbig_r50",
        "k400_smallbig_r50-2d-typical-typical-typical",
        "k400_smallbig_r50-2d-typical-full-typical",
        "k400_smallbig_r50-2d-typical+se-typical+se-typical+se",
    }


def test_the_full_network_of_tables_5_to_7_has_blocks_in_all_four_stages():
    found = {}
    for number in "567":
        [table] = find_tables(number)
        found |= {row.label: row for row in table.rows if row.label in ("SmallBig: Full", "Max Pool", "SmallBig-R23")}
    [line] = {line for row in found.values() for line in list_commands(runs_of(row, ""), row.views)}
    assert parsed(line)["config"].model.stages == ["full"] * 4 and len(found) == 3
    assert parsed(line)["config"].optim == load_recipe("k400_smallbig_r23").optim


def test_frames_of_a_clip_span_what_the_papers_do():
    """K400: 64 consecutive frames (Section 6); SlowFast 16x8 has 16 slow frames, 8 apart, out of 128 (its paper, Table 2)."""
    [table] = find_tables("10")
    spans = {
        (row.label, row.figures["frames"]): [run.config().clip.span for run in runs_of(row, "")]
        for row in table.rows
        if row.networks
    }
    assert spans.pop(("SlowFast", "80=16+64, 224")) == [128]
    assert set(map(tuple, spans.values())) == {(64,), (64, 64)}


def test_slowfasts_recipe_has_its_authors_settings():
    """PySlowFast, configs/Kinetics/SLOWFAST_4x16_R50.yaml."""
    config = load_recipe("k400_slowfast_r50")
    assert config.optim == replace(
        load_recipe("k400").optim,
        epochs=196, batch_size=64, lr=0.1, lr_base_size=64, momentum=0.9, nesterov=True, weight_decay=1e-4, decay_norms=False,
        warmup_epochs=34,
    )  # fmt: skip
    assert (config.model.weights, config.model.drop_rate, config.model.zero_init_residual) == ("", 0.5, True)
    assert (config.clip.clip_len, config.clip.frame_interval, config.input.train_short_side) == (32, 2, (256, 320))
