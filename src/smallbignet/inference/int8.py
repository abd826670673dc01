"""int8 on a CPU, by OpenVINO and its quantiser NNCF: `pip install 'smallbignet[int8]'`."""

from __future__ import annotations

import logging
import sys
from contextlib import redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn

from smallbignet.errors import SmallBigError
from smallbignet.utils.machine import int8_products_overflow


class OpenVINONetwork(nn.Module):
    """A network that OpenVINO runs with PyTorch's number of threads: clips of one shape -> logits (N, num_classes).

    Args:
        network: an `openvino.Model` for a single clip.
        precision: of the operations that are not int8: "f32" or "bf16".
    """

    def __init__(self, network: Any, precision: str = "f32"):
        super().__init__()
        import openvino

        settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
        self.shape = tuple(network.input(0).shape)[1:]
        self.request = openvino.Core().compile_model(network, "CPU", settings).create_infer_request()

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W), with the T, H and W that the network was made for -> float32 (N, num_classes).

        Raises:
            SmallBigError: clips of another shape.
        """
        if x.shape[1:] != self.shape:
            shape = tuple(x.shape[1:])
            raise SmallBigError(f"this network was made for clips of shape {self.shape}; calibrate it on such clips", shape)
        clips = x.detach().float().cpu().contiguous().split(1)
        return torch.cat([torch.from_numpy(self.request.infer([clip.numpy()])[0].copy()) for clip in clips])


def to_openvino(model: nn.Module, shape: torch.Size) -> Any:
    """Return the `openvino.Model` of a network in eval mode on the CPU, for a single clip of the shape (3, T, H, W).

    Raises:
        SmallBigError: OpenVINO is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise SmallBigError("this needs OpenVINO: pip install 'smallbignet[int8]'") from error
    program = torch.export.export(model, (torch.zeros(1, *shape),))
    return openvino.convert_model(program, input=[(1, *shape)])


def quantize(model: nn.Module, clips: Tensor) -> OpenVINONetwork:
    """Return the int8 form of a network in eval mode on the CPU, for clips of the same shape as `clips`.

    Weights and activations are int8, and their ranges are measured on `clips`. The logits are approximate. Weights use 7 bits
    on CPUs where sums of int8 products overflow.

    Args:
        clips: some dozens (M, 3, T, H, W), as the network gets them, from videos like those it is for, but not the tested ones.

    Raises:
        SmallBigError: OpenVINO or NNCF is not installed.
    """
    network = to_openvino(model, clips.shape[1:])
    return OpenVINONetwork(quantized(network, [clip[None].numpy() for clip in clips.float().contiguous()]))


def quantized(network: Any, items: list[Any]) -> Any:
    """Return the int8 form of an `openvino.Model` or an ONNX model, made by NNCF.

    Args:
        items: what the network gets of each clip that ranges are measured on.

    Raises:
        SmallBigError: NNCF is not installed.
    """
    try:
        # Its warning that there is no CUDA does not matter here.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        with redirect_stdout(sys.stderr):
            import nncf
    except ImportError as error:
        raise SmallBigError("int8 needs NNCF: pip install 'smallbignet[int8]'") from error
    nncf.set_log_level(logging.ERROR)
    overflow_fix = nncf.OverflowFix.ENABLE if int8_products_overflow() else nncf.OverflowFix.FIRST_LAYER  # NNCF's default
    advanced = nncf.AdvancedQuantizationParameters(overflow_fix=overflow_fix)
    with redirect_stdout(sys.stderr):  # it prints its progress
        return nncf.quantize(network, nncf.Dataset(items), subset_size=len(items), advanced_parameters=advanced)
