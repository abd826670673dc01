"""The demo's plumbing, on a handful of clips; `make demo` runs the whole."""

import json

import pytest

from smallbignet import SmallBigError
from smallbignet.commands import demo


def test_the_demo_ends_with_figures_a_picture_and_a_model(tmp_path, monkeypatch, capsys):
    from smallbignet.cli import main

    monkeypatch.setattr(demo, "CLIPS", {"train": 2, "val": 1})
    assert main(["demo", "--out", str(tmp_path / "d"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer["top1"]) == {"SmallBig-R23", "its 2-D parent"}
    assert (tmp_path / "d/demo.png").read_bytes().startswith(b"\x89PNG")
    assert main(["predict", str(tmp_path / "d"), str(tmp_path / "d/clips/val/still")]) == 0
    monkeypatch.setattr(demo, "load_recipe", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # an earlier demo is replaced
        demo.demo(out=str(tmp_path / "d"))


def test_the_demo_replaces_nothing_but_a_demo(tmp_path):
    (tmp_path / "precious").touch()
    with pytest.raises(SmallBigError, match="something other than an earlier demo"):
        demo.demo(out=str(tmp_path))
    assert (tmp_path / "precious").exists()
