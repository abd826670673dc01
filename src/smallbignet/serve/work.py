"""Videos on their way to an answer: waiting, worked on by a few threads, cancelled, done."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from smallbignet.errors import VideoError
from smallbignet.serve.forms import AnswerForm, State
from smallbignet.serve.models import Question
from smallbignet.serve.readers import Reader, Readers
from smallbignet.serve.refusals import busy
from smallbignet.serve.uploads import Upload


class Work:
    """A question about one video."""

    def __init__(self, question: Question, upload: Upload):
        self.question = question
        self.upload = upload
        self.future: Future[AnswerForm] = Future()
        self.progress = 0.0
        self.ended = 0.0  # by `time.monotonic()`
        self.is_cancelled = False
        self.is_told = False  # whether a client has asked what became of it
        self._reader: Reader | None = None
        self._lock = Lock()

    @property
    def state(self) -> State:
        if not self.future.done():
            return "running" if self.future.running() else "waiting"
        if self.future.cancelled() or self.is_cancelled:
            return "cancelled"
        return "failed" if self.future.exception() else "done"

    def advance(self, share: float) -> None:
        """Notes how much of the work is done."""
        self.progress = share

    def cancel(self) -> None:
        """Ends the work, whether it waits or runs."""
        with self._lock:
            self.is_cancelled = True
            if not self.future.cancel() and self._reader:
                self._reader.close()

    def lend(self, reader: Reader | None) -> None:
        """Notes the process that reads the video, or that none does any more."""
        with self._lock:
            if reader and self.is_cancelled:
                raise VideoError("cancelled")
            self._reader = reader


class Lane:
    """A queue with an end, and the threads that work on it, each with a process that reads videos.

    Args:
        readers: the processes; there are as many threads.
        most: that may wait or be worked on.
        answer: works on a question with a reader.
        done: called after each work, whatever became of it.
    """

    def __init__(
        self,
        readers: Readers,
        most: int,
        answer: Callable[[Work, Reader], AnswerForm],
        done: Callable[[Work], object],
    ):
        self.readers = readers
        self.most = most
        self.answer = answer
        self.done = done
        self.threads = ThreadPoolExecutor(len(readers.all), "answer")
        self.works: set[Work] = set()
        self.seconds = 1.0  # that the last works took on average

    def check_room(self) -> None:
        """Raises a Refusal where the queue is full."""
        if len(self.works) >= self.most:
            raise busy(
                429, f"{self.most} requests wait already: try again later", self.seconds * self.most / len(self.readers.all)
            )

    def add(self, work: Work) -> None:
        """Puts work at the end of the queue."""
        self.works.add(work)
        work.future = self.threads.submit(self._run, work)
        work.future.add_done_callback(lambda future: self._end(work))

    def _run(self, work: Work) -> AnswerForm:
        started = time.monotonic()
        with self.readers.one() as reader:
            work.lend(reader)
            try:
                return self.answer(work, reader)
            finally:
                work.lend(None)
                self.seconds += 0.1 * (time.monotonic() - started - self.seconds)

    def _end(self, work: Work) -> None:
        work.ended = time.monotonic()
        self.works.discard(work)
        self.done(work)

    def close(self) -> None:
        """Cancels all work, and ends the threads and processes."""
        for work in list(self.works):
            work.cancel()
        self.threads.shutdown()
        self.readers.close()
