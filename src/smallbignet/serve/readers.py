"""Processes that read videos: what FFmpeg does with a stranger's file may crash, hang, or take all memory."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import LifoQueue
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smallbignet.data.frames import Unreadable
from smallbignet.errors import VideoError
from smallbignet.utils.processes import spawn

STARTING = 120.0  # seconds that a process may take to import what it needs


class Items:
    """What a reader process calls: it starts a function that yields items, and returns these one at a time.

    Args:
        megabytes: that the process may take, besides what it has before its first video.
    """

    def __init__(self, megabytes: int):
        self.megabytes = megabytes
        self.items: Iterator[Any] | None = None

    def __call__(self, *call: Any) -> Any:
        """Returns the next item, or the first one of a call `(function, *arguments)`; None after the last one."""
        if self.items is None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it may reach every process; the server ends this one itself
            torch.set_num_threads(1)
            limit_memory(self.megabytes)
        if call:
            function, *arguments = call
            self.items = iter(function(*arguments))
        assert self.items is not None, "the first call names a function"
        try:
            return _with(next(self.items, None), Tensor, Tensor.numpy)
        except VideoError as error:
            return Unreadable("", error.what)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error):  # PyTorch has no error of its own for this
                raise
            return Unreadable("", f"reading it takes more than {self.megabytes} MB of memory")


def _with(item: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """An item with its fields of a type changed. Tensors travel as arrays: PyTorch would put them in shared memory."""
    changed = {name: change(value) for name, value in getattr(item, "__dict__", {}).items() if isinstance(value, kind)}
    return replace(item, **changed) if changed else item


def limit_memory(megabytes: int) -> None:
    """Lets this process take so many megabytes more than it has now, on systems that have such a limit."""
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[0])
    except (ImportError, OSError):
        return
    most = pages * os.sysconf("SC_PAGE_SIZE") + megabytes * 10**6
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


class Reader:
    """A process that reads one video at a time."""

    def __init__(self, megabytes: int):
        self.connection, self.process = spawn(Items(megabytes))
        self.is_lost = False

    def read(self, deadline: float, function: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
        """Yields what a function yields in the process, which makes the next item while this one is used.

        The process is lost where it crashes, takes too long, or is left before the last item.

        Args:
            deadline: by `time.monotonic()`.

        Raises:
            VideoError: the process crashed or was not done in time, so the video can't be read.
        """
        is_done = False
        try:
            self.connection.send((function, *arguments))
            while (item := self._receive(deadline)) is not None:
                if isinstance(item, Unreadable):
                    is_done = True
                    yield item
                    return
                self.connection.send(())
                yield _with(item, np.ndarray, torch.from_numpy)
            is_done = True
        except (EOFError, OSError):
            raise VideoError("it crashed the process that read it") from None
        finally:
            if not is_done:
                self.close()

    def _receive(self, deadline: float) -> Any:
        if not self.connection.poll(max(deadline - time.monotonic(), 0)):
            raise VideoError("reading it takes too long")
        return self.connection.recv()

    def close(self) -> None:
        """Ends the process, whatever it does. Another thread that waits for it gets a VideoError."""
        self.is_lost = True
        self.process.kill()
        self.process.join()


class Readers:
    """Processes that read videos, of which each serves one request at a time. A lost one is replaced.

    Args:
        count: number of processes.
        megabytes: that each may take for a video.
    """

    def __init__(self, count: int, megabytes: int):
        self.megabytes = megabytes
        self.all = {Reader(megabytes) for _ in range(count)}
        self.idle: LifoQueue[Reader] = LifoQueue()
        for reader in self.all:
            self.idle.put(reader)
        self.num_lost = 0

    def wait(self) -> None:
        """Returns when all processes have imported what they need."""
        for reader in list(self.all):
            list(reader.read(time.monotonic() + STARTING, iter, ()))

    @contextmanager
    def one(self) -> Iterator[Reader]:
        """Lends a process, when one is idle."""
        reader = self.idle.get()
        try:
            yield reader
        finally:
            if reader.is_lost:
                self.num_lost += 1
                self.all.remove(reader)
                reader = Reader(self.megabytes)
                self.all.add(reader)
            self.idle.put(reader)

    def close(self) -> None:
        """Ends all processes."""
        for reader in list(self.all):
            reader.close()
