"""What becomes of damaged videos: mutations of small ones, each through prediction in a process that may crash or hang.

    python experiments/mutate_videos.py [--mutations 2000] [--seed 0] [--sources FOLDER] [--seconds 120]

The sources are small videos in every common container and codec that the FFmpeg of PyAV writes, and those of a folder that are
smaller than 2 MB. A mutation is one to three of: flipped bits, a cut, a block of zeros, a block copied from elsewhere in the
file, the start of one file before the rest of another, and a number in a header replaced by an extreme one. Prints a Markdown
table: answers, refusals in one line, tracebacks, crashes and hangs, the longest time and the most memory. A seed always gives
the same mutations of the same sources.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import time
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import torch

from smallbignet import SmallBigError, VideoClassifier, create_model
from smallbignet.data.sampling import ClipSpec
from smallbignet.data.transforms import InputSpec
from smallbignet.utils.processes import Failure, in_processes
from smallbignet.weights.directory import ModelConfig, save_model

LARGEST = 2_000_000  # bytes of a source
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

# file -> codec, pixel format
FORMS = {
    "h264.mp4": ("libx264", "yuv420p"),
    "hevc.mp4": ("libx265", "yuv420p"),
    "av1.mp4": ("libsvtav1", "yuv420p"),
    "mpeg4.mov": ("mpeg4", "yuv420p"),
    "h264.mkv": ("libx264", "yuv420p"),
    "vp8.webm": ("libvpx", "yuv420p"),
    "vp9.webm": ("libvpx-vp9", "yuv420p"),
    "ffv1.mkv": ("ffv1", "yuv420p"),
    "mpeg4.avi": ("mpeg4", "yuv420p"),
    "mjpeg.avi": ("mjpeg", "yuvj420p"),
    "huffyuv.avi": ("huffyuv", "yuv422p"),
    "h264.ts": ("libx264", "yuv420p"),
    "mpeg2.ts": ("mpeg2video", "yuv420p"),
    "mpeg2.mpg": ("mpeg2video", "yuv420p"),
    "mpeg2.mxf": ("mpeg2video", "yuv420p"),
    "wmv2.wmv": ("wmv2", "yuv420p"),
    "flv1.flv": ("flv", "yuv420p"),
    "vp8.ogv": ("libvpx", "yuv420p"),
    "gif.gif": ("gif", "rgb8"),
    "png.apng": ("apng", "rgb24"),
    "h264.h264": ("libx264", "yuv420p"),
    "mpeg2.m2v": ("mpeg2video", "yuv420p"),
}


@dataclass(frozen=True)
class Outcome:
    """What became of one video.

    Attributes:
        kind: "answer", "refusal", or "traceback".
        words: the label, or what was wrong.
        seconds: that it took.
        megabytes: the most memory that the process had taken by then.
    """

    kind: str
    words: str
    seconds: float
    megabytes: float


def write_video(path: Path, codec: str, pixels: str) -> None:
    """Writes 24 frames of moving noise."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for i in range(24):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, i, axis=1))
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def read_sources(scratch: Path, folder: str) -> dict[str, bytes]:
    """The files to mutate, by name."""
    os.environ["SVT_LOG"] = "0"  # the encoder of AV1 prints its settings otherwise
    sources = {}
    for name, (codec, pixels) in FORMS.items():
        try:
            write_video(scratch / name, codec, pixels)
        except (av.FFmpegError, ValueError):  # an encoder that this FFmpeg lacks
            continue
        sources[name] = (scratch / name).read_bytes()
    for path in sorted(Path(folder).iterdir()) if folder else ():
        if path.is_file() and 0 < path.stat().st_size < LARGEST and path.suffix != ".txt":
            sources[path.name] = path.read_bytes()
    return sources


