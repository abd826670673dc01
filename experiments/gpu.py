"""What only a GPU can show: that everything is right there, and how fast and lean it is.

    python experiments/gpu.py [--minutes 8] [--out DIR] [--stages STAGE ...]        (or: make gpu)

First comes what is not timed, all at once: tests, and steps compared with the CPU's; torch.compile starts on its work. Then
come the figures, the most worth first, and nothing else uses the GPU while one is taken: compilers that are not done are
stopped meanwhile. Last come a short training and decoding. After each piece DIR/results.json and the table in DIR/report.md are
written. A piece that fails or takes too long costs only itself. What is done already, on the same GPU with the same PyTorch, is
kept when the program runs again. --dry-run goes through all of it on a CPU in tiny sizes.

Works offline with PyTorch and Triton, pytest, and the requirements of this package. A machine made for PyTorch most likely
lacks av, jsonargparse, docstring-parser and pebble of those (36 MB of wheels); what is missing is said at once.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from queue import Empty
from signal import SIGCONT, SIGSTOP, SIGTERM, signal
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from gpu_stages.report import report
from gpu_stages.worker import Worker

STAGES = ("tests", "equality", "training", "inference", "learning", "decoding")
MODULES = tuple(f"gpu_stages.{name}" for name in ("training", "inference", "equality", "learning", "feeding"))
FIRST_SHARE = 0.3  # of the time, at most, for what comes before the figures


@dataclass(frozen=True)
class Piece:
    """One thing that is measured or checked.

    Attributes:
        function: module and name of a function of (turn, scale, *arguments), which tells its `Turn` what it finds.
        limit: seconds.
        line: pieces of the same line run one after the other in one process.
        alone: nothing else runs meanwhile, because times are taken.
        ahead: it has a process of its own, which gets ready from the beginning on, and then waits for its turn.
        in_dry_run: whether a dry run has it; one of those that are alike is enough.
    """

    stage: str
    name: str
    function: str
    arguments: tuple[Any, ...] = ()
    limit: float = 30
    line: str = "eager"
    alone: bool = True
    ahead: bool = False
    in_dry_run: bool = True

    @property
    def key(self) -> str:
        return f"{self.stage}: {self.name}"


def _check(name: str, line: str = "equality", **options: Any) -> Piece:
    return Piece("equality", name, "gpu_stages.equality:step", (name,), 60, line, alone=False, **options)


def _training(name: str, model: str, form: str, **options: Any) -> Piece:
    return Piece("training", name, "gpu_stages.training:steps", (model, form), **options)


def _inference(name: str, form: str, precisions: int, **options: Any) -> Piece:
    return Piece("inference", name, "gpu_stages.inference:answers", (form, precisions), **options)


def _compiled(stage: str, name: str, form: str, **options: Any) -> Piece:
    function = {"training": "gpu_stages.training:compiled_steps", "inference": "gpu_stages.inference:compiled_answers"}[stage]
    return Piece(stage, f"{name} compiled", function, (form,), 90, f"{stage} {name} compiled", ahead=True, **options)


PIECES = [
    Piece("tests", "pytest -m gpu", "gpu_stages.checks:tests", limit=75, line="tests", alone=False),
    _check("fp32", in_dry_run=False),
    _check("fp16", in_dry_run=False),
    _check("bf16", in_dry_run=False),
    _check("checkpointing"),
    _check("FSDP", line="FSDP", in_dry_run=False),
    Piece("training", "floors", "gpu_stages.training:floors", limit=60, line="floors", alone=False),
    Piece("training", "ceilings", "gpu_stages.training:ceilings"),
    _training("plain", "", "plain", limit=50, in_dry_run=False),
    _training("channels_last", "", "channels_last", limit=40, in_dry_run=False),
    _training("ours", "", "fused", limit=50),
    _inference("ours", "fused", 4, limit=50),
    _inference("channels_last", "channels_last", 1, in_dry_run=False),
    _inference("plain", "plain", 1, in_dry_run=False),
    _compiled("inference", "ours", "fused", in_dry_run=False),
    _compiled("training", "ours", "fused"),
    _compiled("training", "channels_last", "channels_last", in_dry_run=False),
    _compiled("inference", "channels_last", "channels_last", in_dry_run=False),
    _compiled("training", "plain", "plain", in_dry_run=False),
    Piece("training", "operations", "gpu_stages.training:operations"),
    _training("slowonly_r50", "slowonly_r50", "fused", line="others", in_dry_run=False),
    _training("slowfast_r50", "slowfast_r50", "fused", line="others", in_dry_run=False),
    _training("s3d", "s3d", "channels_last", line="others", in_dry_run=False),
    _training("mvit_v2_s", "mvit_v2_s", "channels_last", line="others", in_dry_run=False),
    Piece("learning", "GPU", "gpu_stages.learning:curve", ("cuda",), 120, "learning GPU", alone=False, in_dry_run=False),
    Piece("learning", "CPU", "gpu_stages.learning:curve", ("cpu",), 120, "learning CPU", alone=False),
    Piece("decoding", "a core", "gpu_stages.feeding:decoded", limit=60, line="decoding", alone=False),
]


def dry(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces of a dry run: few, and those that don't get ready ahead are in one process, one after the other."""
    mine = [piece for piece in pieces if piece.in_dry_run]
    return [piece if piece.ahead else replace(piece, line="dry", alone=True) for piece in mine]


