"""Pages in a real browser: wide and on a phone, light and dark, by keyboard, without a network."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from smallbignet.commands.ablate import write_ablation_page
from smallbignet.commands.benchmark import Benchmark, write_benchmark_page
from smallbignet.commands.explain import explain
from smallbignet.inference.evaluation import Evaluation
from smallbignet.paper.ablation import Ablation, RowResult, Run, compare
from smallbignet.report.evaluation import write_evaluation_page
from smallbignet.timing.cases import FLOORS
from smallbignet.timing.turns import Row
from smallbignet.weights.directory import ModelConfig, ScoreSpec

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # of which a container may have little
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium here")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as api:
        try:
            browser = api.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        except playwright.Error as error:
            pytest.skip(f"chromium does not start here: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")], ids=str)
def opened(browser, request):
    """Opens a page at some width in some colours, and checks what holds for every page; returns it."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)

    def open_page(file: Path):
        page = context.new_page()
        problems: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        assert not problems
        assert all(url.startswith(("file:", "data:")) for url in asked)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")
        assert (min(red, green, blue) > 240) == (scheme == "light")
        return page

    yield open_page
    context.close()


def test_the_page_of_a_run(opened, run):
    page = opened(run / "index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#training"
    page.keyboard.press("Enter")
    assert page.url.endswith("#training")
    named = page.evaluate("[...document.querySelectorAll('svg, video')].every(item => item.getAttribute('aria-label'))")
    assert named and page.locator("svg").count() == 3


def test_excerpts_play(browser, run):
    page = browser.new_page()
    page.goto((run / "index.html").as_uri())
    video = page.locator("video").first
    video.scroll_into_view_if_needed()
    plays = "new Promise(done => item.ontimeupdate = () => item.currentTime > 0 && done(item.duration))"
    seconds = video.evaluate(f"item => item.play().then(() => {plays})")
    assert 0.5 < seconds <= 3.1


@pytest.fixture(scope="module")
def pages(clips, tmp_path_factory):
    """A folder with pages of results that are made up: a table of the paper, a benchmark, a test with several classes."""
    out = tmp_path_factory.mktemp("pages")
    run = partial(Run, "runs/r23-seed0", 0, "")
    rows = [
        RowResult("R23", {"top1": 64.1}, 10**7, 10**9, [run(0.5)], {"0": 0.5, "1": 0.6}),
        RowResult("SmallBig: 3x3x3 (1st layer)+Tx3x3 (3rd layer)", {"top1": 70.8}, 10**7, 10**9, [run(error="stopped")], {}),
    ]
    found = Ablation(5, "Table 5. More layers", "seeds", rows, [compare(*rows)], {"data": "x.csv", "settings": "a: 1\n"}, [])
    write_ablation_page(found, out / "ablation.html")
    timed = [Row("smallbig_r50", name, "8x224", 1, (2.0, 1.5, 2.5), {"p50": 500.0}) for name in ("plain", "fused bf16")]
    timed.append(replace(timed[0], top=[("convolution", 0.9)]))
    floors = dict.fromkeys(FLOORS, 1e-11)
    write_benchmark_page(Benchmark("a CPU", "1.0", "inference, clips of noise", floors, timed), out / "benchmark.html")
    labels, scores = np.array([[1, 1], [0, 1]], np.uint8), np.array([[0.9, 0.2], [0.7, 0.6]], np.float32)
    spec = ScoreSpec("sigmoid", thresholds=[0.5, 0.5])
    config = ModelConfig({"name": "smallbig_r23", "num_classes": 2}, ["a" * 40, "a class of several words"], scores=spec)
    videos = np.array(sorted(map(str, clips.glob("val/*/*.mp4")))[:2])
    result = Evaluation(videos, labels, scores, config.classes, [], "1x1", spec)
    write_evaluation_page(out / "multilabel.html", result, config, "several classes")
    return out


@pytest.mark.parametrize(("name", "pictures", "videos"), [("ablation", 3, 0), ("benchmark", 3, 0), ("multilabel", 0, 2)])
def test_pages_of_results(opened, pages, name, pictures, videos):
    page = opened(pages / f"{name}.html")
    assert page.locator("svg[aria-label]").count() == page.locator("svg").count() == pictures
    assert page.locator("video[aria-label]").count() == videos
    narrow = "[...document.querySelectorAll('tbody th')].every(item => item.offsetWidth < window.innerWidth / 2)"
    assert page.evaluate(narrow) or name == "multilabel"  # a name of one long word is not broken


@pytest.fixture(scope="module")
def explained(run, clips, tmp_path_factory):
    """The folder of an explanation of a video whose name is wider than a phone."""
    out = tmp_path_factory.mktemp("why")
    video = shutil.copy(min(clips.glob("val/turning/*.mp4")), tmp_path_factory.mktemp("video") / f"{'a' * 80}.mp4")
    explain(str(run), str(video), out=str(out))
    return out


def test_the_page_of_an_explanation(opened, explained):
    page = opened(explained / "index.html")
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0 && image.alt)")


def test_a_place_is_chosen_by_key_and_by_click(browser, explained):
    page = browser.new_page()
    page.goto((explained / "index.html").as_uri())
    frames = page.locator("#frames svg")
    assert frames.count() == 4
    page.locator("#t").focus()
    page.keyboard.press("Home")
    assert page.locator("#said").inner_text().startswith("Place: frame 1, ")  # of frames 1, 3, 5 and 7
    page.keyboard.press("ArrowRight")
    assert page.locator("#said").inner_text().startswith("Place: frame 3, ")
    box = frames.nth(1).locator("rect[stroke='#ffd60a']:not([stroke-dasharray='4 3'])")
    assert box.count() == 1  # the place
    frames.nth(3).click()
    assert page.locator("#said").inner_text().startswith("Place: frame 7, ")
    page.locator("#view").select_option(index=2)
    assert "res5.0.extra" in page.locator("#said").inner_text()
    assert page.locator("#frames rect[stroke='#ff3b30']").count() == 1  # where most maxima came from
    page.close()
