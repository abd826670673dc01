"""A process that pieces run in, one after the other: as seen from outside (`Worker`), and from inside (`serve`).

Requests go in on its standard input, one line of JSON for each; what pieces tell comes out likewise.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from queue import Queue
from signal import SIGKILL
from tempfile import mkstemp
from threading import Event, Thread
from typing import Any, TextIO

from gpu_stages.scale import DRY_RUN, GPU

EXPERIMENTS = Path(__file__).parents[1]
LOG_BYTES = 2**20  # of what a piece says
# of each process, where not set otherwise: several compile at once
ENVIRONMENT = {"OMP_NUM_THREADS": "4", "TORCHINDUCTOR_COMPILE_THREADS": "4", "PYTHONUNBUFFERED": "1"}


class Worker:
    """A process that runs pieces.

    Attributes:
        ready: set when a piece waits for its turn, or the process has ended.
    """

    def __init__(self, folder: Path, modules: Sequence[str], dry_run: bool):
        handle, self.log = mkstemp(dir=folder)
        paths = [str(EXPERIMENTS), str(EXPERIMENTS.parent / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpu_stages.worker", *modules, *["--dry-run"] * dry_run],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=handle,
            text=True,
            env=ENVIRONMENT | os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # so that its own processes end with it
        )
        os.close(handle)
        self.ready = Event()
        self.rows: Queue[dict | None] = Queue()
        Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            row = json.loads(line)
            if "ready" in row:
                self.ready.set()
            else:
                self.rows.put(row)
        self.rows.put(None)
        self.ready.set()

    def ask(self, function: str, arguments: Sequence[Any]) -> None:
        """Starts a piece."""
        self._write(json.dumps({"function": function, "arguments": arguments}))

    def go(self) -> None:
        """Tells a piece that waits that its turn has come."""
        self._write("go")

    def _write(self, line: str) -> None:
        with suppress(BrokenPipeError):  # it has ended, and so do its rows
            print(line, file=self.process.stdin, flush=True)

    def next(self, until: float) -> dict | None:
        """What a piece tells next; None when the process has ended. Raises Empty when the time is over."""
        return self.rows.get(timeout=max(until - time.monotonic(), 0.001))

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def end(self) -> None:
        self.signal(SIGKILL)
        self.process.wait()

    def said_so_far(self) -> int:
        return os.path.getsize(self.log)

    def said(self, start: int) -> str:
        """What it printed since then, or the end of that."""
        return Path(self.log).read_bytes()[start:][-LOG_BYTES:].decode(errors="replace")


class Turn:
    """What a piece tells, and waits for."""

    def __init__(self, answers: TextIO):
        self.answers = answers

    def tell(self, row: dict[str, Any]) -> None:
        """Adds figures to the piece's."""
        print(json.dumps(row), file=self.answers, flush=True)

    def wait(self) -> None:
        """Says that a piece that got ready ahead is ready, and waits for its turn."""
        self.tell({"ready": True})
        sys.stdin.readline()


def serve(words: list[str]) -> None:
    """In the process: runs what is asked for. After an error it ends, because a GPU may be in any state."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed goes to standard error
    scale = DRY_RUN if "--dry-run" in words else GPU
    for module in words:
        if not module.startswith("--"):
            import_module(module)
    turn = Turn(answers)
    while line := sys.stdin.readline():
        request = json.loads(line)
        module, name = request["function"].split(":")
        try:
            getattr(import_module(module), name)(turn, scale, *request["arguments"])
        except BaseException as error:
            traceback.print_exc()
            text = " ".join(str(error).split())
            turn.tell({"error": f"{type(error).__name__}: {text[:300]}"})
            raise SystemExit(1) from None
        _free_memory()
        turn.tell({"end": True})


def _free_memory() -> None:
    gc.collect()
    if (torch := sys.modules.get("torch")) and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    serve(sys.argv[1:])
