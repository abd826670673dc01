"""What can be checked of the container without an engine that builds it. The linter is hadolint: `hadolint Dockerfile`."""

import json
import os
import re
import subprocess
import sys
import threading
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile with their arguments, in its order."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def arguments(steps: list[tuple[str, str]]) -> dict[str, str]:
    """The build arguments with their defaults."""
    return dict(rest.split("=", 1) for word, rest in steps if word == "ARG")


def test_what_is_copied_is_there_and_is_not_ignored(steps):
    """Nothing else is sent to the engine: no videos, runs or virtual environments."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    kept = {line[1:] for line in lines if line.startswith("!")}
    copied = set()
    for word, rest in steps:
        if word == "COPY" and "--from" not in rest:
            copied |= {name for name in rest.split()[:-1] if not name.startswith("--")}
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)
    assert not any(fnmatch(name, line) for name in copied for line in lines[1:] if not line.startswith("!"))


def test_the_build_has_all_that_the_package_names(steps, project):
    """hatchling reads these files: the build stops where one of them is missing."""
    copied = " ".join(rest for word, rest in steps if word == "COPY")
    assert {project["readme"], *project["license-files"], "pyproject.toml"} <= set(copied.split())


def test_its_extras_and_versions_are_those_of_the_package(steps, project):
    extras = arguments(steps)["EXTRAS"].split(",")
    assert "serve" in extras and set(extras) <= project["optional-dependencies"].keys()
    [early] = [rest for word, rest in steps if word == "RUN" and "TORCH_INDEX" in rest]
    torch = [name for name in project["dependencies"] if name.startswith("torch")]
    assert re.findall(r'"(torch[^"]*)"', early) == torch and len(torch) == 2


def test_there_is_no_cuda_by_default_and_no_root(steps):
    assert arguments(steps)["TORCH_INDEX"].endswith("/cpu")
    bases = [rest for word, rest in steps if word == "FROM"]
    assert len(bases) == 2 and all(base.startswith("python:") for base in bases)
    [user] = [rest for word, rest in steps if word == "USER"]
    assert int(user) > 0  # by number, so that Kubernetes can see that it is not root
    pods = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    assert pods[0]["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == int(user)


@pytest.mark.parametrize("status", [200, 503])
def test_the_health_check_tells_a_live_server_from_a_dead_one(steps, status):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *args):
            pass

    [check] = [rest for word, rest in steps if word == "HEALTHCHECK"]
    command = json.loads(check.partition("CMD ")[2])
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        program = command[2].replace(":8000", f":{server.server_port}")
        done = subprocess.run([sys.executable, command[1], program], stderr=subprocess.DEVNULL, timeout=30)
    assert command[0] == "python" and (done.returncode == 0) == (status == 200)


@pytest.fixture
def enter(tmp_path):
    """Runs the entry point with a `smallbig` that prints its arguments, one in each line; returns these and the messages."""
    (tmp_path / "smallbig").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").symlink_to(sys.executable)
    (tmp_path / "smallbig").chmod(0o755)

    def run(*arguments: str) -> tuple[list[str], str]:
        environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
        done = subprocess.run(
            ["sh", DEPLOY / "entrypoint.sh", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return done.stdout.splitlines(), done.stderr

    return run


def test_a_server_in_a_container_makes_a_token_of_its_own(enter):
    """`-p 8000:8000` opens the port to the whole network, so a server without a token would answer anybody."""
    given, messages = enter("serve", "/models/my model", "--port", "8000")
    token = Path(given[4]).read_text().strip()
    assert given == ["serve", "--host", "0.0.0.0", "--token", given[4], "/models/my model", "--port", "8000"]
    assert len(token) >= 32 and f"http://localhost:8000/#token={token}" in messages
    assert Path(given[4]).stat().st_mode & 0o077 == 0
    assert enter("serve", "/models/my model")[1] != messages


@pytest.mark.parametrize("token", [["--token", "/run/token"], ["--token=/run/token"]], ids=str)
def test_a_token_that_is_given_is_taken(enter, token):
    assert enter("serve", "/models/mine", *token) == (["serve", "--host", "0.0.0.0", "/models/mine", *token], "")


@pytest.mark.parametrize("arguments", [["predict", "/models/mine", "a b.mp4"], ["--help"], []], ids=str)
def test_other_verbs_are_left_as_they_are(enter, arguments):
    assert enter(*arguments) == (arguments or [""], "")