def mutate(name: str, sources: dict[str, bytes], chance: random.Random) -> bytes:
    """A source with one to three changes."""
    data = bytearray(sources[name])
    for _ in range(chance.randint(1, 3)):
        start, length = chance.randrange(len(data)), chance.choice((4, 64, 1024, 16384))
        change = chance.randrange(6)
        if change == 0:
            for _ in range(chance.choice((1, 8, 64))):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        elif change == 1:
            data = data[: max(start, 1)]
        elif change == 2:
            data[start : start + length] = bytes(min(length, len(data) - start))
        elif change == 3:
            source = chance.randrange(len(data))
            data[start : start + length] = data[source : source + length]
        elif change == 4:
            other = sources[chance.choice(list(sources))]
            data = bytearray(other[: chance.randrange(len(other))]) + data[start:]
        else:
            place = chance.choice((chance.randrange(min(len(data), 1024)), start))
            order = chance.choice(("big", "little"))
            data[place : place + 4] = chance.choice(EXTREMES).to_bytes(4, order)
    return bytes(data)


@cache
def load_classifier(model: str) -> VideoClassifier:
    torch.set_num_threads(1)
    return VideoClassifier(model, device="cpu")


def predict(path: str, model: str) -> Outcome:
    """Predicts one video; what `in_processes` calls."""
    start = time.perf_counter()
    try:
        kind, words = "answer", load_classifier(model).predict(path)[0].label
    except SmallBigError as error:
        kind, words = ("traceback" if "\n" in error.what else "refusal"), error.what
    except Exception as error:
        kind, words = "traceback", f"{type(error).__name__}: {error}"
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Outcome(kind, words, time.perf_counter() - start, megabytes)


def make_model(folder: Path) -> None:
    """A small network with random weights."""
    torch.manual_seed(0)
    network = {"name": "smallbig_r23", "num_classes": 2, "width": 8}
    clip, frames = ClipSpec("uniform", 8, by_time=True), InputSpec(size=32, short_side=32)
    config = ModelConfig(network, ["a", "b"], clip, frames, "1x1", {"source": "random"})
    save_model(create_model("smallbig_r23", 2, width=8), config, folder)


def main(mutations: int, seed: int, folder: str, seconds: float) -> None:
    with TemporaryDirectory() as place:
        scratch = Path(place)
        make_model(scratch / "model")
        sources = read_sources(scratch, folder)
        files, names = [], []
        for i in range(mutations):
            chance = random.Random(f"{seed} {i}")
            name = chance.choice(list(sources))
            names.append(name)
            files.append(scratch / f"{i:05d}{Path(name).suffix}")
            files[-1].write_bytes(mutate(name, sources, chance))
        calls = [((str(file), str(scratch / "model")), seconds) for file in files]
        kinds: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        longest, most = (0.0, ""), (0.0, "")
        for i, outcome in enumerate(in_processes(predict, calls, workers=1)):
            if isinstance(outcome, Failure):
                outcome = Outcome("crash or hang", outcome.reason, seconds, 0.0)
            kinds[outcome.kind] += 1
            place = f"mutation {i} of seed {seed}, {names[i]}"
            longest, most = max(longest, (outcome.seconds, place)), max(most, (outcome.megabytes, place))
            if outcome.kind == "refusal":
                reasons[re.sub(r"\d+", "N", outcome.words.split(":")[0])] += 1
            elif outcome.kind != "answer":
                print(f"{outcome.kind}: {place}: {outcome.words}", flush=True)
    print(f"{mutations} mutations of {len(sources)} videos, seed {seed}\n")
    print("| answers | refusals in one line | tracebacks | crashes and hangs | longest, s | most memory, MB |")
    print("|---|---|---|---|---|---|")
    counts = [kinds[kind] for kind in ("answer", "refusal", "traceback", "crash or hang")]
    print(f"| {' | '.join(map(str, counts))} | {longest[0]:.1f} | {most[0]:.0f} |\n")
    print(f"The longest: {longest[1]}. The most memory: {most[1]}; the network alone takes about 600 MB.\n")
    for reason, count in reasons.most_common(12):
        print(f"- {count} x {reason}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sources", default="", help="folder of videos to mutate besides those that are made")
    parser.add_argument("--seconds", type=float, default=120, help="after which a video counts as hanging")
    arguments = parser.parse_args()
    main(arguments.mutations, arguments.seed, arguments.sources, arguments.seconds)
