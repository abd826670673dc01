"""Reading in worker processes, while what was read before is worked on."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from smallbignet.errors import SmallBigError, WorkError, explain_worker_error
from smallbignet.utils.processes import worker_context

T = TypeVar("T")


def make_loader(read: Callable[[list], T], batches: Sequence[list], workers: int) -> Iterator[T]:
    """Calls `read` for each of some batches of keys, in worker processes; yields what it returns in the batches' order.

    Args:
        read: a function of one batch of keys. Where processes are not forked, it is pickled, and is none of the script's own.
        workers: processes that read ahead; 0 reads in this one, -1 takes all cores but one (at least 1, at most 16),
            divided among the processes that train on this machine.

    Raises:
        SmallBigError: `read` raised it, in this process or another.
        WorkError: a worker process can't be started, or was killed.
    """
    if workers < 0:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # Linux, others
        cores //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        workers = min(max(cores - 1, 1), 16)
    loader = DataLoader(
        _Calls(read),
        batch_size=None,
        sampler=batches,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context=worker_context() if workers else None,
    )
    try:
        results = iter(loader)
    except (OSError, AssertionError) as error:  # no semaphores or no memory; in a process that may not have processes
        reason = getattr(error, "strerror", None) or str(error)
        advice = "their queues need a little room in /dev/shm; or use 0 workers"
        what = f"can't start processes that read videos: {reason.lower()}; {advice}"
        raise WorkError(what) from error
    try:
        for result in results:
            if isinstance(result, SmallBigError):
                raise result
            yield result
    except RuntimeError as error:
        if what := explain_worker_error(error):
            raise WorkError(what) from error
        raise


class _Calls(Dataset):
    """A function as a data set. A SmallBigError is returned, since one that a worker raises arrives with a traceback in it."""

    def __init__(self, read: Callable[[list], Any]):
        self.read = read

    def __getitem__(self, keys: list) -> Any:
        try:
            result = self.read(keys)
        except SmallBigError as error:
            result = error
        return result if get_worker_info() is None else _Parcel(result)


class _Parcel:
    """What a worker sends. It is pickled here, because an error in PyTorch's thread that sends would let everybody wait.

    Tensors go through shared memory or, where that is full, as in a container with 64 MB of it, through the pipe.
    """

    def __init__(self, result: Any):
        try:
            for item in result if isinstance(result, list) else [result]:
                for value in vars(item).values() if hasattr(item, "__dict__") else ():
                    if isinstance(value, Tensor):
                        value.share_memory_()
            self.pickled = bytes(ForkingPickler.dumps(result))
        except (RuntimeError, OSError):
            self.pickled = pickle.dumps(result)

    def __reduce__(self) -> tuple[Callable, tuple[bytes]]:
        return pickle.loads, (self.pickled,)
