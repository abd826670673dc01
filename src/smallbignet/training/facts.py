"""What the recipe `auto` has to know of the videos and of the machine."""

from __future__ import annotations

from importlib.util import find_spec
from statistics import median

import torch

from smallbignet.data.split import DataSpec, read_split
from smallbignet.errors import VideoError
from smallbignet.training.auto import Facts
from smallbignet.utils.console import quiet
from smallbignet.utils.machine import pick_device
from smallbignet.weights.timm_weights import PACKAGE

LOOKED_AT = 15  # videos that are opened, spread over all


def find_facts(data: DataSpec, device: str) -> Facts:
    """Counts the videos, opens some of them, and looks at the machine.

    Args:
        device: "cpu", "cuda", or "" for a GPU if there is one.

    Raises:
        SmallBigError: there is no data, or none of the videos that are looked at can be read.
    """
    with quiet():  # the run says the same of the data once more
        train, _ = read_split(data)
    counts = train.counts()
    counts = counts[counts > 0]
    num_frames, sides = zip(*_look_at(train.paths[:: max(len(train) // LOOKED_AT, 1)].tolist(), data), strict=True)
    return Facts(
        classes=train.classes,
        train_videos=len(train),
        fewest=int(counts.min()),
        most=int(counts.max()),
        num_frames=int(median(num_frames)),
        short_side=int(median(sides)),
        gpu=pick_device(device).type == "cuda",
        cores=torch.get_num_threads(),
        is_multilabel=train.is_multilabel,
        has_lite=find_spec("timm") is not None and find_spec(PACKAGE) is not None,
    )


def _look_at(paths: list[str], data: DataSpec) -> list[tuple[int, int]]:
    """Number of frames and shorter side of each video that can be read."""
    found = []
    fault = None
    for path in paths:
        try:
            with data.open(path) as video:
                found.append((video.num_frames, min(video.width, video.height)))
        except VideoError as error:
            fault = error
    if not found and fault:
        raise fault
    return found
