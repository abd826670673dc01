"""`smallbig benchmark`: what networks cost on this machine, in every variant, beside plain PyTorch and the machine's floor."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich import box
from rich.console import Group
from rich.table import Table

from smallbignet.data.frames import Unreadable
from smallbignet.data.sampling import ClipSpec, Views
from smallbignet.data.source import read_part
from smallbignet.data.transforms import InputSpec, to_input
from smallbignet.errors import SmallBigError, WorkError, did_you_mean
from smallbignet.inference.clips import ClipReader
from smallbignet.models.complexity import parse_clip
from smallbignet.models.zoo import SLOWFAST, list_models
from smallbignet.timing.turns import Row, Worker, measure
from smallbignet.timing.variants import CALIBRATION, FLOORS, INFERENCE, RIVALS, TRAINING, Case
from smallbignet.utils.console import bar, console
from smallbignet.utils.machine import pick_device, processor
from smallbignet.version import __version__
from smallbignet.weights.load import load_config

REAL_CLIPS = 60  # that forms are compared on, besides those that int8 is calibrated with


@dataclass(frozen=True)
class Benchmark:
    """Figures, and where they come from."""

    machine: str
    versions: str
    what: str
    floors: dict[str, float]
    rows: list[Row]


def benchmark(
    *,
    model: str = "smallbig_r50",
    clip: str = "",
    batch: int = 1,
    train: bool = False,
    variants: str = "",
    videos: str = "",
    turns: int = 7,
    threads: int = 0,
    device: str = "",
    profile: bool = False,
) -> Benchmark:
    """Times networks in every variant, interleaved, beside plain PyTorch and the floor that this machine sets.

    Every variant runs in a process of its own; they take turns of about a second. plain, which the others are compared with, is
    what research code runs: eager, default memory format, nothing fused; on a GPU under autocast (plain bf16). A network's name
    has random weights.

    Args:
        model: names or patterns of networks, model directories, torchvision's r2plus1d_18, s3d, mvit_v2_s, swin3d_t; several
            are divided by commas.
        clip: frames x size, such as 8x224; each network's own if not given.
        batch: clips at once; 0 takes the largest that fits the GPU, in training.
        train: time training steps, not answers.
        variants: some of plain, channels_last, fused, compiled, openvino, "plain bf16", "fused bf16", "openvino bf16", int8
            (in training plain, channels_last, fused, compiled, each also with bf16), divided by commas; all but
            compiled, which takes minutes, if not given.
        videos: a data set whose clips the variants' answers are compared on, of more than 16 videos (16 calibrate int8); noise
            if not given.
        turns: how often each variant is timed, besides once to warm up.
        threads: how many of the processor's are used; torch's own choice if 0.
        device: cpu, cuda, ...; a GPU where there is one if not given.
        profile: tell which operations take longest, too.

    Raises:
        SmallBigError: no such network, variant, clip or data.
    """
    chosen = str(pick_device(device))
    wanted = choose_variants(variants, chosen, TRAINING if train else INFERENCE)
    if turns < 1 or threads < 0:
        raise SmallBigError(
            "there must be a turn, and threads can't be fewer than none", f"--turns {turns} --threads {threads}"
        )
    if batch < 0 or (batch == 0 and not (train and chosen.startswith("cuda"))):
        raise SmallBigError("a batch has clips; 0, the most that fit, is for --train on a GPU", f"--batch {batch}")
    if videos and train:
        raise SmallBigError("training steps are timed on noise", f"--videos {videos}")
    networks = {name: parse_clip(clip) if clip else own_clip(name) for name in find_networks(model)}
    threads = threads or torch.get_num_threads()
    rows: list[Row] = []
    floors: list[dict[str, float]] = []
    with (
        TemporaryDirectory() as folder,
        bar("benchmark", len(networks) * len(wanted) * (turns + 1), "turns") as progress,
        ExitStack() as stack,
    ):
        clips = {network: write_clips(videos, network, size, folder) if videos else "" for network, size in networks.items()}
        grounds = {name: Worker(Case("", name, (0, 0), 0, chosen, threads, False), stack) for name in FLOORS}
        for network, size in networks.items():
            cases = [Case(network, name, size, batch, chosen, threads, train, clips[network]) for name in wanted]
            timed, rates = measure(cases, grounds, turns, profile, progress.advance)
            rows, floors = rows + timed, floors + rates
    if all(row.refused for row in rows):
        raise WorkError(f"nothing could run: {rows[0].refused}", model)
    where = torch.cuda.get_device_name(chosen) if chosen.startswith("cuda") else processor()
    return Benchmark(
        machine=f"{where}, {threads} of {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        versions=f"smallbignet {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        what=f"{'training steps' if train else 'answers'}, clips of {videos or 'noise'}, turns: {turns}",
        floors={name: median(turn[name] for turn in floors) for name in FLOORS},
        rows=rows,
    )


def choose_variants(variants: str, device: str, named: Sequence[str]) -> list[str]:
    """Those that a list names, or all that fit; first plain, which the others are beside."""
    wanted = [name.strip() for name in variants.split(",")] if variants else [name for name in named if fits(name, device)]
    if unknown := [name for name in wanted if name not in named]:
        raise SmallBigError(f"{did_you_mean(unknown[0], named)}the variants are {', '.join(named)}", f"--variants {unknown[0]}")
    plain = "plain bf16" if device.startswith("cuda") else "plain"
    return [plain, *(name for name in wanted if name != plain)]


def fits(variant: str, device: str) -> bool:
    """Whether a variant is timed without being named: compiling takes minutes, OpenVINO is a processor's and may be missing."""
    takes_openvino = variant == "int8" or variant.startswith("openvino")
    has_openvino = device == "cpu" and all(map(find_spec, ("openvino", "nncf")))
    return not variant.startswith("compiled") and (has_openvino or not takes_openvino)


