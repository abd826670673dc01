"""Annotations in, torch data sets out: random clips to train on, all views of each video to test with.

Workers open, read and close a video by themselves and ship uint8. A sample is a pure function of (seed, epoch, index), so the
same seed gives the same batches with any number of workers or processes, and from any point of a run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from smallbignet.data.annotations import Annotations, read_classes, select_rows, split
from smallbignet.data.benchmarks import find_part, read_part
from smallbignet.data.sampling import ClipSpec, Views, sample_test_clips, sample_train_clip
from smallbignet.data.transforms import NO_AUGMENT, AugmentSpec, InputSpec, train_crop, view_crops
from smallbignet.data.video import open_video
from smallbignet.errors import SmallBigError, VideoError


@dataclass(frozen=True)
class DataSpec:
    """Where the videos and their labels are, and how they are split.

    Attributes:
        train: a folder with a folder per class, or with `train` and `val` folders of that kind; Kinetics-400 or
            Something-Something V1 or V2 as their owners hand them out; a .csv file with a header; or a list of `path label` or
            `path num_frames label`.
        val: likewise, to validate; where empty, the `val` folder, the benchmark's part, or what `val_select` or `val_fraction`
            takes.
        select: rows of a .csv to train on, such as "fold=0,1,2"; where empty, all but those that `val_select` takes.
        val_select: rows to validate on, such as "fold=3".
        val_fraction: share of every class held out where neither `val` nor `val_select` is given.
        group_column: column of a .csv whose equal values stay on one side of that split, such as "source".
        split_seed: seed of that split.
        root: folder that listed paths are relative to, or that holds a benchmark's videos; where empty, the source's own.
        path_column: of a .csv.
        label_column: of a .csv.
        classes: file with one class name a line, in the order of the class indices; or kinetics400, ssv1 or ssv2.
        filename_tmpl: names of the frames in a frame folder, such as "img_{:05d}.jpg"; where empty, found out.
        backend: "auto" (PyAV), "pyav" or "torchcodec".
        max_unreadable: share of the training videos that may be unreadable before the run stops.
    """

    train: str = ""
    val: str = ""
    select: str = ""
    val_select: str = ""
    val_fraction: float = 0.2
    group_column: str = ""
    split_seed: int = 0
    root: str = ""
    path_column: str = "path"
    label_column: str = "label"
    classes: str = ""
    filename_tmpl: str = ""
    backend: str = "auto"
    max_unreadable: float = 0.1


def read_split(spec: DataSpec) -> tuple[Annotations, Annotations]:
    """The annotations to train and to validate on, with the same classes.

    Raises:
        SmallBigError: nothing to read, or a part that is empty.
    """
    if not spec.train:
        raise SmallBigError("which videos? give a folder with a folder per class, a .csv file or a list", "--data.train")
    everything = _read(spec, spec.train, "train")
    train = select_rows(everything, spec.select, spec.train)
    has_parts = find_part(spec.train, "train") != Path(spec.train)
    if val_source := spec.val or (spec.train if has_parts else ""):
        return train, select_rows(_read(spec, val_source, "val", everything.classes), spec.val_select, val_source)
    if not spec.val_select:
        return split(train, spec.val_fraction, spec.split_seed, spec.group_column)
    val = select_rows(everything, spec.val_select, spec.train)
    if not spec.select:
        train = train.subset(~np.isin(train.paths, val.paths))
        if not len(train):
            raise SmallBigError(f'"{spec.val_select}" leaves no video to train on', spec.train)
    return train, val


def _read(spec: DataSpec, source: str, part: str, classes: Sequence[str] | None = None) -> Annotations:
    if classes is None and spec.classes:
        classes = read_classes(spec.classes)
    return read_part(source, part, spec.root or None, spec.path_column, spec.label_column, classes)


@dataclass
class Batch:
    """Some videos' clips as a loader delivers them.

    Attributes:
        clips: uint8 (N, T, C, H, W), the views of one video one after the other; in memory a pixel's colours lie side by side,
            as resizing leaves them and `to_input` takes them.
        labels: (B,) int64, one a video.
        rows: (B,) int64, the videos' places in the annotations.
        unreadable: (row, reason) of files that could not be read; not among `rows`.
    """

    clips: Tensor | None
    labels: Tensor
    rows: Tensor
    unreadable: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def collate(cls, samples: Sequence[Batch]) -> Batch:
        """One batch of several."""
        clips = [s.clips.movedim(2, -1) for s in samples if s.clips is not None]
        return cls(
            (torch.cat(clips) if len(clips) > 1 else clips[0]).movedim(-1, 2) if clips else None,
            torch.cat([s.labels for s in samples]),
            torch.cat([s.rows for s in samples]),
            [fault for s in samples for fault in s.unreadable],
        )

    def pin_memory(self) -> Batch:
        return Batch(self.clips.pin_memory() if self.clips is not None else None, self.labels, self.rows, self.unreadable)


class TrainClips(Dataset):
    """Random clips: item (epoch, index) is a batch of one clip (1, T, C, size, size).

    A file that can't be read is replaced by another of the split, drawn from the same seed, and named in `unreadable`. Where
    none can be read, that is a VideoError.

    Raises:
        SmallBigError: `augment.flip_pairs` don't fit the classes, or are given though `frames` says not to flip.
    """

    def __init__(
        self,
        annotations: Annotations,
        clip: ClipSpec,
        frames: InputSpec,
        data: DataSpec,
        seed: int = 0,
        augment: AugmentSpec = NO_AUGMENT,
    ):
        self.annotations, self.clip, self.frames, self.data = annotations, clip, frames, data
        self.seed, self.augment = seed, augment
        self.mirrored_labels = augment.mirrored_labels(len(annotations.classes), frames.flip)

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, wanted = key
        rng = np.random.default_rng([self.seed, epoch, wanted])
        unreadable: list[tuple[int, str]] = []
        for row in self._candidates(wanted, rng):
            seed = int(rng.integers(2**62))
            try:
                clip, label = self._read(row, seed)
                return Batch(clip[None], torch.tensor([label]), torch.tensor([row]), unreadable)
            except VideoError as error:
                unreadable.append((row, error.what))
        what = f"none of the {len(self)} videos could be read; the first: {unreadable[0][1]}"
        raise VideoError(what, self.annotations.paths[wanted])

    def _candidates(self, wanted: int, rng: np.random.Generator) -> Iterator[int]:
        yield wanted
        yield from (row for row in rng.permutation(len(self)).tolist() if row != wanted)

    def _read(self, row: int, seed: int) -> tuple[Tensor, int]:
        generator = torch.Generator().manual_seed(seed)
        with open_video(str(self.annotations.paths[row]), self.data.backend, self.data.filename_tmpl) as video:
            frames = video.frames(sample_train_clip(video.num_frames, self.clip, generator).tolist())
        # a seed of its own: with the same, the crop would go by the clip's place
        crop_seed = int(torch.randint(2**62, (), generator=generator))
        clip, mirrored = train_crop(frames, self.frames, crop_seed, self.augment)
        label = int(self.annotations.labels[row])
        return clip, self.mirrored_labels[label] if mirrored else label


class TestViews(Dataset):
    """All views of each video, decoded once: item i is a batch of one video's views (views, T, C, S, S)."""

    __test__ = False  # not a test case, whatever its name says to pytest

    def __init__(self, annotations: Annotations, clip: ClipSpec, frames: InputSpec, views: Views, data: DataSpec):
        self.annotations, self.clip, self.frames, self.views, self.data = annotations, clip, frames, views, data

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, row: int) -> Batch:
        try:
            with open_video(str(self.annotations.paths[row]), self.data.backend, self.data.filename_tmpl) as video:
                indices = sample_test_clips(video.num_frames, self.clip, self.views.num_clips)
                clips = read_views(video, indices, self.frames, self.views)
        except VideoError as error:
            return Batch(None, torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), [(row, error.what)])
        return Batch(clips, torch.from_numpy(self.annotations.labels[row : row + 1]), torch.tensor([row]))


