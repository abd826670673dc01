"""What can be timed: networks by name, the variants that they run in, and the clips that they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch
import torchvision
from torch import nn

from smallbignet.errors import SmallBigError, did_you_mean
from smallbignet.models.zoo import SLOWFAST, build_model, list_models
from smallbignet.weights.load import load_config, load_model

RIVALS = {  # torchvision's networks, with the frames and the size of their clips
    "r2plus1d_18": (16, 112),
    "s3d": (16, 224),
    "mvit_v2_s": (16, 224),
    "swin3d_t": (16, 224),
}
INFERENCE = ("plain", "channels_last", "fused", "compiled", "openvino", "plain bf16", "fused bf16", "openvino bf16", "int8")
TRAINING = ("plain", "channels_last", "fused", "compiled", "plain bf16", "channels_last bf16", "fused bf16", "compiled bf16")
FLOORS = ("best convolution", "best convolution bf16", "copy")


@dataclass(frozen=True)
class Case:
    """What one process times.

    Attributes:
        model: a network's name, of this package or of `RIVALS`, or whatever `load_model` takes. A name has random weights.
        variant: one of `INFERENCE`, `TRAINING` or `FLOORS`.
        clip: frames and size.
        batch: clips in a call; 0 takes the largest that fits the GPU.
        device: such as "cpu" or "cuda:0".
        threads: of PyTorch on the CPU.
        train: whether a call is a training step.
        clips: a file of real clips (M, 3, T, H, W), as `write_clips` makes it; noise if empty.
    """

    model: str
    variant: str
    clip: tuple[int, int]
    batch: int
    device: str
    threads: int
    train: bool
    clips: str = ""


def choose_networks(names: str) -> list[str]:
    """Return the networks and model directories that a list of names and patterns, divided by commas, stands for.

    Raises:
        SmallBigError: nothing has such a name.
    """
    found: list[str] = []
    for name in (part.strip() for part in names.split(",")):
        matching = [name] if name in RIVALS else list_models(name)
        if not matching and set(name) & set("*?["):
            raise SmallBigError("no network's name matches this pattern; `smallbig models` lists all", name)
        if not matching:
            try:
                load_model(name)  # so that weights which are missing or damaged are an error before anything is timed
            except SmallBigError as error:
                if hint := did_you_mean(name, [*list_models(), *RIVALS]):
                    raise SmallBigError(f"no network has this name; {hint}`smallbig models` lists all", name) from error
                raise
        found += matching or [name]
    return found


def choose_variants(variants: str, device: str, known: Sequence[str]) -> list[str]:
    """Return the variants of a list divided by commas, or by default all that run here. The first is always plain.

    Raises:
        SmallBigError: an unknown variant.
    """
    wanted = (
        [name.strip() for name in variants.split(",")] if variants else [name for name in known if is_default(name, device)]
    )
    if unknown := [name for name in wanted if name not in known]:
        raise SmallBigError(f"{did_you_mean(unknown[0], known)}the variants are {', '.join(known)}", f"--variants {unknown[0]}")
    plain = "plain bf16" if device.startswith("cuda") else "plain"
    return [plain, *(name for name in wanted if name != plain)]


def is_default(variant: str, device: str) -> bool:
    """Whether a variant is timed without being named. Compiling takes minutes, and OpenVINO needs a CPU and its packages."""
    if variant.startswith("compiled"):
        return False
    if variant == "int8" or variant.startswith("openvino"):
        return device == "cpu" and all(map(find_spec, ("openvino", "nncf")))
    return True


def default_clip(network: str) -> tuple[int, int]:
    """Return the frames and the size of the clips that a network is made for."""
    if list_models(network):
        return 8 * SLOWFAST.get(network, {}).get("alpha", 1), 224
    if network in RIVALS:
        return RIVALS[network]
    config = load_config(network)
    return config.clip.clip_len, config.input.size


def build_network(name: str) -> nn.Module:
    """Return a network with random weights, whose big views are switched on; of a model directory, only the architecture."""
    torch.manual_seed(0)
    if name in RIVALS:
        return getattr(torchvision.models.video, name)(weights=None, num_classes=400)
    network = build_model(name) if list_models(name) else build_model(**load_config(name).network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.2, 0.6)
    return network


def make_network(name: str) -> nn.Module:
    """Return the network of a name with random weights, or that of a model directory with its own."""
    if name in RIVALS or list_models(name):
        return build_network(name)
    return load_model(name).to(memory_format=torch.contiguous_format)
