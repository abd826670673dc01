"""Decoding: how many clips per second a core of the CPU reads, from files of two encodings."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import decoding
from gpu_stages.scale import Scale
from gpu_stages.worker import Turn
from smallbignet.data.datasets import TrainClips
from smallbignet.data.options import VideoOptions


def decoded(turn: Turn, scale: Scale) -> None:
    """Tell the training clips per second of one core, by CPU time, with its process's start and the transfer of batches."""
    torch.set_num_threads(1)
    if not scale.on_gpu:
        decoding.FRAMES, decoding.ROUNDS = 80, 1
    turn.tell({"cores": os.cpu_count()})
    with TemporaryDirectory() as folder:
        for kind, paths in decoding.make_files([], Path(folder)).items():
            for sampling, clip in decoding.CLIPS.items():
                clips = TrainClips(decoding.annotate(paths), clip, decoding.SIZES, VideoOptions())
                turn.tell({f"{kind}, {sampling}": round(decoding.worker_rate(clips), 1)})