def find_networks(names: str) -> list[str]:
    """The networks and model directories that a list of names and patterns stands for."""
    found: list[str] = []
    for name in (part.strip() for part in names.split(",")):
        matching = [name] if name in RIVALS else list_models(name)
        if not matching and set(name) & set("*?["):
            raise SmallBigError("no network has a name like this; `smallbig models` lists all", name)
        if not matching:
            try:
                load_config(name)
            except SmallBigError as error:
                if hint := did_you_mean(name, [*list_models(), *RIVALS]):
                    raise SmallBigError(f"no network of this name; {hint}`smallbig models` lists all", name) from error
                raise
        found += matching or [name]
    return found


def own_clip(network: str) -> tuple[int, int]:
    """Frames and size of the clips that a network is made for."""
    if network in list_models():
        return 8 * SLOWFAST.get(network, {}).get("alpha", 1), 224
    if network in RIVALS:
        return RIVALS[network]
    config = load_config(network)
    return config.clip.clip_len, config.input.size


def write_clips(videos: str, network: str, size: tuple[int, int], folder: str) -> str:
    """A file with the middle clips of some videos, (M, 3, T, H, W), as the network gets them: first those to calibrate with."""
    named = network in list_models() or network in RIVALS
    clip, frames = (ClipSpec(), InputSpec()) if named else ((config := load_config(network)).clip, config.input)
    length, side = size
    clip = replace(clip, clip_len=length)
    frames = replace(
        frames, size=side, short_side=max(side, side * frames.short_side // frames.size), train_short_side=(side, side)
    )
    paths, clips = read_part(videos, "val").paths, []
    reader = ClipReader(clip, frames, Views(1, 1))
    for item in reader.read_all(np.random.default_rng(0).permutation(paths).tolist()):
        if isinstance(item, Unreadable):
            console.print(f"unreadable: {item.path}: {item.reason}")
        else:
            clips.append(item.clips)
        if len(clips) == CALIBRATION + REAL_CLIPS:
            break
    if len(clips) <= CALIBRATION:
        raise WorkError(f"more than {CALIBRATION} videos that can be read are needed", videos)
    file = f"{folder}/{len(os.listdir(folder))}.pt"
    torch.save(to_input(torch.cat(clips), frames), file)
    return file


def show(result: Benchmark) -> Group:
    """A table in Markdown, a row a variant; below it what could not run, what took longest, and where this was."""
    shown = [row for row in result.rows if not row.refused]
    columns: dict[str, Callable[[Row], str]] = {
        "network": lambda row: row.model,
        "variant": lambda row: row.variant,
        "clip": lambda row: row.clip,
        "batch": lambda row: str(row.batch),
        "clips/s (range)": lambda row: "{:.2f} ({:.2f} to {:.2f})".format(*row.clips_per_second),
        "ms p50, p90, p99": lambda row: ", ".join(f"{ms:.0f}" for ms in row.latency_ms.values()),
        "x plain": lambda row: number(row.times_plain, ".2f"),
        "x floor": lambda row: number(row.times_floor, ".2f"),
        "MB": lambda row: number(row.memory_mb, ".0f"),
        "MB/clip": lambda row: number(row.memory_mb / row.batch if row.memory_mb and row.batch > 1 else None, ".0f"),
        "kept MB/clip": lambda row: number(row.kept_mb, ".1f"),
        "error": lambda row: number(row.error, ".1e"),
        "same top-1": lambda row: (
            f"{round(row.same_top1 * row.compared)} of {row.compared}" if row.same_top1 is not None else ""
        ),
    }
    cells = {heading: [cell(row) for row in shown] for heading, cell in columns.items()}
    table = Table(box=box.MARKDOWN)
    for heading in (heading for heading in cells if any(cells[heading])):
        table.add_column(heading, no_wrap=True)
    for line in zip(*filter(any, cells.values()), strict=True):
        table.add_row(*line)
    lines = [f"{row.model}, {row.variant}: could not run: {row.refused}" for row in result.rows if row.refused]
    for row in shown:
        if row.top:
            lines.append(f"{row.model}, {row.variant}: " + ", ".join(f"{name} {share:.0%}" for name, share in row.top))
    best, half, copy = (1e-9 / result.floors[name] for name in FLOORS)
    lines.append(f"floors: {best:.0f} GMAC/s in float32, {half:.0f} in bfloat16, {copy:.0f} GB/s")
    return Group(table, *(f"{line}\n" for line in [*lines, result.what, result.machine, result.versions]))


def number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
