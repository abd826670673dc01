"""Published checkpoints: one record each, with all that is known about it. `sources.py` and `imagenet.py` use them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from smallbignet.data.sampling import ClipSpec
from smallbignet.data.transforms import InputSpec


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that others have published, and what it takes to use it here.

    Attributes:
        source: who published it, which decides its key layout: a key of `sources.SOURCES`, or "torchvision".
        name: its network's name there; with an `address`, also its name here: `smallbig predict NAME`.
        network: our network, one of `list_models()`.
        stages: its blocks, where they differ from our network's.
        adds_big_views: our network has big views or extra units around the published convolutions. They have a zero scale at
            the start, so the network returns what the published one does, until it is trained further.
        clip: how it takes a clip from a video; for SlowFast, the fast pathway's.
        input: the frame sizes and the normalisation that it was tested with.
        views: clips x crops of the published test.
        head_window: side of the pooling window in its head; None for the mean.
        classes: the shipped list of its class names, if its publisher keeps to one.
        address: where it can be downloaded: an https address or, from torchvision, the name of an entry of its weights.
        licence: the weights' licence, by its SPDX name.
        data: the data set that it was trained on.
        top1: per cent on that data set's validation part, as published.
        top5: likewise.
    """

    source: str
    name: str
    network: str
    stages: tuple[str, str, str, str] | None = None
    adds_big_views: bool = False
    clip: ClipSpec = field(default_factory=ClipSpec)
    input: InputSpec = field(default_factory=InputSpec)
    views: str = "10x3"
    head_window: int | None = None
    classes: str = ""
    address: str = ""
    licence: str = ""
    data: str = ""
    top1: float | None = None
    top5: float | None = None


_official = partial(Checkpoint, "official")
_segments = partial(Checkpoint, clip=ClipSpec("uniform", 8))  # TSN and TSM: 8 segments
_torchvision = partial(Checkpoint, "torchvision", data="ImageNet")


def _pytorchvideo(name: str, network: str, clip: str, file: str = "", **more: Any) -> Checkpoint:
    """PyTorchVideo's names and figures, from its model zoo; `clip` is clip_len x frame_interval."""
    clip_len, frame_interval = map(int, clip.split("x"))
    return Checkpoint(
        "pytorchvideo",
        name,
        network,
        clip=ClipSpec("dense", clip_len, frame_interval),
        input=InputSpec(size=256, mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225)),
        head_window=7,
        classes="kinetics400",
        address=f"https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/{file}.pyth" if file else "",
        licence="Apache-2.0",
        data="Kinetics-400",
        **more,
    )


CHECKPOINTS = (
    _official("res50", "c2d_r50"),
    _official("slowonly50", "slowonly_r50"),
    _official("slowonly50_extra", "smallbig_slowonly_r50", ("2d", "2d", "3d+extra", "3d+extra")),
    _official("smallbig23_no_extra", "smallbig_r23", ("2d", "typical", "typical", "typical")),
    _official("smallbig50_no_extra", "smallbig_r50", ("2d", "typical", "typical", "typical")),
    _official("smallbig101_no_extra", "smallbig_r101"),
    _official("smallbig50_extra", "smallbig_r50"),
    _pytorchvideo("slow_r50", "slowonly_r50", "8x8", "SLOW_8x8_R50", top1=74.58, top5=91.63),
    _pytorchvideo("slow_4x16_r50", "slowonly_r50", "4x16", "SLOW_4x16_R50", top1=72.40, top5=90.18),
    _pytorchvideo("slowfast_r50", "slowfast_r50", "32x2", "SLOWFAST_8x8_R50", top1=76.94, top5=92.69),
    _pytorchvideo("slowfast_4x16_r50", "slowfast_4x16_r50", "32x2", "SLOWFAST_4x16_R50", top1=75.34, top5=91.89),
    _pytorchvideo("slowfast_r101", "slowfast_r101", "32x2", "SLOWFAST_8x8_R101", top1=77.90, top5=93.27),
    _pytorchvideo("slowfast_16x8_r101_50_50", "slowfast_16x8_r101", "64x2", "SLOWFAST_16x8_R101_50_50", top1=78.70, top5=93.61),
    # two of our networks around the convolutions of slow_r50's file, to be trained further
    _pytorchvideo("smallbig_slowonly_r50", "smallbig_slowonly_r50", "8x8", adds_big_views=True),
    _pytorchvideo("smallbig_r50", "smallbig_r50", "8x8", stages=("2d", "full", "full+3d", "full+3d"), adds_big_views=True),
    _segments("mmaction2", "tsn_r50", "c2d_r50"),
    _segments("mmaction2", "tsm_r50", "tsm_r50"),
    Checkpoint("mmaction2", "slowonly_r50", "slowonly_r50"),
    _segments("tsm", "tsm_r50", "tsm_r50"),
    # "imagenet" is of the paper's time, "imagenet_v2" comes from a longer training since; figures as torchvision tells them
    _torchvision("imagenet", "c2d_r50", address="ResNet50_Weights.IMAGENET1K_V1", top1=76.13, top5=92.862),
    _torchvision("imagenet", "c2d_r101", address="ResNet101_Weights.IMAGENET1K_V1", top1=77.374, top5=93.546),
    _torchvision("imagenet_v2", "c2d_r50", address="ResNet50_Weights.IMAGENET1K_V2", top1=80.858, top5=95.434),
    _torchvision("imagenet_v2", "c2d_r101", address="ResNet101_Weights.IMAGENET1K_V2", top1=81.886, top5=95.78),
)

PUBLISHED = {record.name: record for record in CHECKPOINTS if record.address.startswith("https://")}  # classifiers, by name
