"""int8 on a processor, through OpenVINO and its quantiser NNCF: `pip install 'smallbignet[int8]'`."""

from __future__ import annotations

import logging
import sys
from contextlib import redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn

from smallbignet.errors import SmallBigError


class OpenVINONetwork(nn.Module):
    """A network that OpenVINO runs, on as many threads as PyTorch has: clips of one shape -> logits (N, num_classes).

    Args:
        network: an `openvino.Model` of a single clip.
        precision: "f32", or "bf16" for what isn't int8.
    """

    def __init__(self, network: Any, precision: str = "f32"):
        super().__init__()
        import openvino

        settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
        self.shape = tuple(network.input(0).shape)[1:]
        self.request = openvino.Core().compile_model(network, "CPU", settings).create_infer_request()

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W), T, H and W those it was made for -> float32 (N, num_classes).

        Raises:
            SmallBigError: clips of another shape.
        """
        if x.shape[1:] != self.shape:
            raise SmallBigError(f"this network was made for clips (3, T, H, W) = {self.shape}", tuple(x.shape[1:]))
        clips = x.detach().float().cpu().contiguous().split(1)
        return torch.cat([torch.from_numpy(self.request.infer([clip.numpy()])[0].copy()) for clip in clips])


def to_openvino(model: nn.Module, shape: torch.Size) -> Any:
    """The `openvino.Model` of a network in eval mode on the CPU, for a single clip of the shape (3, T, H, W).

    Raises:
        SmallBigError: OpenVINO isn't installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise SmallBigError("this takes OpenVINO: pip install 'smallbignet[int8]'") from error
    program = torch.export.export(model, (torch.zeros(1, *shape),))
    return openvino.convert_model(program, input=[(1, *shape)])


def quantize(model: nn.Module, clips: Tensor) -> OpenVINONetwork:
    """The int8 form of a network in eval mode on the CPU, for clips of the shape of those given.

    Weights and activations are int8; where their ranges lie is measured on the clips. The answers are approximate.

    Args:
        clips: (M, 3, T, H, W) as the network gets them, some dozens, from videos like those to come but not the ones tested on.

    Raises:
        SmallBigError: OpenVINO or NNCF isn't installed.
    """
    network = to_openvino(model, clips.shape[1:])
    try:
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # no CUDA: of no interest here
        with redirect_stdout(sys.stderr):
            import nncf
    except ImportError as error:
        raise SmallBigError("int8 takes NNCF: pip install 'smallbignet[int8]'") from error
    nncf.set_log_level(logging.ERROR)
    data = nncf.Dataset([clip[None].numpy() for clip in clips.float().contiguous()])
    with redirect_stdout(sys.stderr):  # its progress
        return OpenVINONetwork(nncf.quantize(network, data, subset_size=len(clips)))