class Run:
    """All pieces, and what they found.

    Args:
        pieces: in their order; neighbours that are not `alone` run at once.
        modules: that every process imports while it waits.
    """

    def __init__(self, pieces: Sequence[Piece], seconds: float, out: Path, dry_run: bool, folder: Path, modules=MODULES):
        self.pieces, self.seconds, self.out = pieces, seconds, out
        self.new_worker = lambda: Worker(folder, modules, dry_run)
        out.mkdir(parents=True, exist_ok=True)
        self.results: dict[str, Any] = {"where": where(dry_run), "pieces": {}}
        before = json.loads(self.file.read_text()) if self.file.exists() else {}
        if before.get("where") == self.results["where"]:
            self.results = before
        found = self.results["pieces"]
        self.left = [piece for piece in pieces if found.get(piece.key, {}).get("state") != "done"]
        self.workers: dict[str, Worker] = {}  # by line
        self.spare: Worker | None = None
        self.started = time.monotonic()
        self.end = self.started + seconds
        self.lock = Lock()

    @property
    def file(self) -> Path:
        return self.out / "results.json"

    def run(self) -> None:
        """Goes through the pieces until they or the time end."""
        try:
            for piece in self.left:
                if piece.ahead and time.monotonic() < self.end:
                    self._worker(piece).ask(piece.function, piece.arguments)
            for alone, group in groupby(self.left, key=lambda piece: piece.alone):
                if alone:
                    for piece in group:
                        self._run_alone(piece)
                else:
                    self._run_at_once(list(group))
        finally:
            self.close()

    def close(self) -> None:
        """Ends all processes; nothing is started after that."""
        self.end = 0.0
        for worker in [*self.workers.values(), *filter(None, [self.spare])]:
            worker.end()

    def _run_at_once(self, pieces: list[Piece]) -> None:
        """Runs pieces that are not timed, each line in a process of its own."""
        is_first = pieces[0] == self.left[0]
        end = min(self.end, time.monotonic() + FIRST_SHARE * self.seconds) if is_first else self.end
        self._signal_those_ahead(SIGCONT)
        lines: dict[str, list[Piece]] = {}
        for piece in pieces:
            lines.setdefault(piece.line, []).append(piece)
        if time.monotonic() < end:
            for first_piece, *_ in lines.values():
                self._worker(first_piece)
            self._keep_a_spare(pieces[-1])
        with ThreadPoolExecutor(len(lines)) as pool:
            list(pool.map(lambda line: [self._follow(piece, end) for piece in line], lines.values()))

    def _run_alone(self, piece: Piece) -> None:
        if time.monotonic() < self.end:
            worker = self._worker(piece)
            self._keep_a_spare(piece)
            if piece.ahead:
                self._signal_those_ahead(SIGCONT)
                worker.ready.wait(min(self.end - time.monotonic(), piece.limit))
        self._signal_those_ahead(SIGSTOP)
        self._follow(piece, self.end)

    def _keep_a_spare(self, piece: Piece) -> None:
        """Starts a process for whoever needs one after a piece, so that nobody waits for its imports."""
        if self.spare is None and any(other.line not in self.workers for other in self._after(piece)):
            self.spare = self.new_worker()

    def _signal_those_ahead(self, number: int) -> None:
        """Stops or continues the processes that are not ready yet."""
        for line in {piece.line for piece in self.left if piece.ahead}:
            if (worker := self.workers.get(line)) and not worker.ready.is_set():
                worker.signal(number)

    def _worker(self, piece: Piece) -> Worker:
        """Return the process of a piece's line: a new one where there is none, or where the last one ended."""
        with self.lock:
            worker = self.workers.get(piece.line)
            if worker is None or worker.ended:
                worker, self.spare = self.spare or self.new_worker(), None
                self.workers[piece.line] = worker
        return worker

    def _follow(self, piece: Piece, end: float) -> None:
        """Runs a piece and keeps what it finds before its time is over."""
        began = time.monotonic()
        result: dict[str, Any] = {"state": "no time"}
        if began < end:
            worker = self._worker(piece)
            before = worker.said_so_far()
            result = self._found(piece, worker, min(end, began + piece.limit))
            result |= {"began": round(began - self.started, 1), "seconds": round(time.monotonic() - began, 1)}
            if result["state"] != "done" or not any(other.line == piece.line for other in self._after(piece)):
                worker.end()
            self._log(piece, result, worker.said(before))
        self._keep(piece, result)

    def _after(self, piece: Piece) -> list[Piece]:
        return self.left[self.left.index(piece) + 1 :]

    def _found(self, piece: Piece, worker: Worker, end: float) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if not piece.ahead:
            worker.ask(piece.function, piece.arguments)
        elif not worker.ready.is_set():
            return {"state": f"not ready after {time.monotonic() - self.started:.0f} s"}
        else:
            worker.go()
        began = time.monotonic()
        try:
            while (row := worker.next(end)) is not None:
                if "error" in row:
                    return found | {"state": f"failed: {row['error']}"}
                if "end" in row:
                    return found | {"state": "done"}
                found |= row
        except Empty:
            return found | {"state": f"stopped after {time.monotonic() - began:.0f} s"}
        return found | {"state": f"its process ended ({worker.process.wait()})"}

    def _keep(self, piece: Piece, result: dict[str, Any]) -> None:
        """Writes what is known so far."""
        with self.lock:
            found = self.results["pieces"] | {piece.key: result}
            self.results["pieces"] = {each.key: found[each.key] for each in self.pieces if each.key in found}
            self.file.write_text(json.dumps(self.results, indent=1) + "\n")
            (self.out / "report.md").write_text(report(self.results))
            print(f"{time.monotonic() - self.started:4.0f} s {piece.key}: {result['state']}", file=sys.stderr, flush=True)

    def _log(self, piece: Piece, result: dict[str, Any], said: str) -> None:
        with self.lock, open(self.out / "log.txt", "a") as log:
            log.write(f"\n===== {piece.key}: {result['state']}\n{said}")


