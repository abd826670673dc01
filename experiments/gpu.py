"""What only a GPU can show: that everything is right there, and how fast and lean it is.

    python experiments/gpu.py [--minutes 8] [--out DIR] [--stages STAGE ...]        (or: make gpu)

Stages, the most worth first, each with a share of the time: tests; training steps; answers; steps equal to the CPU's; a short
training; decoding. Each thing that is measured runs in a process of its own, which may crash, hang or run out of memory alone;
the next one starts up meanwhile, and torch.compile has been at work since the beginning. After each, DIR/results.json and the
table in DIR/report.md are written; what they hold of the same GPU is kept when the program runs again. --dry-run goes through
all of it on a CPU in tiny sizes.

Works offline with PyTorch and Triton, torchvision, Accelerate, pytest, and the rest of this package's requirements; of those a
machine made for PyTorch lacks av, jsonargparse and docstring-parser (36 MB of wheels) most likely.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from queue import Empty, Queue
from signal import SIGKILL, SIGTERM, signal
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, TextIO

ROOT = Path(__file__).parents[1]
STAGES = {"tests": 80, "training": 110, "inference": 50, "equality": 30, "learning": 20, "decoding": 10}  # seconds of 300
LOG_BYTES = 2**20  # of a piece's log
# Of each process, where not set otherwise: several compile beside each other.
ENVIRONMENT = {"OMP_NUM_THREADS": "4", "TORCHINDUCTOR_COMPILE_THREADS": "4", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Piece:
    """What a process of its own measures.

    Attributes:
        function: module and name of a generator in `gpu_stages`; its first item says that it is ready, and what follows comes
            when it has the GPU alone: figures to add to the piece's.
        limit: seconds, counted from when its turn comes.
        ahead: it gets ready, which takes long, from the beginning.
        aside: it needs no GPU, and runs from the beginning.
        in_dry_run: whether a dry run has it; one of those that are alike is enough.
    """

    stage: str
    name: str
    function: str
    arguments: tuple[Any, ...] = ()
    limit: float = 30
    ahead: bool = False
    aside: bool = False
    in_dry_run: bool = True

    @property
    def key(self) -> str:
        return f"{self.stage}: {self.name}"


def _training(name: str, *arguments: Any, limit: float = 30, **options: Any) -> Piece:
    return Piece("training", name, "training:steps", arguments, limit, **options)


def _inference(name: str, *arguments: Any, **options: Any) -> Piece:
    return Piece("inference", name, "inference:answers", arguments, **options)


PIECES = [
    Piece("tests", "pytest -m gpu", "checks:tests", limit=80),
    Piece("training", "ceilings", "training:ceilings", limit=30),
    _training("plain", "", "plain", limit=45, in_dry_run=False),
    _training("ours", "", "fused", limit=45),
    _training("channels_last", "", "channels_last", in_dry_run=False),
    _training("ours compiled", "", "fused", True, ahead=True),
    _training("plain compiled", "", "plain", True, ahead=True, in_dry_run=False),
    _training("channels_last compiled", "", "channels_last", True, ahead=True, in_dry_run=False),
    _training("slowonly_r50", "slowonly_r50", "fused", limit=15, in_dry_run=False),
    _training("slowfast_r50", "slowfast_r50", "fused", limit=15, in_dry_run=False),
    _training("s3d", "s3d", "channels_last", limit=15, in_dry_run=False),
    _training("mvit_v2_s", "mvit_v2_s", "channels_last", limit=15, in_dry_run=False),
    _inference("ours", "fused"),
    _inference("ours compiled", "fused", True, ahead=True, in_dry_run=False),
    _inference("plain", "plain", in_dry_run=False),
    _inference("channels_last compiled", "channels_last", True, ahead=True, in_dry_run=False),
    _inference("channels_last", "channels_last", in_dry_run=False),
    Piece("equality", "fp16", "equality:step", ("fp16",), in_dry_run=False),
    Piece("equality", "FSDP", "equality:step", ("FSDP",), in_dry_run=False),
    Piece("equality", "checkpointing", "equality:step", ("checkpointing",)),
    Piece("equality", "fp32", "equality:step", ("fp32",), in_dry_run=False),
    Piece("equality", "bf16", "equality:step", ("bf16",), in_dry_run=False),
    Piece("learning", "GPU", "learning:curve", ("cuda",), in_dry_run=False),
    Piece("learning", "CPU", "learning:curve", ("cpu",), aside=True),
    Piece("decoding", "a core", "feeding:decoded"),
]


class Worker:
    """The process of a piece."""

    def __init__(self, piece: Piece, dry_run: bool, folder: Path):
        self.piece, self.ready = piece, False
        self.log = folder / f"{piece.key}.log"
        command = [sys.executable, __file__, "--piece", piece.key] + ["--dry-run"] * dry_run
        paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = ENVIRONMENT | os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,  # so that its own processes end with it
            )
        self.rows: Queue[dict | None] = Queue()
        Thread(target=self._listen, daemon=True).start()
        if piece.aside:
            self.go()

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            self.rows.put(json.loads(line))
            self.ready = True
        self.rows.put(None)

    def go(self) -> None:
        """Its turn has come."""
        try:
            print(file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # it has ended, and its rows end

    def next(self, until: float) -> dict | None:
        """What it has found next; None when it has ended. Raises Empty when the time is over."""
        return self.rows.get(timeout=max(until - time.monotonic(), 0.001))

    def end(self) -> None:
        try:
            os.killpg(self.process.pid, SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-LOG_BYTES:]


class Run:
    """All pieces, one after the other, and what they found."""

    def __init__(self, minutes: float, out: Path, stages: list[str], dry_run: bool, folder: Path):
        self.out, self.dry_run, self.folder, self.seconds = out, dry_run, folder, 60 * minutes
        out.mkdir(parents=True, exist_ok=True)
        self.results: dict[str, Any] = {"where": where(dry_run), "pieces": {}}
        before = json.loads(self.file.read_text()) if self.file.exists() else {}
        if before.get("where") == self.results["where"]:
            self.results = before
        found = self.results["pieces"]
        self.left = [
            piece
            for piece in PIECES
            if piece.stage in stages and (piece.in_dry_run or not dry_run) and found.get(piece.key, {}).get("state") != "done"
        ]
        self.workers: dict[Piece, Worker] = {}

    @property
    def file(self) -> Path:
        return self.out / "results.json"

    def run(self) -> None:
        """Goes through the pieces until they or the minutes end."""
        end = time.monotonic()
        try:
            for piece in self.left:
                if piece.ahead or piece.aside:
                    self._start(piece)
            for stage, share in STAGES.items():
                end += share * self.seconds / sum(STAGES.values())  # what an earlier stage didn't take is this one's
                self._run_stage(stage, end)
        finally:
            for worker in self.workers.values():
                worker.end()

    def _run_stage(self, stage: str, end: float) -> None:
        while mine := [piece for piece in self.left if piece.stage == stage]:
            piece = next((piece for piece in mine if not piece.ahead or self.workers[piece].ready), mine[0])
            self.left.remove(piece)
            if time.monotonic() >= end:
                result: dict[str, Any] = {"state": "no time"}
            else:
                worker = self._start(piece)
                for following in [one for one in self.left if not one.ahead][:1]:
                    self._start(following)
                result = self._follow(worker, min(end, time.monotonic() + piece.limit))
            self._keep(piece, result)

    def _start(self, piece: Piece) -> Worker:
        if piece not in self.workers:
            self.workers[piece] = Worker(piece, self.dry_run, self.folder)
        return self.workers[piece]

    def _follow(self, worker: Worker, until: float) -> dict[str, Any]:
        """What a piece finds before its time is over."""
        started = time.monotonic()
        result: dict[str, Any] = {"state": "running"}
        try:
            if (row := worker.next(until)) is not None:
                worker.go()
                others = [one.piece.key for one in self.workers.values() if one.piece.ahead and not one.ready]
                result |= {"others_compiling": others} if others and worker.piece.stage != "tests" else {}
            while row is not None:
                result |= row
                row = worker.next(until)
            code = worker.process.wait()
            lines = worker.said().strip().splitlines() or ["no word"]
            result["state"] = "done" if code == 0 else f"failed ({code}): {lines[-1][:300]}"
        except Empty:
            result["state"] = f"stopped after {time.monotonic() - started:.0f} s"
        worker.end()
        return result | {"seconds": round(time.monotonic() - started, 1)}

    def _keep(self, piece: Piece, result: dict[str, Any]) -> None:
        """Writes what is known so far, and what the piece's process said."""
        from gpu_stages.report import report

        self.results["pieces"][piece.key] = result
        self.file.write_text(json.dumps(self.results, indent=1) + "\n")
        (self.out / "report.md").write_text(report(self.results))
        print(f"{piece.key}: {result['state']}", file=sys.stderr, flush=True)
        if worker := self.workers.get(piece):
            with open(self.out / "log.txt", "a") as log:
                log.write(f"\n===== {piece.key}: {result['state']}\n{worker.said()}")


