"""How an epoch is divided among processes and parts."""

import numpy as np
import pytest

from smallbignet import SmallBigError
from smallbignet.data.annotations import Annotations
from smallbignet.data.datasets import epoch_batches
from smallbignet.training import batches
from smallbignet.training.batches import TrainBatches


def annotations(count: int) -> Annotations:
    return Annotations(np.array([f"{i}.mp4" for i in range(count)]), np.zeros(count, dtype=np.int64), ["one"])


@pytest.fixture
def config(tiny):
    return tiny("--optim.batch_size", "12", "--optim.accumulate", "2", "--run.seed", "3")


def test_the_parts_of_all_processes_are_the_batches_of_the_epoch(config, monkeypatch):
    monkeypatch.setattr(batches, "make_loader", lambda read, keys, workers: keys)  # the keys in place of their clips
    shares = [TrainBatches(annotations(50), config, process, 3) for process in range(3)]
    assert (shares[0].steps, shares[0].clips) == (4, 48)
    rest = zip(*(share.rest_of_epoch(epoch=5, done=1) for share in shares), strict=True)
    together = [sorted(key for parts in batch for part in parts for key in part) for batch in rest]
    assert together == [sorted(batch) for batch in epoch_batches(50, 12, seed=3, epoch=5)[1:]]
    assert {len(part) for part in next(shares[0].rest_of_epoch(0, 0))} == {2}


def test_balanced_batches_are_the_same_for_all_processes_and_from_any_point(tiny, monkeypatch):
    monkeypatch.setattr(batches, "make_loader", lambda read, keys, workers: keys)
    config = tiny("--optim.batch_size", "6", "--data.balance", "sampler")
    labels = np.array([0] * 20 + [1] * 3 + [2])
    data = Annotations(np.array([f"{i}.mp4" for i in range(24)]), labels, ["often", "rarely", "once"])
    whole = [parts[0] for parts in TrainBatches(data, config, 0, 1).rest_of_epoch(epoch=5, done=0)]
    halves = [TrainBatches(data, config, process, 2).rest_of_epoch(epoch=5, done=2) for process in range(2)]
    rest = [sorted(one[0] + other[0]) for one, other in zip(*halves, strict=True)]
    assert rest == [sorted(batch) for batch in whole[2:]]
    keys = [key for batch in whole for key in batch]
    assert np.bincount(labels[[row for _, row, _ in keys]]).tolist() == [8, 8, 8]
    assert len(set(keys)) == 24  # no clip of a video twice
    assert sorted(repetition for _, row, repetition in keys if row == 23) == list(range(8))
    assert sorted(np.bincount([row for _, row, _ in keys], minlength=24)[20:23]) == [2, 3, 3]


@pytest.mark.parametrize(
    ("videos", "processes", "words"),
    [(50, 5, "must be a multiple of 10: 5 processes times optim.accumulate 2"), (5, 3, "5 training videos are too few")],
)
def test_what_cannot_be_divided_is_an_error(config, videos, processes, words):
    with pytest.raises(SmallBigError, match=words):
        TrainBatches(annotations(videos), config, 0, processes)
