"""The clips that variants are compared on: noise, or those of real videos in a file that every process reads."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from smallbignet.data.frames import Unreadable
from smallbignet.data.sampling import ClipSpec, Views
from smallbignet.data.source import read_part
from smallbignet.data.transforms import InputSpec, to_input
from smallbignet.errors import WorkError
from smallbignet.inference.clips import ClipReader
from smallbignet.models.zoo import list_models
from smallbignet.timing.cases import RIVALS
from smallbignet.utils.console import console
from smallbignet.weights.load import load_config

CALIBRATION = 16  # clips that int8 is calibrated with; they come first
COMPARED = 8  # clips of noise that variants are compared on
COMPARED_REAL = 60  # clips of real videos, if there are so many


def make_noise(clip: tuple[int, int]) -> Tensor:
    """Return the same noise every time, (CALIBRATION + COMPARED, 3, T, S, S), for clips of T frames and size S."""
    frames, size = clip
    return torch.randn(CALIBRATION + COMPARED, 3, frames, size, size, generator=torch.Generator().manual_seed(0))


def write_clips(videos: str, network: str, clip: tuple[int, int], folder: str) -> str:
    """Write the middle clips of some videos, (M, 3, T, S, S), as the network gets them, to a file in a folder; return its name.

    Args:
        videos: a data set, as `smallbig evaluate` takes it.
        network: of which the sampling and the normalisation are taken, if it is a model directory.
        clip: frames and size.

    Raises:
        WorkError: too few videos can be read.
    """
    clip_spec, input_spec = ClipSpec(), InputSpec()
    if network not in RIVALS and not list_models(network):
        config = load_config(network)
        clip_spec, input_spec = config.clip, config.input
    frames, size = clip
    short_side = max(size, size * input_spec.short_side // input_spec.size)
    input_spec = replace(input_spec, size=size, short_side=short_side, train_short_side=(size, size))
    reader = ClipReader(replace(clip_spec, clip_len=frames), input_spec, Views(1, 1))
    paths = np.random.default_rng(0).permutation(read_part(videos, "val").paths).tolist()
    clips: list[Tensor] = []
    for item in reader.read_all(paths):
        if isinstance(item, Unreadable):
            console.print(f"unreadable: {item.path}: {item.reason}")
        else:
            clips.append(item.clips)
        if len(clips) == CALIBRATION + COMPARED_REAL:
            break
    if len(clips) <= CALIBRATION:
        raise WorkError(f"more than {CALIBRATION} videos that can be read are needed", videos)
    file = f"{folder}/{len(os.listdir(folder))}.pt"
    torch.save(to_input(torch.cat(clips), input_spec), file)
    return file
