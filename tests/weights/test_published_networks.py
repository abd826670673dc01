"""Published networks by name: downloaded and converted once, and what a user sees where that fails."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from reference import figures, weights
from smallbignet import create_model, load_config
from smallbignet.cli import main
from smallbignet.data.annotations import read_classes
from smallbignet.data.synthetic import write_video
from smallbignet.data.transforms import InputSpec
from smallbignet.models.zoo import NETWORKS
from smallbignet.weights.published import CHECKPOINTS, PUBLISHED
from smallbignet.weights.sources import SOURCES

KEYS, _ = figures("pytorchvideo")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of PyTorch's hub."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def site(tmp_path, monkeypatch, cache):
    """A folder that slow_r50 is published in, as SLOW.pyth."""
    folder = tmp_path / "site"
    folder.mkdir()
    record = replace(
        PUBLISHED["slow_r50"], address=(folder / "SLOW.pyth").as_uri(), input=InputSpec(64, (64, 64), 64)
    )  # for time
    monkeypatch.setitem(PUBLISHED, "slow_r50", record)
    return folder


def test_predict_downloads_converts_names_its_classes_and_remembers(site, cache, tmp_path, capsys):
    torch.save({"model_state": weights(KEYS["slow_r50"])}, site / "SLOW.pyth")
    clip = tmp_path / "clip.mp4"
    write_video(clip, np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), np.uint8))
    words = ["predict", "slow_r50", str(clip), "--views", "1x1", "--top", "2", "--json"]
    outputs = []
    for _ in range(2):
        assert main(words) == 0
        outputs.append(json.loads(capsys.readouterr().out))
        for file in (*site.iterdir(), *(cache / "checkpoints").iterdir()):
            file.unlink()  # the second time, neither is read
    assert outputs[0] == outputs[1]
    config = load_config("slow_r50")
    assert {p["label"] for p in outputs[0][0]["predictions"]} <= set(config.classes)
    assert config.weights["licence"] == "Apache-2.0" and "74.58" in config.weights["published"]


def test_a_failed_download_says_how_to_do_it_by_hand(site, cache, capsys):
    assert main(["predict", "slow_r50", __file__]) == 1
    err = capsys.readouterr().err
    assert err.startswith("smallbig: error: the download failed") and err.count("\n") == 1
    assert PUBLISHED["slow_r50"].address in err and str(cache / "checkpoints" / "SLOW.pyth") in err
    assert "smallbig convert SLOW.pyth DIR --source pytorchvideo --network slow_r50" in err


def test_a_damaged_file_is_named_and_no_model_is_left(site, cache, capsys):
    (cache / "checkpoints").mkdir(parents=True)
    (cache / "checkpoints" / "SLOW.pyth").write_bytes(b"<html>")
    assert main(["predict", "slow_r50", __file__]) == 2
    err = capsys.readouterr().err
    assert str(cache / "checkpoints" / "SLOW.pyth") in err and "delete it" in err
    assert not (cache / "smallbignet" / "slow_r50").exists()


@pytest.mark.parametrize("record", CHECKPOINTS, ids=lambda record: f"{record.source}-{record.name}-{record.network}")
def test_a_record_names_what_there_is(record):
    assert record.network in NETWORKS and record.source in {*SOURCES, "torchvision"}
    create_model(record.network, 5, stages=record.stages, width=8, head_window=record.head_window)
    assert not record.classes or len(read_classes(record.classes)) == 400
    assert (record.top1 is None) == (record.address == "")


def test_a_name_stands_for_one_record():
    names = [(record.source, record.name, record.network) for record in CHECKPOINTS]
    assert len(names) == len(set(names))
    assert len(PUBLISHED) == sum(record.address.startswith("https://") for record in CHECKPOINTS) == 6
