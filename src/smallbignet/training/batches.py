"""How an epoch is divided: into batches, among the processes, and into the parts that `optim.accumulate` asks for."""

from __future__ import annotations

from collections.abc import Iterator

from smallbignet.data.annotations import Annotations
from smallbignet.data.datasets import Batch, TrainClips, epoch_batches
from smallbignet.data.loader import make_loader
from smallbignet.errors import SmallBigError
from smallbignet.training.settings import TrainConfig


class TrainBatches:
    """One process's share of the batches of a run.

    Attributes:
        steps: optimizer steps in an epoch; videos that don't fill a batch are left out.
        batch_clips: clips of a batch, over all processes: `optim.batch_size`, or all videos if they are fewer.
        clips: clips that an epoch trains on, over all processes.

    Raises:
        SmallBigError: a batch, or the data set, can't be divided among the processes and parts.
    """

    def __init__(self, annotations: Annotations, config: TrainConfig, process: int, processes: int):
        self.config = config
        self.process = process
        self.processes = processes
        self.accumulate = config.optim.accumulate
        self.videos = len(annotations)
        if config.data.balance == "sampler" and annotations.is_multilabel:
            raise SmallBigError("a sampler is for videos with one class each; use data.balance loss", "data.balance sampler")
        self.balanced = annotations.labels if config.data.balance == "sampler" else None
        self._check()
        self.steps = max(self.videos // config.optim.batch_size, 1)
        self.batch_clips = min(config.optim.batch_size, self.videos)
        self.clips = self.steps * self.batch_clips
        self.dataset = TrainClips(annotations, config.clip, config.input, config.data, config.run.seed, config.augment)

    def _check(self) -> None:
        batch_size = self.config.optim.batch_size
        divisor = self.processes * self.accumulate
        factors = f"{self.processes} processes times optim.accumulate {self.accumulate}"
        if batch_size % divisor:
            raise SmallBigError(f"must be a multiple of {divisor}: {factors}", f"optim.batch_size {batch_size}")
        if self.videos < divisor:
            what = f"{self.videos} training videos are too few for {factors}; use fewer processes or a smaller optim.accumulate"
            raise SmallBigError(what, self.config.data.train)

    def rest_of_epoch(self, epoch: int, done: int) -> Iterator[list[Batch]]:
        """The batches of an epoch after the first `done`: this process's share of each, in `optim.accumulate` parts."""
        batches = epoch_batches(self.videos, self.config.optim.batch_size, self.config.run.seed, epoch, self.balanced)
        shares = [batch[self.process :: self.processes] for batch in batches[done:]]
        keys = [share[part :: self.accumulate] for share in shares for part in range(self.accumulate)]
        loader = iter(make_loader(self.dataset.read_batch, keys, self.config.run.workers))
        for _ in shares:
            yield [next(loader) for _ in range(self.accumulate)]
