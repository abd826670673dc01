"""int8 through OpenVINO."""

import pytest
import torch

from smallbignet import SmallBigError
from smallbignet.inference.int8 import OpenVINONetwork, quantize, to_openvino

pytest.importorskip("openvino", reason="OpenVINO isn't installed")
pytest.importorskip("nncf", reason="NNCF isn't installed")


def test_int8_is_near_and_openvino_without_it_the_same(random_network, change):
    model, clips = random_network("smallbig_r23", stages=["2d", "full", "2d", "2d"], width=8), torch.randn(6, 3, 2, 32, 32)
    assert change(model, OpenVINONetwork(to_openvino(model, clips.shape[1:])), clips[4:]) < 1e-4
    network = quantize(model, clips[:4])
    assert 1e-4 < change(model, network, clips[4:]) < 0.1
    with pytest.raises(SmallBigError, match="made for clips"):
        network(torch.zeros(1, 3, 8, 32, 32))
