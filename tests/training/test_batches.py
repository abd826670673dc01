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


@pytest.mark.parametrize(
    ("videos", "processes", "words"),
    [(50, 5, "must be a multiple of 10: 5 processes times optim.accumulate 2"), (5, 3, "5 training videos are too few")],
)
def test_what_cannot_be_divided_is_an_error(config, videos, processes, words):
    with pytest.raises(SmallBigError, match=words):
        TrainBatches(annotations(videos), config, 0, processes)
