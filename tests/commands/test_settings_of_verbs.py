"""Every setting of every verb is checked before any work, and an error names it, its value and what is allowed."""

from __future__ import annotations

import inspect
import shlex
from importlib import import_module
from typing import Annotated, get_origin, get_type_hints

import pytest

from smallbignet.cli import VERBS, main


@pytest.mark.parametrize("verb", VERBS)
def test_every_number_has_a_range(verb):
    function = getattr(import_module(f"smallbignet.commands.{verb}"), verb)
    plain, limited = get_type_hints(function), get_type_hints(function, include_extras=True)
    numbers = [name for name in inspect.signature(function).parameters if plain[name] in (int, float)]
    assert [name for name in numbers if get_origin(limited[name]) is not Annotated] == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("check clips --workers -1", "workers must be a whole number from 0 to 1,024, not -1"),
        ("check clips --clean clips", "clean must be a file that can be written, or nothing, not 'clips'"),
        ("check clips --clean file/a.csv", "clean must be a file that can be written, or nothing, not 'file/a.csv'"),
        ("prepare clips file", "target must be a folder that can be written, or a path where one can be made, not 'file'"),
        ("prepare clips new --workers 1e9", "workers must be a whole number from 0 to 1,024, not 1000000000"),
        ("prepare clips new --short_side 0", "short_side must be a whole number from 2 to 8,192, not 0"),
        ("predict m clips --top -1", "top must be a whole number from 1 to 30,000, not -1"),
        ("evaluate m clips --workers -2", "workers must be a whole number from -1 to 1,024, not -2"),
        ("evaluate m clips --report file", "report must be a folder that can be written, or nothing, not 'file'"),
        ("evaluate m clips --scores a.csv", "scores must be a file that ends in .npz and can be written, not 'a.csv'"),
        ("train small --data.train clips --run.dir file", "run.dir must be a folder that can be written"),
        ("train small --data.train clips --run.workers -5", "run.workers must be a whole number from -1 to 1,024, not -5"),
        ("train small --data.train clips --model.drop_rate 2", "model.drop_rate must be a number of at least 0 and below 1"),
        ("models smallbig_r23 --num_classes -1", "num_classes must be a whole number from 0 to 30,000, not -1"),
        ("models smallbig_r23 --clip 8x9999", "a clip is written frames x size, such as 8x224, each up to 4096 (8x9999)"),
        ("benchmark --batch -1", "batch must be a whole number from 0 to 4,096, not -1"),
        ("benchmark --turns 0", "turns must be a whole number from 1 to 10,000, not 0"),
        ("benchmark --threads -1", "threads must be a whole number from 0 to 1,024, not -1"),
        ("benchmark --clip 4096x4096", "a clip may have 33,554,432 pixels at most, and these have 68,719,476,736"),
        ("demo --seed -1", "seed must be a whole number from 0 to 4,294,967,295, not -1"),
        ("demo --out file", "out must be a folder that can be written, or a path where one can be made, not 'file'"),
        ("convert file file --network res50", "directory must be a folder that can be written"),
        ("ablate 2 --recipe small --data clips --out file", "out must be a folder that can be written"),
        ("ablate 2 --recipe small --data clips --seeds x", "seeds are whole numbers with commas between them"),
    ],
)
def test_a_wrong_setting_is_one_line(command, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for name in ("run", "walk"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        (tmp_path / "clips" / name / "a.mp4").touch()
    assert main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"smallbig: error: {words}") and err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "file"]
