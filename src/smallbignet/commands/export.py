"""`smallbig export`: writes a model for another runtime, and proves that it gives the same answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.table import Table

from smallbignet.data.options import VideoOptions
from smallbignet.data.source import find_files
from smallbignet.export.directory import STEPS, export_network
from smallbignet.export.proof import BOUNDS, Comparison
from smallbignet.inference.exported import RUNTIMES
from smallbignet.utils.checks import Folder, checked
from smallbignet.utils.console import bar
from smallbignet.utils.memory import keep_memory


@dataclass(frozen=True)
class Exported:
    """An exported directory, and how its network compares with the model that it was made of.

    Attributes:
        directory: its path.
        runtime: what runs its network.
        precision: of its weights and activations.
        megabytes: size of all its files.
        comparison: on clips.
    """

    directory: str
    runtime: str
    precision: str
    megabytes: float
    comparison: Comparison


@checked
def export(
    model: str,
    directory: Folder,
    *,
    to: Literal["onnx", "openvino", "torch"],
    precision: Literal["fp32", "fp16", "int8"] = "fp32",
    videos: str = "",
    source: VideoOptions = VideoOptions(),
) -> Exported:
    """Writes a model for another runtime, and compares it with the model on clips before the directory appears.

    The directory has the network's file, config.json, and run.py, which labels videos and needs numpy, PyAV and the runtime
    only. predict, evaluate, timeline, embed and serve take it as they take the model.

    Args:
        model: a model or run directory, a published network such as slow_r50, or org/name on the Hugging Face hub.
        directory: the folder to write: new, empty, or that of an exported model, which is replaced.
        to: onnx (`pip install 'smallbignet[onnx]'`), openvino (`pip install 'smallbignet[openvino]'`) or torch (a program of
            torch.export).
        precision: fp32; fp16, half the size; int8, a quarter of the size (`pip install 'smallbignet[int8]'`).
        videos: a file, a folder (all videos below, by suffix) or a glob pattern to compare on, up to 64 of them; clips are
            rendered if not given. int8 needs some: it measures its value ranges on every second one.
        source: how the videos are opened.

    Raises:
        SmallBigError: no such model, a missing package, a folder that holds something else, or no videos for int8.
        WorkError: the logits differ by more than 1e-4 (fp16: 2e-2), or the best class of a clip is another one (fp16: of more
            than 5 % of them; int8: 10 %). Nothing is written then.
    """
    paths = find_files([videos], source) if videos else []
    keep_memory()
    with bar("export", STEPS, "steps") as progress:
        comparison = export_network(model, Path(directory), to, precision, paths, source, progress.advance)
    size = sum(file.stat().st_size for file in Path(directory).iterdir())
    return Exported(directory, to, precision, size / 1e6, comparison)


def show(result: Exported) -> Table:
    """A table of the comparison."""
    found = result.comparison
    bound = BOUNDS[result.precision]
    allowed = "" if bound.difference == float("inf") else f", at most {bound.difference:.0e} is allowed"
    table = Table("", RUNTIMES[result.runtime], caption=f"{result.directory}: {result.megabytes:.1f} MB, {result.precision}")
    table.add_row("clips compared", str(found.clips))
    table.add_row("largest relative difference of the logits", f"{found.difference:.1e}{allowed}")
    table.add_row("same best class", f"{found.same_top1:.1%}, at least {bound.same_top1:.0%} is required")
    table.add_row("ms per clip", f"{found.ms:.1f} (fused PyTorch: {found.ours_ms:.1f})")
    return table
