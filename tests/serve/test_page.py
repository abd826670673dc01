"""The server's page in a real browser: a server process, a chromium with a camera that shows a test picture, no other network.

With PICTURES=DIR in the environment, screenshots of the page are written there.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from smallbignet import VideoClassifier
from smallbignet.data.synthetic import CLASSES, render_clip, write_video
from smallbignet.inference.timeline import make_timelines

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # of which a container may have little
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
HOSTILE = "<script>document.title='bad'</script>"
PICTURES = os.environ.get("PICTURES")

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium here")


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """Six seconds, whose second half moves in another way."""
    parts = [render_clip(CLASSES[name], np.random.default_rng(0), 48, 96) for name in ("turning", "still")]
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_video(path, np.concatenate(parts))
    return path


@pytest.fixture(scope="module")
def models(run, tmp_path_factory) -> tuple[str, str]:
    """A model that never says "unknown", and one that always does, whose classes have names that are markup."""
    folder = tmp_path_factory.mktemp("models")
    for name, thresholds in (("mine", []), ("hostile", [1.0])):
        shutil.copytree(run / "best", folder / name)
        config = json.loads((folder / name / "config.json").read_text())
        config["scores"]["thresholds"] = thresholds
        if name == "hostile":
            config["classes"] = [f"{HOSTILE}{number}" for number in range(len(config["classes"]))]
        (folder / name / "config.json").write_text(json.dumps(config))
    return str(folder / "mine"), str(folder / "hostile")


@pytest.fixture(scope="module")
def address(models):
    """The address of a server with two models."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "smallbignet", "serve", *models, "--port", str(port), "--max_mb", "1"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz", server)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.communicate(timeout=30)


def wait_for(url: str, server: subprocess.Popen) -> None:
    for _ in range(300):
        try:
            return urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            assert server.poll() is None, server.stderr.read()
            time.sleep(0.1)
    pytest.fail(f"the server does not answer at {url}")


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


@pytest.fixture
def open_page(browser, address):
    """Opens the page in a browser of its own, and checks at the end what holds for every visit.

    The browser may write lines with `expected` in them to its console, and no others.
    """

    @contextmanager
    def opened(expected: str = "", width: int = 1280, scheme: str = "light", **options):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, **options)
        context.set_default_timeout(10_000)
        problems: list[str] = []
        asked: list[str] = []
        context.on("console", lambda message: problems.append(message.text))  # also violations of the policy of content
        context.on("weberror", lambda error: problems.append(str(error.error)))
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        page.goto(address)
        page.get_by_text("6 classes").wait_for()
        yield page
        context.close()
        assert [line for line in problems if not expected or expected not in line] == []
        assert all(url.startswith((address, f"blob:{address}", "data:image/")) for url in asked)

    return opened


def choose(page, file) -> None:
    """Chooses a file and waits for its answer."""
    page.set_input_files("#file", file)
    page.locator("#result:not([hidden])").wait_for()
    page.locator("#work").wait_for(state="hidden")


def named(name: str, file: Path) -> dict:
    return {"name": name, "mimeType": "video/mp4", "buffer": file.read_bytes()}


def history(page) -> list[str]:
    """The lines of the history, the newest first: label and file name of each."""
    return [" ".join(item.locator("b, small").all_inner_texts()[:2]) for item in page.locator("#history li").all()]


def test_a_video_gets_the_labels_and_the_timeline_of_the_commands(open_page, models, film):
    classifier = VideoClassifier(models[0], device="cpu")
    predictions = classifier.predict(film)
    [timeline] = make_timelines(classifier, [str(film)])
    with open_page() as page:
        choose(page, film)
        assert page.locator("#headline").inner_text() == predictions[0].label
        lines = [f"{item.label}\n{100 * item.score:.0f} %" for item in predictions]
        assert page.locator("#scores li").all_inner_texts() == lines
        assert page.locator("#segments .text").all_inner_texts() == [segment.label for segment in timeline.segments]


