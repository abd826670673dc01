"""Reference figures of public networks: keys with shapes, and the logits that weights and clips drawn from names give there."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parents[1] / "reference"


def figures(source):
    """Of "official" or "pytorchvideo": the shape of each key of each network, and logits by "network|frames|size"."""
    return json.loads((FOLDER / f"{source}_keys.json").read_text()), np.load(FOLDER / f"{source}_logits.npz")


def weights(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """The reference's rule: every tensor is drawn from its key's name."""
    state = {}
    for key, shape in shapes.items():
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        if key.endswith("num_batches_tracked"):
            value = np.zeros(shape, np.int64)
        elif key.endswith("running_var"):
            value = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        elif key.endswith(("running_mean", "bias")):
            value = (0.1 * rng.standard_normal(shape)).astype(np.float32)
        elif len(shape) == 1:
            value = rng.uniform(0.2, 0.6, shape).astype(np.float32)
        else:
            value = (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
        state[key] = torch.from_numpy(np.asarray(value))
    return state


def make_clip(case: str) -> torch.Tensor:
    """A case's clips (2, 3, T, S, S), drawn from its name."""
    frames, size = map(int, case.split("|")[1:])
    rng = np.random.default_rng(zlib.crc32(case.replace("|", "-").encode()))
    return torch.from_numpy(rng.standard_normal((2, 3, frames, size, size)).astype(np.float32))