def missing_packages() -> list[str]:
    """Return those of this package's requirements, and pytest, that are not installed."""
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    requirements = project.split("\ndependencies = [\n")[1].split("\n]")[0]
    missing = []
    for name in [*re.findall(r'^ *"([\w-]+)', requirements, re.MULTILINE), "pytest"]:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    return missing


def where(dry_run: bool) -> dict[str, str]:
    """Machine and versions; figures of others are not kept."""
    versions = {"torch": version("torch"), "Python": platform.python_version()}
    if dry_run:
        return {"device": "a CPU, dry run"} | versions
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        names = []
    if not names:
        sys.exit("there is no CUDA device here (nvidia-smi names none); --dry-run goes through all of it on a CPU")
    return {"device": names[0]} | versions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--dry-run", action="store_true", help="on a CPU in tiny sizes")
    args = parser.parse_args()
    if missing := missing_packages():
        sys.exit(f"not installed here: {', '.join(missing)}")
    pieces = dry(PIECES) if args.dry_run else PIECES
    pieces = [piece for piece in pieces if piece.stage in args.stages]
    with TemporaryDirectory() as folder:
        run = Run(pieces, 60 * args.minutes, args.out, args.dry_run, Path(folder))

        def stop(*_: object) -> None:
            run.close()
            sys.exit(1)

        signal(SIGTERM, stop)
        run.run()
    print((args.out / "report.md").read_text())


if __name__ == "__main__":
    main()
