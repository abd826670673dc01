"""How fast clips are read from videos and put into batches, compared with decoding whole files and selecting frames.

    python experiments/decoding.py [VIDEO...]

The frames of each VIDEO (without any, those of a rendered scene), played forward and backward, become 10 seconds of 340x256 at
30 frames per second. They are encoded with x264's defaults (a key frame every 250 frames, B-frames) and by `smallbig prepare`.
In a round every way of reading reads the same frames once; each round has other frames. Times are CPU time of all threads
together, which other work on the machine changes less than time by the clock. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import av
import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from smallbignet.data.annotations import Annotations
from smallbignet.data.datasets import Batch, TrainClips
from smallbignet.data.encoding import Encoding, encode
from smallbignet.data.frames import Video
from smallbignet.data.loader import make_loader
from smallbignet.data.options import VideoOptions
from smallbignet.data.sampling import ClipSpec, Views, sample_test_clips
from smallbignet.data.synthetic import HARD, render_clip
from smallbignet.data.torchcodec_video import is_torchcodec_available
from smallbignet.data.transforms import InputSpec, train_crop
from smallbignet.data.video import open_video
from smallbignet.inference.clips import ClipReader, read_views

FRAMES, WIDTH, HEIGHT = 300, 340, 256
ROUNDS, BATCH = 7, 8
CLIPS = {"8x8 dense": ClipSpec("dense", 8, 8), "8 uniform": ClipSpec("uniform", 8)}
DENSE, UNIFORM = CLIPS.values()
VIEWS, SIZES = Views(10, 3), InputSpec()


class WholeFile(Video):
    """A video read as research code does it: every frame is decoded, and all or only the wanted ones are converted to RGB."""

    def __init__(self, path: Path, convert_all: bool):
        with av.open(str(path)) as container:
            container.streams.video[0].thread_count = 1
            frames = container.decode(video=0)
            self._images = [self._rgb(frame) if convert_all else frame for frame in frames]
        self.path, self.num_frames, self.width, self.height = str(path), len(self._images), WIDTH, HEIGHT

    def _rgb(self, frame: av.VideoFrame) -> Tensor:
        return torch.from_numpy(frame.to_ndarray(format="rgb24", threads=1)).permute(2, 0, 1)

    def _read(self, wanted: Sequence[int]) -> Iterator[Tensor]:
        return (image if isinstance(image := self._images[i], Tensor) else self._rgb(image) for i in wanted)


Way = Callable[[Path], Video]
WHOLE = "whole file to RGB, select"
WAYS: dict[str, Way] = {
    WHOLE: partial(WholeFile, convert_all=True),
    "whole file, only the wanted to RGB": partial(WholeFile, convert_all=False),
    "smallbignet, PyAV": open_video,
    "smallbignet, PyAV, 2 threads": partial(open_video, threads=2),
}
if is_torchcodec_available():
    WAYS["smallbignet, torchcodec"] = partial(open_video, backend="torchcodec")
    WAYS["smallbignet, torchcodec, 2 threads"] = partial(open_video, backend="torchcodec", threads=2)

READS: dict[str, Callable[[Video, int], Tensor]] = {  # what is read of a video in a round
    "8x8 dense": lambda video, turn: video.frames(sample_test_clips(FRAMES, DENSE, ROUNDS)[turn]),
    "8 uniform": lambda video, turn: video.frames(sample_test_clips(FRAMES, UNIFORM, ROUNDS)[turn]),
    "10 clips": lambda video, turn: video.frames(sample_test_clips(FRAMES, DENSE, 10).flatten()),
    "30 views, scaled and cropped": lambda video, turn: read_views(video, sample_test_clips(FRAMES, DENSE, 10), SIZES, VIEWS),
}


def make_video(content: str, file: Path) -> None:
    """Write 10 seconds of a video's frames, or without one of a rendered scene, encoded with x264's defaults."""
    if content:
        with open_video(content) as video:
            frames = TF.resize(video.frames(range(min(video.num_frames, FRAMES))), [HEIGHT])
    else:
        scene = render_clip(("x", "size"), np.random.default_rng(0), FRAMES // 2, WIDTH, HARD)
        frames = torch.from_numpy(scene).permute(0, 3, 1, 2)
    images = TF.center_crop(frames, [HEIGHT, WIDTH]).permute(0, 2, 3, 1).numpy()
    back = 2 * max(len(images) - 1, 1)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i in range(FRAMES):
            image = images[min(i % back, back - i % back)]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image))))
        container.mux(stream.encode())


def make_files(contents: Sequence[str], folder: Path) -> dict[str, list[Path]]:
    """Write each video in each encoding, and beside those with x264's defaults a folder of their frames as JPEG images."""
    files: dict[str, list[Path]] = {"x264's defaults": [], "smallbig prepare": []}
    for i, content in enumerate(contents or [""]):
        plain, prepared = folder / f"{i}.mp4", folder / f"{i}-prepared.mp4"
        make_video(content, plain)
        plain.with_suffix("").mkdir()
        with open_video(plain) as video:
            encode(video, prepared, Encoding(short_side=256, gop=8, crf=23))
            for number, frame in video.each(range(FRAMES)):
                image = Image.fromarray(frame.permute(1, 2, 0).numpy())
                image.save(plain.with_suffix("") / f"img_{number:05d}.jpg", quality=95)
        files["x264's defaults"].append(plain)
        files["smallbig prepare"].append(prepared)
    return files


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    work()
    return clock() - start


