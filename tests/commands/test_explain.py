"""`smallbig explain`: every file is there, says the same numbers, and harms nobody who opens it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import av
import numpy as np
import pytest
import torch

from smallbignet import create_model, load_config, load_model, save_model
from smallbignet.cli import main
from smallbignet.data.sampling import ClipSpec
from smallbignet.data.transforms import to_input
from smallbignet.explain.clip import read_clip

EVIL = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def video(clips):
    return str(min(clips.glob("val/horizontal/*.mp4")))


def run_json(capsys, *words) -> dict:
    assert main(["explain", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_files_and_numbers(run, video, tmp_path, capsys):
    report = run_json(capsys, run, video, "--out", tmp_path / "why")
    assert sorted(report["files"]) == sorted(path.name for path in (tmp_path / "why").iterdir())
    config = load_config(run)
    logits = load_model(run)(to_input(read_clip(video, config).pixels[None], config.input))[0]
    label = config.classes.index(report["label"])
    assert label == logits.argmax()
    arrays = np.load(tmp_path / "why" / "contributions.npz")
    assert arrays["map"].shape == tuple(report["map_size"]) == (4, 1, 1)
    assert arrays["map"].sum() + arrays["bias"] == pytest.approx(logits[label].item(), rel=1e-4)
    assert arrays["logit"] == report["logit"] == pytest.approx(logits[label].item(), rel=1e-6)
    assert report["relative_error"] < 1e-4
    assert [view["kind"] for view in report["big_views"]] == ["local", "frames", "clip"]
    with av.open(str(tmp_path / "why" / "overlay.mp4")) as container:
        assert len(list(container.decode(video=0))) == len(report["frames"]) == 4


def test_two_classes_and_a_second_network_with_two_pathways(run, video, tmp_path, capsys):
    config = load_config(run)
    arguments = {"name": "slowfast_r50", "num_classes": 6, "width": 8}
    torch.manual_seed(0)
    save_model(create_model(**arguments), replace(config, network=arguments, clip=ClipSpec("uniform", 8)), tmp_path / "sf")
    words = ["--out", tmp_path / "why", "--label", "still", "--against", "turning", "--at", "1,0,0", "--beside", run]
    report = run_json(capsys, tmp_path / "sf", video, *words)
    assert (report["label"], report["against"], report["place"]) == ("still", "turning", [1, 0, 0])
    arrays = np.load(tmp_path / "why" / "contributions.npz")
    assert np.allclose(arrays["map_slow"] + arrays["map_fast"], arrays["map"])
    assert report["pathways"]["slow"] + report["pathways"]["fast"] == pytest.approx(report["sum_of_map"])
    page = (tmp_path / "why" / "index.html").read_text(encoding="utf-8")
    assert "Why still and not turning" in page and "slow pathway" in page
    assert report["big_views"] == [] and "Where the big views looked" not in page  # SlowFast has none


class Reader(HTMLParser):
    """The texts, elements and addresses of a page."""

    def __init__(self):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_a_page_that_stands_alone_and_runs_nobody_elses_code(run, video, tmp_path, capsys):
    config = load_config(run)
    classes = [EVIL, *config.classes[1:]]
    save_model(load_model(run), replace(config, classes=classes), tmp_path / "model")
    evil = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    evil.write_bytes(open(video, "rb").read())
    report = run_json(capsys, tmp_path / "model", evil, "--out", tmp_path / "why", "--label", EVIL)
    assert report["label"] == EVIL
    page = (tmp_path / "why" / "index.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(page)
    assert [tag for tag, _ in reader.elements].count("script") == 2  # the data and the viewer
    assert EVIL not in page and EVIL in reader.text  # it is shown, as text
    images = [attributes for tag, attributes in reader.elements if tag == "img"]
    assert len(images) == 6 and all(image["alt"] and "onerror" not in image for image in images)
    addresses = [attributes[key] for _, attributes in reader.elements for key in ("src", "href") if key in attributes]
    assert addresses and all(re.match("data:(image/png|video/mp4);base64,", address) for address in addresses)
    assert not re.search(r"""(?:src|href)=["']?https?:|url\(["']?http""", page)
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page
    labelled = {attributes.get("id") for tag, attributes in reader.elements if tag in ("input", "select")}
    assert labelled == {"view", "t", "h", "w"}  # native controls, which the keyboard moves
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    assert len(data["frames"]) == 4 and [len(view["places"]) for view in data["views"]] == [4, 4, 4]
    for view in data["views"]:
        for place in view["places"]:
            assert sum(share for _, share in view["shares"][place["key"]]) == pytest.approx(1000, abs=20)  # rounded


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("--label stil", "no such class; did you mean still? the classes are"),
        ("--label still --against still", "a class can't be compared with itself"),
        ("--at 4,0,0", "the map has 4x1x1 frames, rows and columns, counted from 0 (--at 4,0,0)"),
        ("--at 1,2", "at must be frame, row and column from 0, such as 3,2,4, not '1,2'"),
    ],
)
def test_mistakes_are_one_line(run, video, words, error, tmp_path, capsys):
    assert main(["explain", str(run), video, "--out", str(tmp_path / "why"), *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"smallbig: error: {error}") and err.count("\n") == 1
    assert not (tmp_path / "why").exists()


def test_a_video_that_can_not_be_read(run, tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(b"no video" * 100)
    assert main(["explain", str(run), str(tmp_path / "a.mp4"), "--out", str(tmp_path / "why")]) == 2
    assert "FFmpeg can't open it" in capsys.readouterr().err


def test_other_files_stay_and_stale_pictures_go(run, video, tmp_path, capsys):
    config = load_config(run)
    arguments = {"name": "nonlocal_r23", "num_classes": 6, "width": 8}
    save_model(create_model(**arguments), replace(config, network=arguments), tmp_path / "nonlocal")
    out = tmp_path / "why"
    first = run_json(capsys, run, video, "--out", out)
    (out / "mine.txt").touch()
    second = run_json(capsys, tmp_path / "nonlocal", video, "--out", out)
    assert {"big_view_local.png", "big_view_frames.png", "big_view_clip.png"} == {*first["files"]} - {*second["files"]}
    assert {path.name for path in out.iterdir()} == {"mine.txt", *second["files"]}
