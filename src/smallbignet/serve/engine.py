"""The one thread that networks run in: clips that wait together go through a network together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

import torch
from torch import Tensor

from smallbignet.inference.classifier import VideoClassifier

MOST_CLIPS = 32  # in a batch, unless one request alone has more: the others wait for it


@dataclass(frozen=True)
class Waiting:
    """Clips that wait for a network, or another call that waits for its turn.

    Attributes:
        function: what is called: with the clips, or with nothing.
        clips: uint8 NTHWC.
    """

    function: Callable[..., Any]
    clips: Tensor | None
    future: Future = field(default_factory=Future)

    def goes_with(self, other: Waiting) -> bool:
        """Whether the clips of both can go through one network together."""
        if self.clips is None or other.clips is None:
            return False
        return self.function == other.function and self.clips.shape[1:] == other.clips.shape[1:]


class Engine:
    """Runs networks in one thread, in the order in which work comes.

    Args:
        observe: called with the number of clips in each batch, and the number of requests that they came from.
    """

    def __init__(self, observe: Callable[[int, int], object] = lambda clips, requests: None):
        self.observe = observe
        self.waiting: list[Waiting] = []
        self.has_work = Condition()
        self.is_closed = False
        self.thread = Thread(target=self._run, name="engine", daemon=True)
        self.thread.start()

    def scores(self, classifier: VideoClassifier, clips: Tensor) -> Tensor:
        """What `classifier.scores` returns for the clips."""
        return self._wait(Waiting(classifier.scores, clips))

    def call(self, function: Callable[[], Any]) -> Any:
        """What a function returns when it is called between two batches."""
        return self._wait(Waiting(function, None))

    def _wait(self, item: Waiting) -> Any:
        with self.has_work:
            self.waiting.append(item)
            self.has_work.notify()
        return item.future.result()

    def close(self) -> None:
        """Ends the thread after what waits is done."""
        with self.has_work:
            self.is_closed = True
            self.has_work.notify()
        self.thread.join()

    def _run(self) -> None:
        while batch := self._next_batch():
            try:
                if batch[0].clips is None:
                    results = [batch[0].function()]
                else:
                    clips = [item.clips for item in batch if item.clips is not None]
                    self.observe(sum(map(len, clips)), len(batch))
                    results = list(batch[0].function(torch.cat(clips)).split([len(part) for part in clips]))
            except BaseException as error:
                for item in batch:
                    item.future.set_exception(error)
            else:
                for item, result in zip(batch, results, strict=True):
                    item.future.set_result(result)

    def _next_batch(self) -> list[Waiting]:
        """The first that waits, and what goes with it; nothing at the end."""
        with self.has_work:
            self.has_work.wait_for(lambda: self.waiting or self.is_closed)
            batch: list[Waiting] = []
            num_clips = 0
            for item in self.waiting:
                size = 0 if item.clips is None else len(item.clips)
                if not batch or (item.goes_with(batch[0]) and num_clips + size <= MOST_CLIPS):
                    batch.append(item)
                    num_clips += size
            self.waiting = [item for item in self.waiting if item not in batch]
            return batch
