"""Weights that are no numbers, of another kind, or larger than they say: refused in one line by every verb that scores."""

from __future__ import annotations

import json
import struct
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from smallbignet import SmallBigError, create_model, load_model
from smallbignet.cli import main
from smallbignet.data.synthetic import CLASSES
from smallbignet.weights.directory import ModelConfig, save_model

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def model(tmp_path):
    """A small model directory with the classes of `clips`."""
    network = {"name": "c2d_r23", "num_classes": 6, "width": 8}
    save_model(create_model(**network), ModelConfig(network, sorted(CLASSES), views="1x1"), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def change(model):
    """Changes one tensor of the model's file; returns the model directory."""

    def save(key: str, value) -> str:
        state = load_file(model / "model.safetensors")
        state[key] = value(state[key]) if callable(value) else value
        save_file(state, model / "model.safetensors")
        return str(model)

    return save


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("fc.weight", lambda v: v.fill_(NAN), "fc.weight holds NaN or infinity"),
        ("fc.bias", torch.tensor([0, 0, 0, 0, 0, INF]), "fc.bias holds NaN or infinity"),
        ("stem.conv.weight", lambda v: v.index_fill_(0, torch.tensor([3]), NAN), "stem.conv.weight holds NaN or infinity"),
        ("stem.bn.running_mean", lambda v: v.fill_(-INF), "stem.bn.running_mean holds NaN or infinity"),
        ("stem.bn.running_var", lambda v: v.fill_(-1), "stem.bn.running_var holds a negative variance"),
        ("fc.weight", lambda v: v.double().fill_(1e300), "fc.weight holds NaN or infinity"),
        ("fc.weight", lambda v: v.to(torch.int8), "fc.weight holds torch.int8, not floating-point numbers"),
        ("fc.weight", lambda v: v.to(torch.float8_e4m3fn), "fc.weight holds torch.float8_e4m3fn, not floating-point numbers"),
        ("fc.weight", lambda v: v > 0, "fc.weight holds torch.bool, not floating-point numbers"),
        ("fc.weight", torch.zeros(0), r"1 of another shape: fc.weight \(0,\) for \(6, 256\)"),
        ("fc.weight", torch.zeros(2, 256, 1), r"1 of another shape: fc.weight \(2, 256, 1\)"),
        ("fc.weight", torch.zeros(10**7, 3), r"1 of another shape: fc.weight \(10000000, 3\)"),
        ("extra", torch.zeros(3), "1 unexpected: extra"),
    ],
)
def test_what_is_wrong_with_a_tensor_is_said(change, key, value, words):
    with pytest.raises(SmallBigError, match=words) as caught:
        load_model(change(key, value))
    assert caught.value.where.endswith("model.safetensors") and "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read(change, dtype):
    assert load_model(change("fc.weight", lambda v: v.to(dtype))).fc.weight.dtype == torch.float32


@pytest.mark.parametrize("words", [["predict"], ["evaluate"], ["evaluate", "--json"], ["benchmark", "--model"]], ids=" ".join)
def test_every_verb_that_scores_refuses_nan(change, words, clips, capsys):
    directory = change("fc.weight", lambda v: v.fill_(NAN))
    verb, *options = words
    command = ["benchmark", "--model", directory] if verb == "benchmark" else [verb, directory, str(clips), *options]
    assert main(command) in (1, 2)
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[-1].startswith("smallbig: error: ") and "NaN or infinity" in err.splitlines()[-1]


def test_weights_that_overflow_are_an_error_and_no_score(change, clips, capsys):
    directory = change("fc.weight", lambda v: v.fill_(3e38))
    for verb in ("predict", "evaluate"):
        assert main([verb, directory, str(clips), "--json"]) == 1
        out, err = capsys.readouterr()
        assert out == "" and "the network returns NaN instead of scores" in err.splitlines()[-1]


def test_training_does_not_start_from_nan(change):
    directory = change("res2.0.unit1.conv.weight", lambda v: v.fill_(NAN))
    with pytest.raises(SmallBigError, match=r"res2\.0\.unit1\.conv\.weight holds NaN"):
        create_model("smallbig_r23", 2, width=8, weights=directory)


def header_of(tensors: dict) -> bytes:
    header = json.dumps(tensors).encode()
    return struct.pack("<Q", len(header)) + header


HUGE = {"fc.weight": {"dtype": "F32", "shape": [2**20, 2**20], "data_offsets": [0, 2**42]}}
LIE = {"fc.weight": {"dtype": "F32", "shape": [2, 256], "data_offsets": [0, 4]}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        b"\xff" * 8,
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 10**5) + b"[" * 10**5,
        header_of(HUGE) + b"\x00" * 100,
        header_of(LIE) + b"\x00" * 4,
        header_of({"fc.weight": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}) + b"\x00" * 4,
        header_of({"fc.weight": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}) + b"\x00" * 4,
        header_of({"fc.weight": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}) + b"\x00" * 4,
        header_of({"fc.weight": 3}),
        header_of({}),
        b"PK\x03\x04" + b"\x00" * 100,
        b"\x80\x02}q\x00.",
    ],
    ids=range(15),
)
def test_a_file_that_lies_about_itself_is_refused_at_once(model, content):
    (model / "model.safetensors").write_bytes(content)
    started = time.process_time()
    with pytest.raises(SmallBigError, match=r"can't read the weights|missing: ") as caught:
        load_model(model)
    assert time.process_time() - started < 2 and "\n" not in str(caught.value)


def test_a_file_larger_than_memory_is_compared_before_it_is_read(model):
    """A sparse file of 64 GB: 2**34 zeros."""
    header = header_of({"fc.weight": {"dtype": "F32", "shape": [2**17, 2**17], "data_offsets": [0, 2**36]}})
    with open(model / "model.safetensors", "wb") as file:
        file.write(header)
        file.truncate(len(header) + 2**36)
    started = time.process_time()
    with pytest.raises(SmallBigError):
        load_model(model)
    assert time.process_time() - started < 2


def test_a_large_network_is_not_built_for_small_weights(model):
    """R101 at width 512 would take 11 GB."""
    config = json.loads((model / "config.json").read_text())
    config["network"] |= {"name": "smallbig_r101", "width": 512}
    (model / "config.json").write_text(json.dumps(config))
    started = time.process_time()
    with pytest.raises(SmallBigError, match=r"missing: res2\.1\.unit1"):
        load_model(model)
    assert time.process_time() - started < 2


def test_no_weights(model):
    (model / "model.safetensors").unlink()
    with pytest.raises(SmallBigError, match=r"can't read the weights.*model\.safetensors"):
        load_model(model)
    (model / "model.safetensors").mkdir()
    with pytest.raises(SmallBigError, match=r"can't read the weights.*model\.safetensors"):
        load_model(model)
