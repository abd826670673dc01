"""That a seed gives the same batches whoever reads them, and that an unreadable file stops nothing but itself."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from smallbignet.data import datasets, options
from smallbignet.data.annotations import Annotations
from smallbignet.data.datasets import Batch, TrainClips, epoch_batches
from smallbignet.data.loader import make_loader
from smallbignet.data.options import VideoOptions
from smallbignet.data.sampling import ClipSpec
from smallbignet.data.source import read_annotations
from smallbignet.data.synthetic import write_video
from smallbignet.data.transforms import InputSpec
from smallbignet.errors import SmallBigError, VideoError

CLIP, SIZES, OPTIONS = ClipSpec("dense", 4, 2), InputSpec(16, (18, 24), 16), VideoOptions()


def draw(seed: int, num_frames: int = 12, height: int = 24, width: int = 40) -> np.ndarray:
    """Random blocks, another pattern in each frame."""
    blocks = np.random.default_rng(seed).integers(0, 256, (num_frames, height // 8, width // 8, 3), dtype=np.uint8)
    return blocks.repeat(8, 1).repeat(8, 2)


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Annotations:
    """Seven videos of three classes."""
    root = tmp_path_factory.mktemp("videos")
    for i in range(7):
        folder = root / "abc"[i % 3]
        folder.mkdir(exist_ok=True)
        write_video(folder / f"{i}.mp4", draw(i))
    return read_annotations(root)


@pytest.fixture
def damaged(videos, tmp_path) -> Annotations:
    """The same with unreadable files in rows 1 and 4."""
    paths = videos.paths.astype(object)
    for row in (1, 4):
        paths[row] = str(tmp_path / f"bad{row}.mp4")
        (tmp_path / f"bad{row}.mp4").write_bytes(b"this is no video " * 100)
    return replace(videos, paths=paths.astype(str))


def train_clips(annotations: Annotations, seed: int = 0) -> TrainClips:
    return TrainClips(annotations, CLIP, SIZES, OPTIONS, seed)


def read_epoch(dataset: TrainClips, epoch: int = 0, first: int = 0, workers: int = 0, batch_size: int = 3) -> list[Batch]:
    batches = epoch_batches(len(dataset), batch_size, dataset.seed, epoch)[first:]
    return list(make_loader(dataset.read_batch, batches, workers))


def same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a.clips, b.clips)
        and torch.equal(a.labels, b.labels)
        and torch.equal(a.rows, b.rows)
        and a.unreadable == b.unreadable
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_same_batches_with_any_number_of_workers(damaged, workers):
    expected = read_epoch(train_clips(damaged))
    assert [batch.clips.shape for batch in expected] == [(3, 4, 16, 16, 3)] * 2
    assert expected[0].labels.dtype == expected[0].rows.dtype == torch.int64
    torch.rand(workers + 1)  # wherever the global generator stands
    found = read_epoch(train_clips(damaged), workers=workers)
    assert same(found, expected)
    assert all(batch.clips.is_contiguous() for batch in found), "colours side by side"
    assert same(read_epoch(train_clips(damaged), first=1, workers=workers), expected[1:])  # resumed within the epoch


def test_other_seeds_and_epochs_give_other_clips(videos):
    a, b, c = (train_clips(videos, seed)[epoch, 2] for seed, epoch in ((0, 0), (1, 0), (0, 1)))
    assert a.rows.tolist() == b.rows.tolist() == c.rows.tolist() == [2]
    assert not (torch.equal(a.clips, b.clips) or torch.equal(a.clips, c.clips) or torch.equal(b.clips, c.clips))


def test_an_epoch_shows_every_video_once():
    orders = {}
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        batches = epoch_batches(21, 7, seed, epoch)
        assert [len(batch) for batch in batches] == [7, 7, 7]
        orders[seed, epoch] = [row for batch in batches for _, row in batch]
        assert sorted(orders[seed, epoch]) == list(range(21))
        assert {key for batch in batches for key, _ in batch} == {epoch}
    assert len(set(map(tuple, orders.values()))) == 3


def test_further_clips_of_a_video_in_an_epoch_are_others(videos):
    clips = [train_clips(videos)[key].clips for key in ((0, 2, 1), (0, 2, 2), (0, 2, 1))]
    assert torch.equal(clips[0], clips[2]) and not torch.equal(clips[0], clips[1])


@pytest.mark.parametrize(("num_videos", "sizes"), [(20, [8, 8]), (8, [8]), (5, [5])])
def test_what_does_not_fill_a_batch_waits_unless_it_is_all_there_is(num_videos, sizes):
    assert [len(batch) for batch in epoch_batches(num_videos, 8, 0, 0)] == sizes


def test_the_crop_does_not_go_by_the_clips_place(videos, monkeypatch):
    """65 starts and 65 short sides, each drawn first from a generator of the same seed, would always be the same number."""
    starts, seeds = [], []
    video = SimpleNamespace(num_frames=65, frames=lambda indices: starts.append(indices[0]))
    monkeypatch.setattr(options, "open_video", lambda *_, **__: nullcontext(video))
    monkeypatch.setattr(datasets, "train_crop", lambda frames, spec, seed, _: (seeds.append(seed) or torch.empty(0), False))
    dataset = TrainClips(videos, ClipSpec("dense", 1, 1), SIZES, OPTIONS)
    for epoch in range(30):
        dataset[epoch, 0]
    sides = [int(torch.randint(65, (), generator=torch.Generator().manual_seed(seed))) for seed in seeds]
    assert sum(start == side for start, side in zip(starts, sides, strict=True)) < 5


def test_an_unreadable_file_is_replaced_by_another_of_the_split(damaged):
    chosen = set()
    for epoch in range(20):
        batch = train_clips(damaged)[epoch, 4]
        (row,), faults = batch.rows.tolist(), {video.path: video.reason for video in batch.unreadable}
        assert row not in (1, 4)
        assert batch.labels.tolist() == [damaged.labels[row]]
        assert damaged.paths[4] in faults and faults.keys() <= set(damaged.paths[[1, 4]])
        assert all("FFmpeg can't open it" in why for why in faults.values())
        chosen.add(row)
    assert chosen == {0, 2, 3, 5, 6}  # any of the others


def test_the_only_readable_file_is_found(videos):
    """Each of the others is tried before the work is given up, none twice."""
    few = replace(videos.subset(np.arange(5)), paths=np.array([*(f"gone{i}.mp4" for i in range(4)), videos.paths[4]]))
    for epoch in range(10):
        batch = train_clips(few)[epoch, 0]
        assert batch.rows.tolist() == [4]
        tried = [video.path for video in batch.unreadable]
        assert len(set(tried)) == len(tried)


@pytest.mark.parametrize("workers", [0, 1])
def test_where_no_file_can_be_read_training_ends_in_one_line(damaged, workers):
    """From a worker, too: torch would hand on its traceback as the message."""
    bad = damaged.subset(np.array([1, 4]))
    with pytest.raises(VideoError) as caught:
        read_epoch(train_clips(bad), workers=workers)
    assert str(caught.value).startswith("none of the 2 videos could be read; the first: FFmpeg can't open it")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_wrong_setting_is_no_unreadable_file(videos, workers):
    options = replace(OPTIONS)
    object.__setattr__(options, "backend", "decord")  # past its check, to see an error that only reading raises
    dataset = TrainClips(videos, CLIP, SIZES, options)
    with pytest.raises(SmallBigError, match="the backend is one of") as caught:
        read_epoch(dataset, workers=workers)
    assert "\n" not in str(caught.value)


def note(folder: Path, keys: list[int]) -> None:
    """Leaves a file for each key that is read."""
    for key in keys:
        (folder / str(key)).touch()


def test_a_worker_reads_on_while_the_last_batch_is_worked_on(tmp_path):
    loader = make_loader(partial(note, tmp_path), [[0], [1], [2]], workers=1)
    next(loader)
    deadline = time.monotonic() + 60
    while not (tmp_path / "1").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_where_the_system_does_not_tell_a_process_its_cores(videos, monkeypatch):
    """os.sched_getaffinity is Linux's own."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert same(read_epoch(train_clips(videos), workers=-1), read_epoch(train_clips(videos)))
