"""`smallbig benchmark`: what networks cost on this machine, in every variant, beside plain PyTorch and the machine's floor."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
from rich import box
from rich.console import Group
from rich.table import Table

from smallbignet.data.sampling import ClipSpec, Views
from smallbignet.data.transforms import InputSpec, check_size
from smallbignet.errors import SmallBigError, WorkError
from smallbignet.models.complexity import parse_clip
from smallbignet.report.page import write_page
from smallbignet.timing.cases import FLOORS, INFERENCE, TRAINING, Case, choose_networks, choose_variants, default_clip
from smallbignet.timing.clips import write_clips
from smallbignet.timing.turns import Row, Worker, measure
from smallbignet.utils.checks import FolderOrNone, Range, checked
from smallbignet.utils.console import bar
from smallbignet.utils.machine import cpu_name, pick_device
from smallbignet.version import __version__


@dataclass(frozen=True)
class Benchmark:
    """The figures, and the machine, versions and clips that they were measured with.

    Attributes:
        floors: seconds of a multiply-accumulate in the best convolution (float32, bfloat16) and of a byte in a large copy.
        rows: one for each network in each variant.
    """

    machine: str
    versions: str
    what: str
    floors: dict[str, float]
    rows: list[Row]


@checked
def benchmark(
    *,
    model: str = "smallbig_r50",
    clip: str = "",
    batch: Annotated[int, Range(ge=0, le=4096)] = 1,
    train: bool = False,
    variants: str = "",
    videos: str = "",
    turns: Annotated[int, Range(ge=1, le=10_000)] = 7,
    threads: Annotated[int, Range(ge=0, le=1024)] = 0,
    device: str = "",
    profile: bool = False,
    report: FolderOrNone = "",
) -> Benchmark:
    """Time networks in every variant, in turns, beside plain PyTorch and the floor of this machine.

    Every variant runs in a process of its own, and they take turns of about a second. The others are compared with plain, which
    is what research code runs: eager PyTorch in the default memory format with nothing fused; on a GPU under autocast (plain
    bf16). A network given by name has random weights.

    Args:
        model: names or patterns of networks, model directories, or torchvision's r2plus1d_18, s3d, mvit_v2_s, swin3d_t;
            several are divided by commas.
        clip: frames x size, such as 8x224; by default what each network is made for.
        batch: clips in a call. In training on a GPU, 0 takes the largest batch that fits.
        train: time training steps instead of inference.
        variants: a list divided by commas of plain, channels_last, fused, compiled, openvino, "plain bf16", "fused bf16",
            "openvino bf16", int8; with --train of plain, channels_last, fused, compiled and the same with bf16. By default all
            but compiled, which takes minutes.
        videos: a data set of more than 16 videos, on which the variants' outputs are compared (16 calibrate int8); noise by
            default.
        turns: how often each variant is timed, after a turn that warms it up.
        threads: of the CPU; 0 takes PyTorch's own choice.
        device: cpu, cuda, ...; by default a GPU if there is one.
        profile: also say which operations take longest.
        report: folder for a page with all figures (index.html).

    Raises:
        SmallBigError: no such network, variant, clip, device or data set.
        WorkError: nothing could run.
    """
    chosen = str(pick_device(device))
    if videos and train:
        raise SmallBigError("training steps are timed on noise, so leave out --videos", f"--videos {videos}")
    if batch == 0 and not (train and chosen.startswith("cuda")):
        raise SmallBigError("a batch has at least one clip; 0, the most that fit, is for --train on a GPU", "--batch 0")
    wanted = choose_variants(variants, chosen, TRAINING if train else INFERENCE)
    networks = {name: parse_clip(clip) if clip else default_clip(name) for name in choose_networks(model)}
    for frames, side in networks.values():
        check_size(ClipSpec("uniform", frames), InputSpec(side, (side, side), side), Views())
    threads = threads or torch.get_num_threads()
    rows: list[Row] = []
    rates: list[dict[str, float]] = []
    with (
        TemporaryDirectory() as folder,
        bar("benchmark", len(networks) * len(wanted) * (turns + 1), "turns") as progress,
        ExitStack() as stack,
    ):
        files = {name: write_clips(videos, name, size, folder) if videos else "" for name, size in networks.items()}
        floor_workers = {name: Worker(Case("", name, (0, 0), 0, chosen, threads, False), stack) for name in FLOORS}
        for name, size in networks.items():
            cases = [Case(name, variant, size, batch, chosen, threads, train, files[name]) for variant in wanted]
            measured = measure(cases, floor_workers, turns, profile, progress.advance)
            rows += measured[0]
            rates += measured[1]
    if all(row.refused for row in rows):
        raise WorkError(f"nothing could run: {rows[0].refused}", model)
    where = torch.cuda.get_device_name(chosen) if chosen.startswith("cuda") else cpu_name()
    result = Benchmark(
        machine=f"{where}, {threads} of {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        versions=f"smallbignet {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        what=f"{'training steps' if train else 'inference'}, clips of {videos or 'noise'}, turns: {turns}",
        floors={name: median(turn[name] for turn in rates) for name in FLOORS},
        rows=rows,
    )
    if report:
        write_benchmark_page(result, Path(report) / "index.html")
    return result


def write_benchmark_page(result: Benchmark, file: Path) -> None:
    """Write a page with all figures, which needs no other file."""
    headings, lines = table_of(result)
    measured = [row for row in result.rows if not row.refused]
    write_page(
        file,
        "benchmark.html",
        found=result,
        measured=measured,
        refused=[row for row in result.rows if row.refused],
        most=max(row.clips_per_second[2] for row in measured),
        headings=headings,
        lines=lines,
        floors=floors_of(result),
    )


def table_of(result: Benchmark) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the headings of the columns that have figures, and the cells of each variant that could run."""
    measured = [row for row in result.rows if not row.refused]
    columns = {heading: [cell(row) for row in measured] for heading, cell in COLUMNS.items()}
    columns = {heading: cells for heading, cells in columns.items() if any(cells)}
    return list(columns), list(zip(*columns.values(), strict=True))