def read_views(video, indices: np.ndarray, frames: InputSpec, views: Views) -> Tensor:
    """The crops of a video's clips, every frame decoded and scaled once.

    Args:
        video: an open video.
        indices: of its frames, (num_clips, clip_len).

    Returns:
        uint8 (num_clips * num_crops, clip_len, C, S, S), a clip's crops one after the other.
    """
    clips = torch.empty(0)
    # One frame at a time, so that frames of full size, eighty for ten clips, are never in memory together.
    for number, frame in video.each(indices.flat):
        crops = view_crops(frame[None], frames, views).movedim(2, -1)  # (num_crops, 1, S, S, C)
        if not len(clips):
            clips = crops.new_empty(indices.shape[0], len(crops), indices.shape[1], *crops.shape[2:])
        for clip, place in np.argwhere(indices == number):
            clips[clip, :, place] = crops[:, 0]
    return clips.flatten(0, 1).movedim(-1, 2)


def epoch_batches(num_videos: int, batch_size: int, seed: int, epoch: int) -> list[list[tuple[int, int]]]:
    """An epoch's batches of (epoch, index), shuffled by (seed, epoch); what doesn't fill a batch is left out.

    A set smaller than a batch makes one batch.
    """
    order = np.random.default_rng([seed, epoch]).permutation(num_videos).tolist()
    size = min(batch_size, num_videos)
    return [[(epoch, i) for i in order[start : start + size]] for start in range(0, num_videos - size + 1, size)]


def make_loader(dataset: Dataset, batches: Sequence[list], workers: int) -> Iterator[Batch]:
    """Loads `batches` of the data set's keys in that order.

    Args:
        workers: processes that read ahead; 0 reads in this one, -1 takes all cores but one (at least 1, at most 16),
            divided among the processes that train on this machine.

    Raises:
        SmallBigError: as a sample raised it, be it in another process.
    """
    if workers < 0:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # Linux, others
        cores //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        workers = min(max(cores - 1, 1), 16)
    pin = torch.cuda.is_available()
    for batch in DataLoader(_Batches(dataset), batch_size=None, sampler=batches, num_workers=workers, pin_memory=pin):
        if isinstance(batch, SmallBigError):
            raise batch
        yield batch


class _Batches(Dataset):
    """Whole batches by their lists of keys. A SmallBigError is handed on, for what a worker raises arrives with a traceback."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __getitem__(self, keys: list) -> Batch | SmallBigError:
        try:
            return Batch.collate([self.dataset[key] for key in keys])
        except SmallBigError as error:
            return error
