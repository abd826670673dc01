"""The server as a process: who may ask it, what it refuses, that it says what the commands say, and how it stops."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from smallbignet.cli import main
from smallbignet.data.synthetic import CLASSES, render_clip, write_video
from smallbignet.inference.classifier import VideoClassifier
from smallbignet.serve.guard import is_local
from smallbignet.serve.uploads import harmless

TOKEN = "0123456789abcdef0123456789abcdef"
MAX_BYTES = 1_000_000


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, render_clip(CLASSES["turning"], np.random.default_rng(0), 48, 96))
    return path


class Server:
    """A server process on a free port, with its temporary files in a folder of its own."""

    def __init__(self, model: str, folder: Path, *options: str):
        self.folder = folder
        command = [sys.executable, "-m", "smallbignet", "serve", model, "--port", "0", "--max_mb", "1", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(folder)})
        self.log = ""
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", self.log)):
            line = self.process.stderr.readline()
            assert line, self.log
            self.log += line
        self.port = int(found[1])
        self.reading = threading.Thread(target=self._read_log)
        self.reading.start()
        while self.ask("GET", "/readyz")[0] != 200:
            time.sleep(0.1)

    def _read_log(self) -> None:
        for line in self.process.stderr:
            self.log += line

    def ask(self, method: str, address: str, body: bytes | None = None, **headers: str) -> tuple[int, dict]:
        """The status and the JSON of a response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, address, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except ConnectionRefusedError:
            return 0, {}  # it does not listen yet
        finally:
            connection.close()

    def files(self) -> list[Path]:
        """The uploads that lie in its temporary folder."""
        return [path for path in self.folder.glob("smallbig-serve-*/*") if path.is_file()]

    def stop(self) -> int:
        """The exit status after SIGTERM."""
        self.process.terminate()
        self.reading.join(60)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def server(run, tmp_path_factory):
    started = Server(str(run / "best"), tmp_path_factory.mktemp("tmp"))
    yield started
    started.stop()
    assert list(started.folder.iterdir()) == []


def test_answers_are_those_of_predict(server, run, clip):
    status, answer = server.ask("POST", "/v1/predict?name=clip.mp4&top=3", clip.read_bytes(), Content_Type="video/mp4")
    expected = VideoClassifier(run / "best").predict(clip, top=3)
    assert status == 200 and answer["path"] == "clip.mp4" and answer["error"] == ""
    assert [part["label"] for part in answer["predictions"]] == [part.label for part in expected]
    assert [part["score"] for part in answer["predictions"]] == pytest.approx([part.score for part in expected], rel=1e-5)
    assert server.files() == []


def test_a_job_has_the_same_answer(server, clip):
    body = clip.read_bytes()
    status, job = server.ask("POST", "/v1/jobs?name=clip.mp4", body, Content_Type="video/mp4")
    assert status == 202
    while (found := server.ask("GET", f"/v1/jobs/{job['id']}")[1])["state"] in ("waiting", "running"):
        time.sleep(0.05)
    assert found["result"] == server.ask("POST", "/v1/predict?name=clip.mp4", body, Content_Type="video/mp4")[1]


PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n"