def floors_of(result: Benchmark) -> str:
    """Return the machine's best rates in words."""
    float32, bfloat16, copy = (1e-9 / result.floors[name] for name in FLOORS)
    return f"{float32:.0f} GMAC/s in float32, {bfloat16:.0f} in bfloat16, {copy:.0f} GB/s"


def show(result: Benchmark) -> Group:
    """Return a table in Markdown with one row for each variant, and notes: what could not run, what took longest, where."""
    headings, lines = table_of(result)
    table = Table(box=box.MARKDOWN)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for line in lines:
        table.add_row(*line)
    notes = [f"{row.model}, {row.variant}: could not run: {row.refused}" for row in result.rows if row.refused]
    for row in result.rows:
        if row.top:
            notes.append(f"{row.model}, {row.variant}: " + ", ".join(f"{name} {share:.0%}" for name, share in row.top))
    notes.append(f"floors: {floors_of(result)}")
    return Group(table, *(f"{note}\n" for note in [*notes, result.what, result.machine, result.versions]))


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _memory_per_clip(row: Row) -> float | None:
    return row.memory_mb / row.batch if row.memory_mb and row.batch > 1 else None


def _same_top1(row: Row) -> str:
    return "" if row.same_top1 is None else f"{round(row.same_top1 * row.compared)} of {row.compared}"


COLUMNS: dict[str, Callable[[Row], str]] = {
    "network": lambda row: row.model,
    "variant": lambda row: row.variant,
    "clip": lambda row: row.clip,
    "batch": lambda row: str(row.batch),
    "clips/s (range)": lambda row: "{:.2f} ({:.2f} to {:.2f})".format(*row.clips_per_second),
    "ms p50, p90, p99": lambda row: ", ".join(f"{ms:.0f}" for ms in row.latency_ms.values()),
    "x plain": lambda row: _number(row.times_plain, ".2f"),
    "x floor": lambda row: _number(row.times_floor, ".2f"),
    "MB": lambda row: _number(row.memory_mb, ".0f"),
    "MB/clip": lambda row: _number(_memory_per_clip(row), ".0f"),
    "kept MB/clip": lambda row: _number(row.kept_mb, ".1f"),
    "error": lambda row: _number(row.error, ".1e"),
    "same top-1": _same_top1,
}
