"""Writes a network as a file of ONNX, OpenVINO or PyTorch. The same network gives the same bytes."""

from __future__ import annotations

import warnings
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from sys import stderr
from typing import Any

import torch
from torch import Tensor, nn

from smallbignet import ops
from smallbignet.errors import SmallBigError
from smallbignet.export.portable import pads_by_size, portable
from smallbignet.inference.int8 import quantized
from smallbignet.models.network import VideoNetwork

PACKAGES = {"onnx": ("torch", "onnx", "onnxscript", "onnxruntime"), "openvino": ("torch", "openvino"), "torch": ("torch",)}
OPSET = 18  # of ONNX: what the exporter writes without conversions, and what runtimes since 2023 read
SIDE = 64  # of the frames that the network is traced with; it takes frames of any size
DYNAMIC = {0: "batch", 3: "height", 4: "width"}


def check_installed(runtime: str, precision: str) -> dict[str, str]:
    """Return the versions of the packages that write a file.

    Raises:
        SmallBigError: one of them is not installed, or there is no such precision for this runtime.
    """
    if (runtime, precision) == ("torch", "int8"):
        raise SmallBigError("int8 is for onnx and openvino", "--to torch")
    packages = PACKAGES[runtime] + (("nncf",) if precision == "int8" else ())
    try:
        return {package: version(package) for package in packages}
    except ImportError as error:
        extra = "int8" if error.name == "nncf" else runtime
        what = f"this needs {error.name}, which is not installed: pip install 'smallbignet[{extra}]'"
        raise SmallBigError(what, f"--to {runtime}") from error


def write_network(model: VideoNetwork, clip_len: int, runtime: str, precision: str, file: Path, clips: list[Tensor]) -> None:
    """Write a network in eval mode on the CPU for clips of any number and size: (N, 3, clip_len, H, W), named "clips".

    The file has two outputs: logits (N, num_classes), and the features that the classifier gets, (N, num_features).

    Args:
        precision: fp32; fp16, in which OpenVINO keeps weights only; or int8.
        clips: (1, 3, clip_len, S, S) each, on which the value ranges of int8 are measured.
    """
    writers = {"onnx": _write_onnx, "openvino": _write_openvino, "torch": _write_torch}
    with warnings.catch_warnings(), redirect_stdout(stderr), torch.no_grad(), ops.plain():
        warnings.simplefilter("ignore")  # about what the exporters will change one day
        writers[runtime](model, clip_len, precision, file, clips)


class TwoOutputs(nn.Module):
    """A network as it is, with its features as a second output. OpenVINO folds and orders its layers better than we could."""

    def __init__(self, model: VideoNetwork):
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        features = self.model.forward_head(self.model.forward_features(clips), pre_logits=True)
        return self.model.get_classifier()(features), features


class InHalf(nn.Module):
    """A network in float16, whose inputs and outputs are float32."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network.half()

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        logits, features = self.network(clips.half())
        return logits.float(), features.float()


def _program(network: nn.Module, clip_len: int) -> torch.export.ExportedProgram:
    clips = torch.zeros(2, 3, clip_len, SIDE, SIDE)  # an extent of 1 would be taken for a constant
    shapes = {"clips": {axis: torch.export.Dim.DYNAMIC for axis in DYNAMIC}}
    return torch.export.export(network, (clips,), dynamic_shapes=shapes)


def _portable(model: VideoNetwork, clip_len: int, precision: str) -> nn.Module:
    network = portable(model, clip_len)
    return InHalf(network) if precision == "fp16" else network


def _write_onnx(model: VideoNetwork, clip_len: int, precision: str, file: Path, clips: list[Tensor]) -> None:
    import onnx

    program = torch.onnx.export(
        _program(_portable(model, clip_len, precision), clip_len),
        dynamo=True,
        opset_version=OPSET,
        output_names=["logits", "features"],
        dynamic_shapes={"clips": DYNAMIC},
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    graph = proto.graph
    for part in (*graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")  # where the exporter's code lies on this machine, for example
        part.ClearField("doc_string")
    if precision == "int8":
        proto = quantized(proto, [{"clips": clip.numpy()} for clip in clips])
    onnx.save(proto, file)


def _write_openvino(model: VideoNetwork, clip_len: int, precision: str, file: Path, clips: list[Tensor]) -> None:
    import openvino

    # Paddings that depend on the size would take the tracing of free sizes minutes.
    form = portable(model, clip_len) if any(map(pads_by_size, model.modules())) else TwoOutputs(model)
    network: Any = openvino.convert_model(_program(form, clip_len))
    network.reshape([-1, 3, clip_len, -1, -1])
    if precision == "int8":
        network = quantized(network, [clip.numpy() for clip in clips])
    network.set_friendly_name("smallbignet")  # its own names count all networks and operations of the process
    for number, operation in enumerate(network.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
    for port, name in ((network.input(0), "clips"), (network.output(0), "logits"), (network.output(1), "features")):
        port.get_tensor().set_names({name})
    openvino.save_model(network, file, compress_to_fp16=precision == "fp16")


def _write_torch(model: VideoNetwork, clip_len: int, precision: str, file: Path, clips: list[Tensor]) -> None:
    torch.export.save(_program(_portable(model, clip_len, precision), clip_len), file)
