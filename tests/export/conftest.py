"""A model with every kind of part, and what it becomes in each runtime. Made once: an export takes seconds."""

from pathlib import Path

import pytest
import torch

from smallbignet import create_model, save_model
from smallbignet.data.sampling import ClipSpec
from smallbignet.data.transforms import InputSpec
from smallbignet.export.directory import export_network
from smallbignet.weights.directory import ModelConfig, ScoreSpec

STAGES = ["tsm", ["nonlocal", "2d"], ["full", "3d+se", "2d"], "smallbig_Tx3x3"]


@pytest.fixture(scope="session")
def shipped(tmp_path_factory) -> Path:
    """A model directory. Its crops have another size where there are three of them, and its scores a temperature."""
    return make_model(tmp_path_factory.mktemp("shipped") / "model", STAGES)


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Path:
    """A model that is exported in less time."""
    return make_model(tmp_path_factory.mktemp("small") / "model", ["2d", "2d", "2d", "2d"])


def make_model(directory: Path, stages: list) -> Path:
    torch.manual_seed(0)
    model = create_model("smallbig_r23", 5, stages=stages, width=8)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.weight, 0.2, 0.6)
    torch.nn.init.normal_(model.fc.weight, std=0.3)
    config = ModelConfig(
        network={"name": "smallbig_r23", "num_classes": 5, "stages": stages, "width": 8},
        classes=list("abcde"),
        clip=ClipSpec("dense", clip_len=4, frame_interval=2),
        input=InputSpec(size=40, train_short_side=(48, 48), short_side=48),
        views="2x3",
        scores=ScoreSpec(temperature=1.5),
    )
    save_model(model, config, directory)
    return directory


@pytest.fixture(scope="session")
def exported(shipped, tmp_path_factory) -> dict[str, Path]:
    """The directory of each runtime."""
    root = tmp_path_factory.mktemp("exported")
    for runtime in ("onnx", "openvino"):
        export_network(str(shipped), root / runtime, runtime, "fp32", [])
    return {runtime: root / runtime for runtime in ("onnx", "openvino")}