def where(dry_run: bool) -> dict[str, str]:
    """Machine and versions; figures of another machine are not kept."""
    import torch

    if not dry_run and not torch.cuda.is_available():
        sys.exit("there is no CUDA device here; --dry-run goes through all of it on a CPU")
    device = "a CPU, dry run" if dry_run else torch.cuda.get_device_name()
    return {"device": device, "torch": torch.__version__, "Python": platform.python_version()}


def run_piece(key: str, dry_run: bool) -> None:
    """In a piece's process: one line of JSON on standard output for each item, all that is printed on standard error."""
    answers: TextIO = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    piece = next(piece for piece in PIECES if piece.key == key)
    from gpu_stages.scale import DRY_RUN, GPU

    module, name = piece.function.split(":")
    rows = getattr(import_module(f"gpu_stages.{module}"), name)(DRY_RUN if dry_run else GPU, *piece.arguments)
    for number, row in enumerate(rows):
        print(json.dumps(row), file=answers, flush=True)
        if number == 0:
            sys.stdin.readline()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--dry-run", action="store_true", help="on a CPU in tiny sizes")
    parser.add_argument("--piece", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.piece:
        run_piece(args.piece, args.dry_run)
        return
    signal(SIGTERM, lambda *_: sys.exit(1))  # which ends the processes, too
    with TemporaryDirectory() as folder:
        Run(args.minutes, args.out, args.stages, args.dry_run, Path(folder)).run()
    print((args.out / "report.md").read_text())


if __name__ == "__main__":
    main()
