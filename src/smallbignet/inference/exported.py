"""Networks that `smallbig export` wrote, run by ONNX Runtime or OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from smallbignet.errors import SmallBigError
from smallbignet.models.network import VideoNetwork
from smallbignet.weights.directory import EXPORTED, WEIGHTS, ExportSpec, ModelConfig, read_config
from smallbignet.weights.load import find_model, load_model

RUNTIMES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "torch": "PyTorch"}
Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # clips -> logits, features


class ExportedNetwork(nn.Module):
    """A network in another runtime, which uses as many threads as PyTorch: (N, 3, T, H, W) -> logits (N, num_classes).

    Args:
        directory: the folder that `smallbig export` wrote.
        config: what its config.json holds.

    Raises:
        SmallBigError: the runtime is not installed, or the network's file is missing, damaged, or not of this config.
    """

    def __init__(self, directory: Path, config: ModelConfig):
        super().__init__()
        assert config.export is not None
        self.spec: ExportSpec = config.export
        file = directory / EXPORTED[self.spec.runtime]
        if not file.is_file():
            raise SmallBigError("the exported network is missing; export the model again", file)
        try:
            self.run, clip_len, num_classes = OPENERS[self.spec.runtime](file)
        except ImportError as error:
            what = f"this model needs {RUNTIMES[self.spec.runtime]}: pip install 'smallbignet[{self.spec.runtime}]'"
            raise SmallBigError(what, directory) from error
        except Exception as error:  # every runtime has its own errors for a damaged file
            reason = " ".join(str(error).split())[:200]
            raise SmallBigError(f"can't read the exported network: {reason}", file) from error
        if (clip_len, num_classes) != (config.clip.clip_len, len(config.classes)):
            given = f"{config.clip.clip_len} frames and {len(config.classes)} classes"
            what = f"the network takes {clip_len} frames and has {num_classes} classes, and its config.json says {given}"
            raise SmallBigError(f"{what}; export the model again", file)

    def check(self, precision: str, device: str | torch.device | None) -> None:
        """Raise a SmallBigError for a precision or a device that is asked for and that the network does not have."""
        if precision != "fp32":
            raise SmallBigError(f"an exported model keeps its own precision, {self.spec.precision}: leave it out", precision)
        if device and not str(device).startswith("cpu"):
            raise SmallBigError("an exported model runs on the CPU: choose the device cpu", device)

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(x)[0]

    def features(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> what the classifier gets, (N, num_features)."""
        return self.outputs(x)[1]

    def outputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, T, H, W) -> logits and features. Clips run one by one: on a CPU, several together only need more memory."""
        results = [self.run(clip.numpy()) for clip in x.detach().float().cpu().contiguous().split(1)]
        logits, features = (torch.from_numpy(np.concatenate(parts)) for parts in zip(*results, strict=True))
        return logits, features


def _open_onnx(file: Path) -> tuple[Run, Any, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    clip_len, num_classes = session.get_inputs()[0].shape[2], session.get_outputs()[0].shape[1]
    return lambda clips: tuple(session.run(["logits", "features"], {"clips": clips})), clip_len, num_classes


def _open_openvino(file: Path) -> tuple[Run, Any, Any]:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    network = openvino.Core().compile_model(file, "CPU", settings)
    request = network.create_infer_request()

    def run(clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        outputs = request.infer([clips])
        return outputs[0].copy(), outputs[1].copy()

    clip_len, num_classes = network.input(0).partial_shape[2], network.output(0).partial_shape[1]
    return run, clip_len.get_length(), num_classes.get_length()


def _open_torch(file: Path) -> tuple[Run, Any, Any]:
    """Only `smallbig export` itself opens this file, right after it wrote it: it can hold any code."""
    program = torch.export.load(file)
    network = program.module()

    def run(clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, features = network(torch.from_numpy(clips))
        return logits.numpy(), features.numpy()

    node = next(node for node in program.graph.nodes if node.name == program.graph_signature.user_inputs[0])
    output = next(node for node in program.graph.nodes if node.name == program.graph_signature.user_outputs[0])
    return run, node.meta["val"].shape[2], output.meta["val"].shape[1]


OPENERS = {"onnx": _open_onnx, "openvino": _open_openvino, "torch": _open_torch}


def is_exported(directory: Path, config: ModelConfig) -> bool:
    """Return whether a folder has a network for another runtime alone.

    One for PyTorch has its weights beside it, and nothing else of it is ever opened here: its program could hold any code.
    """
    return config.export is not None and config.export.runtime != "torch" and not (directory / WEIGHTS).exists()


def load_network(source: str | Path, device: str | torch.device = "cpu") -> VideoNetwork | ExportedNetwork:
    """Return the network of a model directory, or an exported one, which runs on the CPU.

    Raises:
        SmallBigError: see `load_model` and `ExportedNetwork`.
        WorkError: the download failed.
    """
    directory = find_model(source)
    config = read_config(directory)
    return ExportedNetwork(directory, config) if is_exported(directory, config) else load_model(directory, device)