def read(way: Way, path: Path, name: str, turn: int) -> Tensor:
    with way(path) as video:
        return READS[name](video, turn)


def reading_table(paths: Sequence[Path]) -> str:
    """Time each read in each way: median milliseconds (the middle half), and the median ratio to the whole file, by round."""
    ways = dict(WAYS)
    if paths[0].with_suffix("").is_dir():
        ways["smallbignet, folder of its frames, JPEG 95"] = lambda path: open_video(path.with_suffix(""))
    for name in READS:
        exact = [read(WAYS[way], paths[0], name, 0) for way in (WHOLE, "smallbignet, PyAV")]
        assert torch.equal(*exact), name
    times: dict[tuple[str, str], list[float]] = {(way, name): [] for name in READS for way in ways}
    for turn in range(ROUNDS):
        for way, name in times:
            work = partial(read, ways[way], paths[turn % len(paths)], name, turn)
            times[way, name].append(1e3 * seconds(work, time.process_time))
    lines = [f"| | {' | '.join(READS)} |", "|---" * (1 + len(READS)) + "|"]
    for way in ways:
        cells = []
        for name in READS:
            ratio = median(whole / own for whole, own in zip(times[WHOLE, name], times[way, name], strict=True))
            low, middle, high = quantiles(times[way, name], n=4)
            cells.append(f"{middle:.1f} ({low:.1f}-{high:.1f}), {ratio:.1f}x")
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def annotate(paths: Sequence[Path]) -> Annotations:
    return Annotations(np.array([str(path) for path in paths]), np.zeros(len(paths), np.int64), ["any"])


