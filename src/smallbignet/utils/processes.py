"""Calls in processes that they may crash or hang: what FFmpeg meets in other people's files does both."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any


def in_processes(function: Callable, jobs: list[tuple[tuple, float]], workers: int = 0) -> Iterator[Any]:
    """Call `function` for each (arguments, seconds allowed) in order; where that fails, yield a sentence that says how.

    An executor would do but for two things: one dead process breaks all of it, and it can't end a call that hangs.
    The processes are spawned: a script that calls this does so under `if __name__ == "__main__":`.

    Args:
        workers: processes; 0 takes one for each core.
    """
    workers = workers or os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    waiting = deque(enumerate(jobs))
    results: dict[int, Any] = {}
    busy: dict[Connection, tuple[int, float, Any]] = {}  # to each process: its job, when it must be done, the process
    idle: list[tuple[Connection, Any]] = []
    following = 0
    try:
        while following < len(jobs):
            while waiting and len(busy) < workers:
                idle = [(connection, process) for connection, process in idle if process.is_alive()]
                connection, process = idle.pop() if idle else spawn(context, function)
                job, (arguments, seconds) = waiting.popleft()
                connection.send(arguments)
                busy[connection] = job, time.monotonic() + seconds, process
            nearest = min(deadline for _, deadline, _ in busy.values())
            ready = wait(list(busy), max(0.0, nearest - time.monotonic()))
            for connection, (job, deadline, process) in list(busy.items()):
                if connection in ready:
                    try:
                        results[job] = connection.recv()
                        idle.append((connection, process))
                    except (EOFError, OSError):
                        results[job] = "the decoder crashed"
                elif time.monotonic() >= deadline:
                    results[job] = f"the decoder was not done after {jobs[job][1]:.0f} seconds"
                    process.kill()
                else:
                    continue
                del busy[connection]
            while following in results:
                yield results.pop(following)
                following += 1
    finally:
        for _, _, process in busy.values():
            process.kill()
        for connection, _ in idle:  # which ends its process
            connection.close()


def spawn(context: Any, function: Callable) -> tuple[Connection, Any]:
    """A process that calls `function` with each tuple of arguments it is sent and sends the answer, until it is let go of."""
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(function, theirs), daemon=True)
    process.start()
    theirs.close()  # so that ours ends when the process does
    return ours, process


def _serve(function: Callable, connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the caller ends these
    while True:
        try:
            arguments = connection.recv()
        except EOFError:
            return
        connection.send(function(*arguments))