@pytest.mark.parametrize(
    ("status", "address", "body", "headers"),
    [
        (404, "/v1/nothing", b"x", {}),
        (404, "/v1/predict?model=other", b"x", {}),
        (413, "/v1/predict", b"x" * (MAX_BYTES + 1), {}),
        (415, "/v1/predict", b"x", {"Content_Type": "text/html"}),
        (415, "/v1/predict", b"x", {"Content_Encoding": "gzip"}),
        (400, "/v1/predict", b"x", {"Content_Type": "multipart/form-data"}),
        (422, "/v1/predict", b"", {}),
        (422, "/v1/predict", b"no video" * 100, {}),
        (422, "/v1/predict?name=list.m3u8", PLAYLIST, {}),
        (422, "/v1/predict?name=concat.txt", b"ffconcat version 1.0\nfile /etc/hostname\n", {}),
        (422, "/v1/predict?top=0", b"x", {}),
        (422, "/v1/predict?views=many", b"x", {}),
        (421, "/v1/predict", b"x", {"Host": "example.org"}),
        (403, "/v1/predict", b"x", {"Origin": "http://example.org"}),
        (403, "/v1/predict", b"x", {"Sec_Fetch_Site": "cross-site"}),
    ],
)
def test_refusals_are_one_line(server, status, address, body, headers):
    found, answer = server.ask("POST", address, body, **{"Content_Type": "application/octet-stream"} | headers)
    assert found == status
    assert answer["error"] and "\n" not in answer["error"] and "/etc" not in answer["error"]
    assert server.files() == []


def test_a_length_that_lies(server):
    """A chunked body is counted as it comes: there is no length to believe."""
    chunks = (b"x" * 100_000 for _ in range(20))
    found, _ = server.ask("POST", "/v1/predict", chunks, Content_Type="video/mp4")
    assert found == 413 and server.files() == []


def test_a_client_that_goes_leaves_no_file(server):
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: video/mp4\r\nContent-Length: 999\r\n\r\nabc"
        )
        while not server.files():
            time.sleep(0.01)
    while server.files():
        time.sleep(0.01)


def test_names_never_reach_the_log(server, clip):
    server.ask("POST", "/v1/predict?name=../../evil%0Aname.mp4", clip.read_bytes(), Content_Type="video/mp4")
    assert "evil" not in server.log


@pytest.mark.parametrize(
    ("name", "expected"),
    [("../../etc/passwd", "passwd"), ("C:\\a\\b.mp4", "b.mp4"), ("a\n\x1b[31mb.mp4", "a[31mb.mp4"), ("/", "upload")],
)
def test_harmless_names(name, expected):
    assert harmless(name) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost:8000", True), ("127.0.0.1", True), ("[::1]:80", True), ("localhost.example.org", False), ("", False)],
)
def test_hosts_that_are_this_machine(host, expected):
    assert is_local(host) == expected


def test_a_token_is_needed_and_a_signal_lets_the_work_be_done(run, clip, tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    (tmp_path / "tmp").mkdir()
    server = Server(str(run / "best"), tmp_path / "tmp", "--token", str(file))
    body = clip.read_bytes()
    for given in ("", f"Bearer {TOKEN[:-1]}", TOKEN):
        assert server.ask("POST", "/v1/predict", body, Content_Type="video/mp4", Authorization=given)[0] == 401
    known = {"Content_Type": "video/mp4", "Authorization": f"Bearer {TOKEN}"}
    found: list[int] = []
    asking = [
        threading.Thread(target=lambda: found.append(server.ask("POST", "/v1/predict?views=10x3", body, **known)[0]))
        for _ in range(4)
    ]
    for thread in asking:
        thread.start()
    while len(server.files()) < 3:  # taken, and not done
        assert not found
        time.sleep(0.005)
    server.process.send_signal(signal.SIGTERM)
    for thread in asking:
        thread.join()
    server.reading.join(60)
    assert server.process.wait(60) == 0
    assert set(found) <= {200, 503, 0} and found.count(200) >= 3
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--host", "0.0.0.0"], "without a token, only this machine may ask"),
        (["--token", "missing"], "there is no such file with a token"),
        (["--token", "short"], "a token is one word of at least 16"),
        (["--token", "empty"], "the file with the token is empty"),
    ],
)
def test_who_may_ask_is_checked_before_the_start(options, what, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("short").write_text("abc")
    Path("empty").write_text("\n")
    assert main(["serve", str(run / "best"), *options]) == 2
    assert what in capsys.readouterr().err


def test_a_port_in_use(run, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", str(run / "best"), "--port", port]) == 2
    assert f"this port is in use: choose another one (--port {port})" in capsys.readouterr().err
