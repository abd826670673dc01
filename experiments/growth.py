"""How the time of a network grows with the number of frames, their size and the batch, beside what is expected.

    python experiments/growth.py --plot growth.png

Variants take turns at each point. The expected time is that of one clip of 8x112, multiplied by the ratio of frames, pixels and
clips to those of that clip. Prints a Markdown table and draws a plot.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack

import torch
from matplotlib.figure import Figure

from smallbignet.models.zoo import list_models
from smallbignet.timing.cases import FLOORS, INFERENCE, Case
from smallbignet.timing.turns import Worker, measure
from smallbignet.utils.machine import cpu_name

AXES = {"frames": (8, 16, 32, 64), "size": (112, 160, 224, 320), "batch": (1, 2, 4, 8)}
COMMON = {"frames": 8, "size": 112, "batch": 1}
Point = tuple[int, ...]  # frames, size, batch


def place(axis: str, value: int) -> Point:
    return tuple((COMMON | {axis: value}).values())


def amount(point: Point) -> float:
    """Return the amount of work, in clips of 8x112."""
    frames, size, batch = point
    return frames / COMMON["frames"] * (size / COMMON["size"]) ** 2 * batch


def time_points(model: str, variants: list[str], turns: int) -> dict[Point, list[float]]:
    """Return the seconds of a call of each variant at each point."""
    threads, seconds = torch.get_num_threads(), {}
    points = sorted({place(axis, value) for axis, values in AXES.items() for value in values}, key=amount)
    with ExitStack() as stack:
        floor_workers = {name: Worker(Case("", name, (0, 0), 0, "cpu", threads, train=False), stack) for name in FLOORS}
        for frames, size, batch in points:
            cases = [Case(model, variant, (frames, size), batch, "cpu", threads, train=False) for variant in variants]
            rows, _ = measure(cases, floor_workers, turns, profile=False, advance=lambda: None)
            seconds[frames, size, batch] = [row.batch / row.clips_per_second[0] for row in rows]
            print(f"{frames}x{size}, batch {batch}: {seconds[frames, size, batch]}", flush=True)
    return seconds


def draw(seconds: dict[Point, list[float]], variants: list[str], title: str, file: str) -> None:
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, (axis, values) in zip(figure.subplots(1, 3, sharey=True), AXES.items(), strict=True):
        places = [place(axis, value) for value in values]
        for i, variant in enumerate(variants):
            one = seconds[tuple(COMMON.values())][i]
            expected = [one * amount(p) for p in places]
            label = "expected" if variant == variants[-1] else None
            axes.plot(values, [seconds[p][i] for p in places], "o-", color=f"C{i}", label=variant)
            axes.plot(values, expected, ":", color=f"C{i}", label=label)
        axes.set_xscale("log", base=2)
        axes.set_xticks(values, map(str, values))
        axes.set(yscale="log", xlabel=axis)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("seconds")
    figure.axes[0].legend()
    figure.suptitle(title)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smallbig_r23", choices=list_models(), metavar="NETWORK")
    parser.add_argument("--variants", nargs="+", default=["plain", "fused", "fused bf16"], choices=INFERENCE, metavar="VARIANT")
    parser.add_argument("--turns", type=int, default=2, help="how often each point is timed")
    parser.add_argument("--plot", default="growth.png", help="the picture's file")
    args = parser.parse_args()
    seconds = time_points(args.model, args.variants, args.turns)
    head = [*COMMON, *(f"{variant}: s, of expected" for variant in args.variants)]
    print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    ones = seconds[tuple(COMMON.values())]
    for point, times in seconds.items():
        cells = [f"{time:.2f}, {time / (one * amount(point)):.2f}" for time, one in zip(times, ones, strict=True)]
        print(f"| {' | '.join([*map(str, point), *cells])} |")
    draw(seconds, args.variants, f"{args.model}, threads: {torch.get_num_threads()}, {cpu_name()}", args.plot)
    print(f"\ntorch {torch.__version__}, {args.turns} turns, {cpu_name()}, threads: {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
