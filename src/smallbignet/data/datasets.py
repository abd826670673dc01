"""Random clips to train on.

Worker processes (see `loader`) open, read and close a video by themselves and return uint8. A training clip depends on (seed,
epoch, row) alone, so the same seed gives the same batches with any number of workers or processes, and from any point of a
run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from smallbignet.data.annotations import Annotations
from smallbignet.data.frames import Unreadable
from smallbignet.data.options import VideoOptions
from smallbignet.data.sampling import ClipSpec, find_places, sample_train_clip
from smallbignet.data.transforms import NO_AUGMENT, AugmentSpec, InputSpec, train_crop
from smallbignet.errors import VideoError

Key = tuple[int, ...]  # (epoch, row), or (epoch, row, repetition) of a further clip of the same video


@dataclass
class Batch:
    """Clips to train on.

    Attributes:
        clips: uint8 NTHWC (N, T, H, W, C).
        labels: (N,) int64; or (N, num_classes) uint8 where a video may have several classes.
        rows: (N,) int64, the videos' places in the annotations.
        unreadable: videos that should have been among these, and were replaced.
    """

    clips: Tensor
    labels: Tensor
    rows: Tensor
    unreadable: list[Unreadable] = field(default_factory=list)

    @classmethod
    def collate(cls, samples: Sequence[Batch]) -> Batch:
        """Joins several batches to one."""
        return cls(
            torch.cat([sample.clips for sample in samples]),
            torch.cat([sample.labels for sample in samples]),
            torch.cat([sample.rows for sample in samples]),
            [video for sample in samples for video in sample.unreadable],
        )

    def pin_memory(self) -> Batch:
        """The same in memory that a GPU copies from while it computes. PyTorch's loader calls this."""
        return replace(self, clips=self.clips.pin_memory())


class TrainClips:
    """Random clips of labelled videos: item (epoch, row) is a batch of one clip, (1, T, size, size, 3).

    Further clips of a video in an epoch have the keys (epoch, row, 1), (epoch, row, 2), ...

    A video that can't be read is replaced by another, drawn from the same seed, and named in `unreadable`.

    Raises:
        SmallBigError: `augment.flip_pairs` don't fit the classes, or are given though `input_spec` says not to flip.
        VideoError: by an item, where none of the videos can be read.
    """

    def __init__(
        self,
        annotations: Annotations,
        clip: ClipSpec,
        input_spec: InputSpec,
        options: VideoOptions,
        seed: int = 0,
        augment: AugmentSpec = NO_AUGMENT,
    ):
        self.annotations = annotations
        self.clip = clip
        self.input_spec = input_spec
        self.options = options
        self.seed = seed
        self.augment = augment
        self.mirrored_labels = np.array(augment.mirrored_labels(len(annotations.classes), input_spec.flip))

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, key: Key) -> Batch:
        rng = np.random.default_rng([self.seed, *key])
        unreadable: list[Unreadable] = []
        for row in self._candidates(key[1], rng):
            seed = int(rng.integers(2**62))
            path = str(self.annotations.paths[row])
            try:
                clip, label = self._read(path, self.annotations.labels[row], seed)
                return Batch(clip[None], torch.as_tensor(label)[None], torch.tensor([row]), unreadable)
            except VideoError as error:
                unreadable.append(Unreadable(path, error.what))
        what = f"none of the {len(self)} videos could be read; the first: {unreadable[0].reason}"
        raise VideoError(what, unreadable[0].path)

    def read_batch(self, keys: list[Key]) -> Batch:
        """The items of some keys as one batch; a worker process of `make_loader` calls this."""
        return Batch.collate([self[key] for key in keys])

    def _candidates(self, wanted: int, rng: np.random.Generator) -> Iterator[int]:
        yield wanted
        yield from (row for row in rng.permutation(len(self)).tolist() if row != wanted)

    def _read(self, path: str, label: np.ndarray, seed: int) -> tuple[Tensor, np.ndarray]:
        generator = torch.Generator().manual_seed(seed)
        with self.options.open(path) as video:
            places = find_places(video, self.clip, self.options)
            frames = video.frames(places.frames(sample_train_clip(places.count, places.spec, generator)).tolist())
        # The crop gets a seed of its own. With the clip's, one place in a video would always get the same crop.
        crop_seed = int(torch.randint(2**62, (), generator=generator))
        clip, mirrored = train_crop(frames, self.input_spec, crop_seed, self.augment)
        if mirrored:  # pairs swap, so their indices swap the columns of several classes as well
            label = label[self.mirrored_labels] if self.annotations.is_multilabel else self.mirrored_labels[label]
        return clip, label


def epoch_batches(
    num_videos: int, batch_size: int, seed: int, epoch: int, balanced: np.ndarray | None = None
) -> list[list[Key]]:
    """The keys of an epoch's batches, shuffled by (seed, epoch). Videos that don't fill a batch are left out.

    A set smaller than a batch makes one batch.

    Args:
        balanced: (num_videos,) the videos' labels, where every class is to be shown equally often; else each video is, once.
    """
    rng = np.random.default_rng([seed, epoch])
    draws = [(row,) for row in rng.permutation(num_videos).tolist()] if balanced is None else balanced_draws(balanced, rng)
    keys: list[Key] = [(epoch, *draw) for draw in draws]
    size = min(batch_size, num_videos)
    return [keys[start : start + size] for start in range(0, num_videos - size + 1, size)]


def balanced_draws(labels: np.ndarray, rng: np.random.Generator) -> list[tuple[int, int]]:
    """As many pairs (row, repetition) as there are labels: the classes appear equally often, and so do the rows of a class.

    Where the numbers don't divide, some appear once more than others.
    """
    classes = rng.permutation(np.unique(labels))
    quota, rest = divmod(len(labels), len(classes))
    draws = []
    for place, label in enumerate(classes):
        rows = rng.permutation(np.flatnonzero(labels == label)).tolist()
        draws += [(rows[i % len(rows)], i // len(rows)) for i in range(quota + (place < rest))]
    return [draws[i] for i in rng.permutation(len(draws))]
