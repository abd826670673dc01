"""The page of a test: what is on it, that names can't become code, and that it stays small for many classes and videos."""

import base64
import io
import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import av
import numpy as np
import pytest

from smallbignet.data.frames import Unreadable
from smallbignet.data.sampling import ClipSpec
from smallbignet.data.synthetic import write_video
from smallbignet.inference.evaluation import Evaluation
from smallbignet.report.evaluation import in_words, write_evaluation_page
from smallbignet.report.excerpts import excerpt
from smallbignet.weights.directory import ModelConfig, ScoreSpec

CLASSES = ["walk", "<script>alert(1)</script>", 'a"b & c']
SCORES = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.3, 0.3, 0.4], [0.1, 0.1, 0.8]], np.float32)
CONFIG = ModelConfig({"name": "smallbig_r23", "num_classes": 3}, CLASSES, views="2x3", scores=ScoreSpec(thresholds=[0.5]))


class Page(HTMLParser):
    """The elements of a page, its text, and whether every element that needs an end has one."""

    VOID = ("meta", "br")

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def result(tmp_path) -> Evaluation:
    paths = [str(tmp_path / f"{name}.mp4") for name in ("a", "b<i>", "c", "gone")]
    for seed, path in enumerate(paths[:3]):
        write_video(path, np.full((30, 36, 64, 3), 60 * seed, np.uint8))
    unreadable = [Unreadable("d.mp4", "<b>damaged</b>")]
    return Evaluation(np.array(paths), np.array([0, 1, 2, 0]), SCORES, CLASSES, unreadable, "2x3", CONFIG.scores)


def test_a_page_has_the_figures_and_names_stay_text(result, tmp_path):
    write_evaluation_page(tmp_path / "page" / "index.html", result, CONFIG, "my <model>")
    page = Page((tmp_path / "page" / "index.html").read_text())
    assert not page.all("script") and not page.all("i") and not page.all("model")
    assert "<script>alert(1)</script>" in page.text and "b<i>.mp4" in page.text and "<b>damaged</b>" in page.text
    for words in ("Test of my <model>", "50.0 %", "15.0 % to 85.0 %", "75.0 %", "33.3 % of these are right"):
        assert words in page.text
    assert "2 clips of 8 frames" in page.text and "3 crops" in page.text
    sources = [attributes["src"] for attributes in page.all("video")]
    assert len(sources) == 1 + 3  # mistakes: b, and one that is gone; least certain: all four, without the one that is gone
    assert page.text.count("no excerpt") == 2
    addresses = [value for _, attributes in page.elements for key, value in attributes.items() if key in ("src", "href")]
    assert all(address.startswith(("data:", "#")) for address in addresses)


def test_the_page_of_videos_with_several_classes(tmp_path):
    """Three videos, by hand: of "walk" one is right, and one is called wrongly; of the second class one is missed."""
    write_video(tmp_path / "a.mp4", np.full((30, 36, 64, 3), 60, np.uint8))
    labels = np.array([[1, 0, 0], [0, 0, 1], [1, 1, 0]], np.uint8)
    scores = np.array([[0.9, 0.1, 0.2], [0.8, 0.1, 0.7], [0.3, 0.4, 0.1]], np.float32)
    spec = ScoreSpec("sigmoid", thresholds=[0.5, 0.6, 0.5])
    paths = np.array([str(tmp_path / "a.mp4"), "b<i>.mp4", "c.mp4"])
    result = Evaluation(paths, labels, scores, CLASSES, [], "1x1", spec)
    write_evaluation_page(tmp_path / "index.html", result, replace(CONFIG, scores=spec), "several")
    text = (tmp_path / "index.html").read_text()
    page = Page(text)
    assert not page.all("script") and not page.all("i") and "b<i>.mp4" in page.text
    assert "walk283.3 %0.50250.0 %50.0 %50.0 %" in page.text  # average precision (1 + 2 / 3) / 2
    assert "called walk: 0.80, threshold 0.50" in page.text
    assert "not called walk: 0.30" in page.text and "not called <script>alert(1)</script>: 0.40, threshold 0.60" in page.text
    assert page.text.index("not called walk") < page.text.index("not called <script>")
    assert page.text.count("no excerpt") == 3 and not page.all("video")  # the video that is there has no mistake
    taken, both = (
        re.findall(r"<td[^>]*>(\d*)</td>", part) for part in re.split(r'<h2 id="(?:taken|together|wrong)">', text)[1:3]
    )
    assert taken == ["1", "", "", "", "", "", "1", "", "1"] and both == ["2", "1", "", "1", "1", "", "", "", "1"]


