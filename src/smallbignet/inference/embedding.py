"""Feature vectors of videos, or of windows over them, from any stage of a network.

embedder = Embedder(load_model("runs/mine"), load_config("runs/mine"))
for item in embedder.embed(embedder.reader("auto").read_all(["a.mp4", "b.mp4"])):
    item.vectors  # float32 (1, num_features) of each video
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from smallbignet.data.frames import Unreadable
from smallbignet.data.options import VideoOptions
from smallbignet.errors import SmallBigError
from smallbignet.inference.classifier import VideoClassifier, check_finite
from smallbignet.inference.clips import ClipReader, VideoClips, Window, WindowClips, ahead
from smallbignet.inference.exported import ExportedNetwork
from smallbignet.models.network import VideoNetwork
from smallbignet.utils.checks import Must, is_file
from smallbignet.utils.files import fresh_name, writing
from smallbignet.weights.directory import ModelConfig

Stage = Literal["res2", "res3", "res4", "res5"]
VectorFile = Annotated[
    str,
    Must(
        "a file that ends in .npz or .parquet and can be written",
        lambda file: file.endswith((".npz", ".parquet")) and is_file(file),
    ),
]


@dataclass(frozen=True)
class Embedding:
    """The vectors of one video.

    Attributes:
        path: the video.
        vectors: float32 (1, C) of the whole video, or (len(windows), C).
        windows: what the vectors belong to; empty where it is the whole video.
    """

    path: str
    vectors: Tensor
    windows: list[Window]


class Embedder:
    """A network that returns features instead of class scores.

    Args:
        network: its copy in the fused form computes the features of res5, it itself those of earlier stages. An exported one
            has the features of res5 only.
        config: how videos are read for it.
        stage: where the features come from. They are means over T, H and W: after res5 what the classifier gets, after an
            earlier stage the mean of its output; for SlowFast that of the slow pathway, and after it that of the fast one.
        device: "cpu", "cuda", ...; a GPU where there is one if not given.

    Raises:
        SmallBigError: an exported network, and another stage than res5.
    """

    def __init__(
        self,
        network: VideoNetwork | ExportedNetwork,
        config: ModelConfig,
        stage: Stage = "res5",
        device: str | torch.device | None = None,
    ):
        if isinstance(network, ExportedNetwork) and stage != "res5":
            raise SmallBigError("an exported model has the features of res5 only; give the model that it was made of", stage)
        self.classifier = VideoClassifier(network, config, device)
        self.network = network
        self.stage = stage

    def reader(self, views: str, options: VideoOptions = VideoOptions()) -> ClipReader:
        """What reads videos for this network; see `VideoClassifier.reader`."""
        return self.classifier.reader(views, options)

    @torch.inference_mode()
    def vectors(self, clips: Tensor) -> Tensor:
        """Computes the features of clips: uint8 NTHWC (N, T, H, W, C) -> float32 (N, C'), on the CPU.

        Raises:
            WorkError: features that are not numbers.
        """
        features = torch.cat([self._features(images).float().cpu() for images in self.classifier.inputs(clips)])
        check_finite(features, "features", self.stage)
        return features

    def _features(self, images: Tensor) -> Tensor:
        if isinstance(self.network, ExportedNetwork):
            return self.network.features(images)
        if self.stage == "res5":
            fused: Any = self.classifier.network
            return fused.forward_head(fused.forward_features(images), pre_logits=True)
        return stage_means(self.network, self.stage, images)

    def embed(
        self,
        items: Iterator[VideoClips | Unreadable] | Iterator[WindowClips | Unreadable],
        progress: Callable[[VideoClips | Unreadable], object] = lambda item: None,
    ) -> Iterator[Embedding | Unreadable]:
        """Computes the vectors of videos, while the next views are read: each the mean over the views of a video or window.

        Args:
            items: what a `ClipReader` reads, videos or windows.
            progress: called after each item.
        """
        parts: list[Tensor] = []  # of the video that is being read
        windows: list[Window] = []
        for item in ahead(items):
            if isinstance(item, Unreadable):
                parts, windows = [], []
                yield item
            else:
                parts.append(self.vectors(item.clips))
                windows += item.windows if isinstance(item, WindowClips) else []
                if item.is_last:
                    by_row = torch.cat(parts).unflatten(0, (max(len(windows), 1), -1))
                    yield Embedding(item.path, by_row.mean(1), windows)
                    parts, windows = [], []
            progress(item)


def stage_means(network: VideoNetwork, stage: str, images: Tensor) -> Tensor:
    """Returns the mean over T, H and W of a stage's output: (N, 3, T, H, W) -> (N, C), for SlowFast of both its pathways."""
    stages: list[Any] = [module for name, module in network.named_modules() if name.rpartition(".")[2] == stage]
    means: list[Tensor] = []
    # Networks call the blocks of a stage one by one, so the last block has the stage's output.
    hooks = [
        blocks[-1].register_forward_hook(lambda block, args, output: means.append(output.mean((2, 3, 4)))) for blocks in stages
    ]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(means, 1)


def columns(embeddings: Sequence[Embedding]) -> dict[str, np.ndarray]:
    """Returns the vectors as columns of one length: path, vector (N, C), and those of `Window` where there are windows."""
    found = {
        "path": np.array([item.path for item in embeddings for _ in item.vectors]),
        "vector": torch.cat([item.vectors for item in embeddings]).numpy(),
    }
    windows = [window for item in embeddings for window in item.windows]
    if windows:
        found |= {field.name: np.array([getattr(window, field.name) for window in windows]) for field in fields(Window)}
    return found


def write_vectors(embeddings: Sequence[Embedding], file: str) -> None:
    """Writes a row for each vector, as the arrays of an .npz file or the columns of a .parquet file; see `columns`."""
    arrays: dict[str, Any] = columns(embeddings)
    path = Path(file)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh_name(path).open("wb") as stream:
            if file.endswith(".parquet"):
                _write_parquet(arrays, stream)
            else:
                np.savez_compressed(stream, **arrays)
        os.replace(fresh_name(path), path)


def check_writable(file: str) -> None:
    """Raises a SmallBigError for a .parquet file where PyArrow is not installed."""
    if file.endswith(".parquet"):
        try:
            import pyarrow.parquet  # noqa: F401 (only whether it is there)
        except ImportError as error:
            raise SmallBigError("a .parquet file needs PyArrow: pip install 'smallbignet[parquet]'", file) from error


def _write_parquet(arrays: dict[str, Any], stream: Any) -> None:
    import pyarrow
    from pyarrow import parquet

    vectors = arrays["vector"]
    values = pyarrow.array(vectors.ravel())
    table = {name: pyarrow.array(array) for name, array in arrays.items() if name != "vector"}
    table["vector"] = pyarrow.FixedSizeListArray.from_arrays(values, vectors.shape[1])
    parquet.write_table(pyarrow.table(table), stream)
