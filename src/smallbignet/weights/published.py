"""Networks published by others, by name: downloaded, converted into a model directory and cached at their first use."""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import torch
from filelock import FileLock

from smallbignet.data.annotations import read_classes
from smallbignet.errors import SmallBigError, WorkError
from smallbignet.weights.adapter import read_checkpoint
from smallbignet.weights.directory import CONFIG, ModelConfig, save_model
from smallbignet.weights.pytorchvideo import INPUT, PYTORCHVIDEO, from_pytorchvideo

ZOO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics"


@dataclass(frozen=True)
class Published:
    """A checkpoint on the web.

    Attributes:
        url: of the file.
        top1: on Kinetics-400's validation videos in per cent, 10x3 views, as its publishers say.
        top5: likewise.
    """

    url: str
    top1: float
    top5: float


# names as in `PYTORCHVIDEO`; figures from PyTorchVideo's model zoo
PUBLISHED = {
    "slow_r50": Published(f"{ZOO}/SLOW_8x8_R50.pyth", 74.58, 91.63),
    "slow_4x16_r50": Published(f"{ZOO}/SLOW_4x16_R50.pyth", 72.40, 90.18),
    "slowfast_r50": Published(f"{ZOO}/SLOWFAST_8x8_R50.pyth", 76.94, 92.69),
    "slowfast_4x16_r50": Published(f"{ZOO}/SLOWFAST_4x16_R50.pyth", 75.34, 91.89),
    "slowfast_r101": Published(f"{ZOO}/SLOWFAST_8x8_R101.pyth", 77.90, 93.27),
    "slowfast_16x8_r101_50_50": Published(f"{ZOO}/SLOWFAST_16x8_R101_50_50.pyth", 78.70, 93.61),
}


def fetch(name: str) -> Path:
    """The model directory of a published network, in PyTorch's hub cache.

    Raises:
        WorkError: the download failed.
        SmallBigError: the file that is there is not that network.
    """
    hub = Path(torch.hub.get_dir())
    directory, file = hub / "smallbignet" / name, hub / "checkpoints" / Path(PUBLISHED[name].url).name
    if (directory / CONFIG).is_file():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{directory}.lock"):  # of several processes, one downloads
        if not (directory / CONFIG).is_file():
            _download(name, file)
            try:
                model, how = from_pytorchvideo(read_checkpoint(file), name, file)
            except SmallBigError as error:
                raise SmallBigError(f"{error.what}; delete it to download it again", file) from error
            facts = PUBLISHED[name]
            origin = {"source": "pytorchvideo", "network": name, "url": facts.url, "licence": "Apache-2.0"}
            weights = origin | {"published": f"Kinetics-400 top-1 {facts.top1}, top-5 {facts.top5}, 10x3 views"}
            config = ModelConfig(how, read_classes("kinetics400"), PYTORCHVIDEO[name][2], INPUT, "10x3", weights)
            save_model(model, config, directory)
    return directory


def _download(name: str, file: Path) -> None:
    """Puts a published network's checkpoint at `file`, unless it is there: from another use of PyTorch's hub, or by hand."""
    if file.is_file():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    url = PUBLISHED[name].url
    try:
        torch.hub.download_url_to_file(url, str(file))
    except (OSError, HTTPException) as error:
        by_hand = f"put the file at {file}, or `smallbig convert {file.name} DIR --source pytorchvideo --network {name}`"
        raise WorkError(f"the download failed: {' '.join(str(error).split())}; by hand: {by_hand}", url) from error
