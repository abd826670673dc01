"""Every network in ONNX Runtime and OpenVINO: whether it is exported, how exact it is on real clips, and how fast.

    python experiments/export_table.py VIDEOS [NAME...] [--clip 8x224] [--clips 4]

Weights are random. So that the numbers say something, the statistics of all normalisations are those of clips of the videos,
and big views, extra units and non-local operations, which start switched off, are switched on. The classifier's weights are
random, with features that are made to differ: its logits are as large as those of a trained network.
Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import onnxruntime
import openvino
import torch
from torch import Tensor, nn

from smallbignet import list_models
from smallbignet.data.options import VideoOptions
from smallbignet.data.sampling import ClipSpec
from smallbignet.data.source import find_files
from smallbignet.data.transforms import InputSpec, to_input
from smallbignet.errors import SmallBigError
from smallbignet.export.directory import export_network
from smallbignet.inference.clips import ClipReader, VideoClips, Views
from smallbignet.models.network import VideoNetwork
from smallbignet.models.zoo import SLOWFAST, build_model
from smallbignet.utils.machine import cpu_name
from smallbignet.weights.directory import ModelConfig, save_model

TIMM = ["timm/resnet18", "timm/tf_efficientnet_lite0", "timm/mobilenetv3_small_050"]
RUNTIMES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}
CLASSES = 20
CALIBRATION = 4  # clips that the statistics are measured on


def make_network(name: str, clips: Tensor) -> VideoNetwork:
    """A network all of whose parts count, with statistics of the clips."""
    torch.manual_seed(0)
    model = build_model(name, CLASSES)
    norms = [module for module in model.modules() if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d))]
    for bn in norms:
        bn.momentum = None  # the mean over all batches
        bn.reset_running_stats()
        nn.init.uniform_(bn.weight, *((0.05, 0.15) if not bn.weight.any() else (0.3, 0.7)))
    with torch.no_grad():
        model.train()(clips)
        features = model.eval().forward_head(model.forward_features(clips), pre_logits=True)
        nn.init.normal_(model.fc.weight)
        model.fc.weight.div_(features.std(0).norm())
        model.fc.bias.copy_(-model.fc.weight @ features.mean(0))
    return model


def row(name: str, videos: list[str], clip: tuple[int, int], count: int) -> str:
    frames, side = clip
    frames *= SLOWFAST.get(name, {}).get("alpha", 1)  # 8x8 counts the slow pathway's frames
    spec, input_spec = ClipSpec("dense", frames, 2), InputSpec(side, (side, side), side)
    items = ClipReader(spec, input_spec, Views(1, 1)).read_all(videos[count : count + CALIBRATION])
    clips = torch.cat([to_input(item.clips, input_spec) for item in items if isinstance(item, VideoClips)])
    network = {"name": name, "num_classes": CLASSES}
    config = ModelConfig(network, [str(i) for i in range(CLASSES)], spec, input_spec, "1x1")
    cells = [name, f"{frames}x{side}"]
    with tempfile.TemporaryDirectory() as folder:
        save_model(make_network(name, clips), config, f"{folder}/model")
        for runtime in RUNTIMES:
            try:
                target = Path(folder) / runtime
                found = export_network(f"{folder}/model", target, runtime, "fp32", videos[:count])
            except SmallBigError as error:
                cells += [f"no: {error.what}", "", "", ""]
                continue
            same = round(found.same_top1 * found.clips)
            cells += ["yes", f"{found.difference:.0e}", f"{same} of {found.clips}", f"{found.ms:.0f} ({found.ours_ms:.0f})"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos")
    parser.add_argument("names", nargs="*", default=[*list_models(), *TIMM])
    parser.add_argument("--clip", default="8x224")
    parser.add_argument("--clips", type=int, default=4)
    options = parser.parse_args()
    frames, side = map(int, options.clip.split("x"))
    videos = find_files([options.videos], VideoOptions())
    videos = videos[:: len(videos) // (options.clips + CALIBRATION)]
    columns = ["network", "clip"]
    for title in RUNTIMES.values():
        columns += [title, "difference", "same top-1", "ms (fused PyTorch)"]
    print("| " + " | ".join(columns) + " |")
    print("|---" * len(columns) + "|", flush=True)
    for name in options.names:
        print(row(name, videos, (frames, side), options.clips), flush=True)
    versions = f"torch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}, OpenVINO {openvino.__version__}"
    print(f"\n{versions}, {cpu_name()}, {torch.get_num_threads()} threads, {options.clips} clips, each on its own.")


if __name__ == "__main__":
    sys.exit(main())