def test_curves_of_a_run(result, tmp_path):
    metrics = [
        {"epoch": epoch, "split": split, "loss": 2 / epoch, "top1": 0.2 * epoch}
        for epoch in (1, 2, 4)
        for split in ("train", "val")
    ]
    write_evaluation_page(tmp_path / "index.html", result, CONFIG, "run", metrics=metrics, settings="optim:\n  lr: 0.1")
    page = Page((tmp_path / "index.html").read_text())
    points = [attributes["points"].split() for attributes in page.all("polyline")][:2]
    assert points == [["107.5,10.0", "175.0,105.0", "310.0,152.5"]] * 2  # losses of 2, 1 and 0.5 after 1, 2 and 4 epochs of 4
    assert "optim:\n  lr: 0.1" in page.text


def test_four_hundred_classes_and_twenty_thousand_videos(tmp_path):
    random = np.random.default_rng(0)
    labels = random.integers(0, 400, 20_000)
    scores = random.random((20_000, 400), np.float32)
    scores[np.arange(10_000), labels[:10_000]] += 2
    scores /= scores.sum(1, keepdims=True)
    classes = [f"class {i}" for i in range(400)]
    config = replace(CONFIG, classes=classes, network={"name": "smallbig_r23", "num_classes": 400})
    result = Evaluation(np.array([f"{i}.mp4" for i in range(20_000)]), labels, scores, classes, [], "10x3")
    started = time.monotonic()
    write_evaluation_page(tmp_path / "index.html", result, config, "large")
    assert time.monotonic() - started < 60
    assert (tmp_path / "index.html").stat().st_size < 20e6
    counts = re.findall(r"rgba\(var\(--blue-rgb\),[\d.]+\)\">(\d+)", (tmp_path / "index.html").read_text())
    assert sum(map(int, counts)) == 20_000


def test_an_excerpt_is_a_small_video_that_browsers_play(tmp_path):
    write_video(tmp_path / "long.mp4", np.stack([np.full((90, 160, 3), i, np.uint8) for i in range(0, 200, 2)]))
    kind, data = excerpt(str(tmp_path / "long.mp4")).split(",")
    assert kind == "data:video/mp4;base64"
    with av.open(io.BytesIO(base64.b64decode(data))) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="gray").mean() for frame in container.decode(stream)]
        assert (stream.codec_context.name, stream.pix_fmt, stream.width, stream.height) == ("h264", "yuv420p", 160, 90)
    assert len(frames) == 24 and frames[0] < 20 and frames[-1] > 170 and frames == sorted(frames)
    (tmp_path / "broken.mp4").write_bytes(b"x")
    assert excerpt(str(tmp_path / "broken.mp4")) == excerpt("nowhere.mp4") == ""


@pytest.mark.parametrize(
    ("clip", "views", "words"),
    [
        (
            ClipSpec("uniform", 8),
            "1x1",
            "one clip of 8 frames, one from each of 8 equal parts of the video; of each",
        ),
        (ClipSpec("dense", 8, 8), "10x3", "10 clips of 8 frames, every 8th; of each clip, 3 crops."),
        (ClipSpec("dense", 16, 2, fps=12.5), "4x1", "4 clips of 16 frames at 12.5 frames per second; of each clip, one crop."),
    ],
)
def test_sampling_in_words(clip, views, words):
    assert words in in_words(clip, views)
