"""Decoding: how many clips a second a core of the CPU gives, out of files of two encodings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import decoding
from gpu_stages.scale import Scale
from smallbignet.data.datasets import TrainClips
from smallbignet.data.options import VideoOptions


def decoded(scale: Scale) -> Iterator[dict[str, Any]]:
    """Training clips a second of one core, start of its process and hand over counted."""
    torch.set_num_threads(1)
    if not scale.on_gpu:
        decoding.FRAMES, decoding.ROUNDS = 80, 1
    with TemporaryDirectory() as folder:
        files = decoding.make_files([], Path(folder))
        yield {}
        yield {"cores": os.cpu_count()}
        for kind, paths in files.items():
            for sampling, clip in decoding.CLIPS.items():
                clips = TrainClips(decoding.annotate(paths), clip, decoding.SIZES, VideoOptions())
                yield {f"{kind}, {sampling}": round(decoding.worker_rate(clips), 1)}