def test_on_a_desk_and_on_a_phone_light_and_dark(open_page, film):
    with open_page() as page:
        for place in ("start", "result"):
            if place == "result":
                choose(page, film)
                page.check("#show-overlay")
            for width, scheme in ((1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")):
                page.set_viewport_size({"width": width, "height": 800})
                page.emulate_media(color_scheme=scheme)
                assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
                colour = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")
                assert (min(colour) > 240) == (scheme == "light")
                if PICTURES:
                    page.screenshot(path=f"{PICTURES}/{place}-{width}-{scheme}.png", full_page=True)


def test_contributions_are_drawn_over_the_video(open_page, film):
    """With the colours of the key: a place is red or blue, or has no colour at all."""
    with open_page() as page:
        choose(page, film)
        assert page.locator("#overlay").is_hidden()
        page.check("#show-overlay")
        page.locator("#overlay").wait_for()
        colours = page.evaluate("""() => {
          const canvas = document.querySelector("#overlay");
          const { data } = canvas.getContext("2d").getImageData(20, 20, canvas.width - 40, canvas.height - 40);
          const found = { red: 0, blue: 0 };
          for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 40) found[data[i] > data[i + 2] ? "red" : "blue"] += 1;
          return [found.red, found.blue, canvas.clientWidth, document.querySelector("#video").clientWidth];
        }""")
        assert colours[0] + colours[1] > 1000
        assert 0 < colours[2] <= colours[3]


def test_unknown_is_said_in_words(open_page, film):
    with open_page() as page:
        page.select_option("#model", label="hostile")
        choose(page, film)
        assert page.locator("#headline").inner_text() == "Unknown"
        assert page.locator("#sure").inner_text().startswith(f"No class is likely enough. The closest is {HOSTILE}")
        assert page.locator("#scores li").count() == 5


def test_a_click_and_keys_in_the_timeline_move_the_video(open_page, film):
    seconds = "document.querySelector('#video').currentTime"
    with open_page() as page:
        choose(page, film)
        track = page.locator("#track")
        box = track.bounding_box()
        track.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
        assert page.evaluate(seconds) == pytest.approx(3.0, abs=0.05)
        track.press("Home")
        assert page.evaluate(seconds) == 0
        track.press("ArrowRight")
        assert page.evaluate(seconds) == pytest.approx(6 / 50, abs=0.01)
        assert track.get_attribute("aria-valuetext").startswith("0:00.1, ")
        track.press("End")
        assert float(track.get_attribute("aria-valuenow")) == pytest.approx(6.0)
        page.evaluate("document.querySelector('#video').currentTime = 1.5")
        page.locator("#cursor[style*='left: 25%']").wait_for()  # it runs along


def test_by_keyboard_alone(open_page, film):
    with open_page() as page:
        page.on("filechooser", lambda chooser: None)  # chromium is told early that choosers are handled here
        for _ in range(5):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == "drop":
                break
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files(film)
        page.locator("#result:not([hidden])").wait_for()
        assert outline == "solid"
        assert page.evaluate("document.activeElement.id") == "headline"
        assert page.locator("#headline").inner_text() in page.locator("#said").inner_text()  # what is read out
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "save"
        with page.expect_download() as download:
            page.keyboard.press("Enter")
        saved = json.loads(Path(download.value.path()).read_text())
        assert download.value.suggested_filename == "film.mp4.json" and saved["path"] == "film.mp4"


def test_a_video_is_dropped_anywhere(open_page, film):
    with open_page() as page:
        page.evaluate(
            """([name, numbers]) => {
              const data = new DataTransfer();
              data.items.add(new File([new Uint8Array(numbers)], name));
              document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
            }""",
            ["dropped.mp4", list(film.read_bytes())],
        )
        page.locator("#result:not([hidden])").wait_for()
        assert page.locator("#name").inner_text() == "dropped.mp4"


def test_names_that_are_markup_are_shown_as_text(open_page, film):
    with open_page() as page:
        page.select_option("#model", label="hostile")
        page.uncheck("#want-unknown")
        choose(page, named(f"{HOSTILE}.mp4", film))
        assert page.locator("#headline").inner_text().startswith(HOSTILE)
        assert HOSTILE in page.locator("#segments .text").first.inner_text()
        assert history(page)[0].startswith(HOSTILE)
        assert page.locator("script").count() == 1 and page.title() == "Label a video"


@pytest.mark.parametrize(
    "content, reason", [(b"not a video", "video"), (b"", "is empty"), (bytes(1_500_000), "takes at most 1.0 MB")]
)
def test_errors_are_said_in_words(open_page, content, reason):
    with open_page("status of 422") as page:
        page.set_input_files("#file", {"name": "text.mp4", "mimeType": "video/mp4", "buffer": content})
        problem = page.locator("#problem:not([hidden])")
        problem.wait_for()
        assert reason in problem.locator("#reason").inner_text()
        assert page.locator("#result").is_hidden() and not history(page)


def test_a_busy_server_and_one_that_is_gone(open_page, film):
    with open_page("status of 429") as page:
        answer = {"status": 429, "headers": {"Retry-After": "7"}, "json": {"error": "busy"}}
        page.route("**/v1/predict*", lambda route: route.fulfill(**answer))
        page.set_input_files("#file", film)
        page.get_by_text("Try again in 7 seconds").wait_for()
        page.unroute("**/v1/predict*")
        page.click("#again")
        page.locator("#result:not([hidden])").wait_for()
    with open_page("ERR_FAILED") as page:
        page.route("**/v1/predict*", lambda route: route.abort())
        page.set_input_files("#file", film)
        page.get_by_text("The server did not answer").wait_for()


def test_progress_is_shown_and_work_is_cancelled(open_page, film):
    with open_page() as page:
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": film.stat().st_size / 20}
        page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
        page.set_input_files("#file", film)
        page.locator("#amount", has_text="Sent ").wait_for()
        assert 0 < page.locator("#progress").evaluate("item => item.value") < 1
        assert page.locator("#drop").is_disabled()
        page.click("#cancel")
        page.locator("#drop:focus").wait_for()
        assert all(page.locator(name).is_hidden() for name in ("#work", "#result", "#problem"))


def test_a_long_video_is_a_job(open_page, tmp_path):
    film = tmp_path / "long.mp4"
    write_video(film, render_clip(CLASSES["turning"], np.random.default_rng(0), 140, 32), fps=2)
    with open_page() as page:
        with page.expect_request("**/v1/jobs?*"):
            choose(page, film)
        assert page.locator("#end").inner_text() == "1:10"


def test_the_camera(open_page):
    with open_page(permissions=["camera"]) as page:
        page.click("#use-camera")
        page.evaluate("document.querySelector('#length').options[0].value = 1")  # a second is enough for a test
        page.select_option("#length", index=0)
        page.click("#record")
        page.get_by_text("Recording, 1 s left").wait_for()
        page.locator("#result:not([hidden])").wait_for()
        assert page.locator("#name").inner_text() == "camera.webm" and page.locator("#camera").is_hidden()
        assert page.evaluate("document.querySelector('#live').srcObject") is None  # its light is off


def test_two_tabs_share_a_history(open_page, film):
    with open_page() as one:
        other = one.context.new_page()
        other.goto(one.url)
        other.get_by_text("6 classes").wait_for()
        one.set_input_files("#file", named("one.mp4", film))
        other.set_input_files("#file", named("other.mp4", film))  # at the same time
        for page in (one, other):
            page.locator("#history li").nth(1).wait_for()
            assert {line.split()[-1] for line in history(page)} == {"one.mp4", "other.mp4"}
        other.reload()
        other.locator("#history li button").first.click()
        assert "not kept" in other.locator("#no-video").inner_text()
        assert other.locator("#timeline").is_visible() and other.locator("#contributions").is_hidden()
        one.click("#clear")
        other.locator("#history li").first.wait_for(state="detached")
        assert one.evaluate("localStorage.length") <= 1


def test_a_damaged_history_does_not_break_the_page(open_page, film):
    with open_page() as page:
        page.evaluate("localStorage.setItem('smallbignet.history', '[{\"id\": 1}, null, 3]')")
        page.reload()
        choose(page, film)
        assert len(history(page)) == 1


def test_a_token_is_asked_for_and_kept_for_the_tab(open_page, address):
    def guarded(route):
        if route.request.headers.get("authorization") == "Bearer secret":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": "no token"})

    with open_page("status of 401") as page:
        page.route("**/v1/**", guarded)
        page.reload()
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        page.get_by_text("does not take this token").wait_for()
        page.fill("#token", "secret")
        page.keyboard.press("Enter")
        page.get_by_text("6 classes").wait_for()
        assert page.evaluate("JSON.stringify(localStorage)") == "{}"
        page.evaluate("sessionStorage.clear()")
        page.goto("about:blank")
        page.goto(f"{address}#token=secret")  # as a container prints it
        page.get_by_text("6 classes").wait_for()
        assert page.locator("#ask-token").is_hidden() and page.url == address
