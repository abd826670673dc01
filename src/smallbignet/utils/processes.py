"""Calls in other processes, which may crash or hang: what FFmpeg does with other people's files can do both.

None of these processes imports the script that starts them, as Python's own would. A script that calls its work without
`if __name__ == "__main__":` would start it once more in each of them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, TimeoutError  # another one than the builtin before Python 3.11
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, get_start_method
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext, SpawnContext, SpawnProcess
from threading import Lock
from types import ModuleType
from typing import Any

from pebble import ProcessExpired, ProcessPool

from smallbignet.errors import WorkError

AHEAD = 64  # calls scheduled for each process: enough to keep it busy, and few enough for a list of a million calls

_STARTING = Lock()


class _Process(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        """Starts a process while an empty module stands in for the script, which the process would import first."""
        with _STARTING:
            script = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                return SpawnProcess._Popen(process_obj)
            finally:
                sys.modules["__main__"] = script


class _Context(SpawnContext):
    Process = _Process


SPAWN = _Context()


def worker_context() -> BaseContext | None:
    """The context for worker processes of other libraries: None, which means Python's own, where processes are forked."""
    return None if get_start_method() == "fork" else SPAWN


@dataclass(frozen=True)
class Failure:
    """A call that returned nothing.

    Attributes:
        reason: why, in plain words.
    """

    reason: str


def in_processes(function: Callable, calls: Sequence[tuple[tuple, float]], workers: int = 0) -> Iterator[Any]:
    """Calls a function in several processes, and yields what each call returns, in the order of the calls.

    A call that crashes its process, takes too long or raises an exception yields a `Failure`; the others are not affected.

    Args:
        function: one that can be pickled, as its arguments and what it returns. For a function of the script itself the
            processes do import the script, which then calls this under `if __name__ == "__main__":`.
        calls: for each call the arguments and the seconds allowed.
        workers: number of processes; 0 means one for each core.

    Raises:
        WorkError: no process can be started.
    """
    workers = min(workers or os.cpu_count() or 1, len(calls))
    scheduled: deque[tuple[Future, float]] = deque()
    pool = ProcessPool(workers, context=get_context("spawn") if function.__module__ == "__main__" else SPAWN)
    try:
        for arguments, seconds in calls:
            scheduled.append((pool.schedule(function, arguments, timeout=seconds), seconds))
            if len(scheduled) > AHEAD * workers:
                yield _wait(*scheduled.popleft())
        while scheduled:
            yield _wait(*scheduled.popleft())
    finally:
        pool.stop()
        pool.join()


def _wait(future: Future, seconds: float) -> Any:
    try:
        return future.result()
    except BrokenProcessPool as error:
        what = 'no process could be started; in a script, call this under `if __name__ == "__main__":`'
        raise WorkError(what) from error
    except ProcessExpired:
        return Failure("it crashed the process that worked on it")
    except TimeoutError:
        return Failure(f"it was not done after {seconds:.0f} seconds")
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}")


def spawn(function: Callable) -> tuple[Connection, Any]:
    """A process that calls `function` with each tuple of arguments that it is sent, and sends back what that returns.

    Returns:
        the connection to send and receive by, which ends the process when it is closed; and the process.
    """
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(function, theirs), daemon=True)
    process.start()
    theirs.close()  # so that `ours` ends when the process does
    return ours, process


def _serve(function: Callable, connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the caller ends this one
    while True:
        try:
            arguments = connection.recv()
        except EOFError:
            return
        connection.send(function(*arguments))