def loader_tables(files: dict[str, list[Path]]) -> str:
    """Time the stages of a clip in milliseconds, and count clips per second of a core, in this process and in a worker."""
    stages = ("open", "decode, to RGB", "scale, crop, mirror", "into a batch")
    lines = [f"| | {' | '.join(stages)} | clips/s of a core | out of a worker of the loader |", "|---" * 7 + "|"]
    rates = {}
    for kind, paths in files.items():
        for sampling, clip in CLIPS.items():
            spent, done = np.zeros(len(stages)), []
            for turn in range(ROUNDS * BATCH):
                times = [time.process_time()]
                with open_video(paths[turn % len(paths)]) as video:
                    times.append(time.process_time())
                    frames = video.frames(sample_test_clips(FRAMES, clip, ROUNDS * BATCH)[turn])
                times.append(time.process_time())
                done.append(Batch(train_crop(frames, SIZES, turn)[0][None], torch.tensor([0]), torch.tensor([0])))
                times.append(time.process_time())
                if len(done) == BATCH:
                    Batch.collate(done)
                    done = []
                spent += np.diff([*times, time.process_time()])
            spent /= ROUNDS * BATCH
            clips = TrainClips(annotate(paths), clip, SIZES, VideoOptions())
            rates[kind, sampling] = worker_rate(clips)
            cells = [f"{1e3 * stage:.2f}" for stage in spent]
            cells += [f"{1 / spent.sum():.0f}", f"{rates[kind, sampling]:.0f}"]
            lines.append(f"| {kind}, {sampling} | {' | '.join(cells)} |")
    wanted = (100, 200, 400, 800)
    lines += ["", f"| cores that feed | {' | '.join(f'{rate} clips/s' for rate in wanted)} |", "|---" * 5 + "|"]
    for (kind, sampling), rate in rates.items():
        cores = (f"{each} / {rate:.0f} = {math.ceil(each / rate)}" for each in wanted)
        lines.append(f"| {kind}, {sampling} | {' | '.join(cores)} |")
    return "\n".join(lines)


def worker_rate(clips: TrainClips) -> float:
    """Return the clips per second of CPU time in a worker process, including its start and the transfer of batches."""
    keys = count()
    batches = [[(next(keys), i % len(clips)) for i in range(BATCH)] for _ in range(2 * ROUNDS)]

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)  # of processes that have ended
        return usage.ru_utime + usage.ru_stime

    before = spent()
    for _ in make_loader(clips.read_batch, batches, workers=1):
        pass
    return BATCH * len(batches) / (spent() - before)


def overlap_table(paths: Sequence[Path]) -> str:
    """Time 30 views of each video by the clock, beside a sleep of the same length that stands for a network on a GPU."""
    reader = ClipReader(DENSE, SIZES, VIEWS)
    batches = [[str(paths[i % len(paths)])] for i in range(ROUNDS)]
    reading = median(seconds(lambda: reader.read_batch(batches[0])) for _ in range(3))

    def evaluate(workers: int) -> float:
        loader = make_loader(reader.read_batch, batches, workers)
        next(loader)  # starts the worker
        return seconds(lambda: [time.sleep(reading) for _ in loader]) / (ROUNDS - 1)

    alone, beside = (1e3 * evaluate(workers) for workers in (0, 1))
    lines = [
        "| 30 views of a video, ms: reading | reading, then a network that takes as long | beside each other |",
        "|---|---|---|",
    ]
    return "\n".join([*lines, f"| {1e3 * reading:.0f} | {alone:.0f} | {beside:.0f} |"])


def main(contents: Sequence[str]) -> None:
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        files = make_files(contents, Path(folder))
        for kind, paths in files.items():
            sizes = ", ".join(f"{path.stat().st_size / 1000:.0f} kB" for path in paths)
            print(f"## {kind} ({sizes})\n\n{reading_table(paths)}\n", flush=True)
        print(f"## Training clips, 224x224, batches of {BATCH}\n\n{loader_tables(files)}\n", flush=True)
        print(f"## Evaluation\n\n{overlap_table(files['smallbig prepare'])}\n")
    codecs = {"PyAV": av.__version__, "torch": torch.__version__, "torchvision": torchvision.__version__}
    if is_torchcodec_available():
        import torchcodec

        codecs["torchcodec"] = torchcodec.__version__
    versions = ", ".join(f"{name} {version}" for name, version in codecs.items())
    print(f"{platform.machine()}, {os.cpu_count()} cores, 1 thread of torch; {versions}, Python {platform.python_version()}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", help="whose contents to read; a rendered scene if none is given")
    main(parser.parse_args().videos)
