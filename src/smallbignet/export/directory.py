"""Makes the directory of an exported network: its file, config.json and run.py, after a comparison on clips."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from smallbignet.data.frames import Unreadable
from smallbignet.data.options import VideoOptions
from smallbignet.data.sampling import Views
from smallbignet.data.synthetic import make_dataset
from smallbignet.data.transforms import to_input
from smallbignet.errors import SmallBigError, WorkError
from smallbignet.export.files import check_installed, write_network
from smallbignet.export.portable import pads_by_size
from smallbignet.export.proof import Comparison, compare
from smallbignet.inference.clips import ClipReader
from smallbignet.inference.exported import ExportedNetwork
from smallbignet.inference.fuse import fuse
from smallbignet.models.network import VideoNetwork
from smallbignet.utils.console import console
from smallbignet.utils.files import fresh_folder, install, remove, writing
from smallbignet.weights.directory import CONFIG, EXPORTED, WEIGHTS, ExportSpec, ModelConfig, read_config
from smallbignet.weights.load import find_model, load_model

RUNNER = "run.py"
MOST_CLIPS = 32  # that are compared, and as many that the ranges of int8 are measured on
RENDERED = 2  # clips of each of the demo's classes, where no videos are given
Clip = tuple[str, Tensor]  # the video, and (1, 3, T, S, S)


def export_network(
    source: str,
    directory: Path,
    runtime: str,
    precision: str,
    videos: list[str],
    options: VideoOptions = VideoOptions(),
    advance: Callable[[], object] = lambda: None,
) -> Comparison:
    """Write a model for another runtime, and compare it with the model on clips.

    Args:
        source: what `load_model` takes.
        directory: new, empty, or of an exported network, which is replaced.
        runtime, precision: those of `ExportSpec`.
        videos: to compare on; for int8, the ranges are measured on every second one, and the others are compared.
        advance: is called after each of `STEPS` steps.

    Raises:
        SmallBigError: a package is not installed, the folder holds something else, or int8 has fewer than two videos.
        WorkError: the exported network is further from the model than `BOUNDS` allow, and nothing was written; or the videos
            can't be read.
    """
    versions = check_installed(runtime, precision)
    _check_folder(directory)
    if precision == "int8" and len(videos) < 2:
        raise SmallBigError("int8 needs two videos at least: its value ranges are measured on every second one", "--videos")
    found = find_model(source)
    model, config = load_model(found), read_config(found)
    _check_sizes(model, config)
    clips = _read_clips(config, videos, options) if videos else _rendered_clips(config)
    ranges, compared = (clips[::2], clips[1::2]) if precision == "int8" else ([], clips)
    if not compared:
        raise WorkError("int8 needs two videos that can be read", ", ".join(videos)[:200])
    advance()
    config = replace(config, export=ExportSpec(runtime, precision, versions))  # type: ignore[arg-type]
    fresh = fresh_folder(directory)
    try:
        with writing(directory):
            write_network(
                model, config.clip.clip_len, runtime, precision, fresh / EXPORTED[runtime], [clip for _, clip in ranges]
            )
            (fresh / CONFIG).write_text(config.to_json(), encoding="utf-8")
            shutil.copyfile(Path(__file__).with_name(RUNNER), fresh / RUNNER)
            if runtime == "torch":
                shutil.copyfile(found / WEIGHTS, fresh / WEIGHTS)  # so that no verb has to open a file that can hold code
        advance()
        result = compare(ExportedNetwork(fresh, config), fuse(model), compared)
    except BaseException:
        remove(fresh)
        raise
    install(fresh, directory)
    advance()
    return result


STEPS = 3


def _check_sizes(model: VideoNetwork, config: ModelConfig) -> None:
    """Raise a SmallBigError for a network that can't be exported for the sizes of its views."""
    sizes = (config.input.size, config.input.short_side)
    if any(size % 32 for size in sizes) and any(map(pads_by_size, model.modules())):
        what = "this network pads frames by their size, so size and short_side must be multiples of 32"
        raise SmallBigError(what, f"input {sizes[0]} and {sizes[1]}")


def _check_folder(directory: Path) -> None:
    """Raise a SmallBigError for a folder that holds something else than an exported network."""
    if not directory.is_dir() or not any(directory.iterdir()):
        return
    if not (directory / CONFIG).is_file() or read_config(directory).export is None:
        raise SmallBigError("this folder holds something else than an exported model; choose a new or empty one", directory)


def _read_clips(config: ModelConfig, videos: list[str], options: VideoOptions) -> list[Clip]:
    """Read a clip of each of some videos: the middle one as the model's own views have it, and another size of the first."""
    own = Views.parse(config.views).num_crops
    most = 2 * MOST_CLIPS
    chosen = videos[:: -(-len(videos) // most)]
    clips = [clip for path in chosen for clip in _read_clip(config, path, own, options)]
    if not clips:
        raise WorkError("none of the videos could be read", ", ".join(videos)[:200])
    if config.input.size != config.input.short_side:
        clips += _read_clip(config, clips[0][0], 4 - own, options)  # with 3 crops for 1, and with 1 for 3
    return clips


def _read_clip(config: ModelConfig, path: str, num_crops: int, options: VideoOptions) -> list[Clip]:
    """Read the middle crop of the middle clip of a video; an empty list, with a note, where it can't be read."""
    (item,) = ClipReader(config.clip, config.input, Views(1, num_crops), options=options).read(path)
    if isinstance(item, Unreadable):
        console.print(f"unreadable: {item.path}: {item.reason}")
        return []
    return [(path, to_input(item.clips[num_crops // 2, None], config.input).contiguous())]


def _rendered_clips(config: ModelConfig) -> list[Clip]:
    """Clips of the demo's classes, read from files as other videos are."""
    with TemporaryDirectory() as folder:
        made = make_dataset(folder, {"val": RENDERED}, num_frames=max(config.clip.clip_len, 16), size=96)
        paths = sorted(str(file) for file in made.rglob("*.mp4"))
        clips = _read_clips(config, paths, VideoOptions())
    return [(f"rendered clip {Path(path).relative_to(made)}", clip) for path, clip in clips]
