"""Which is faster for a small and a big view: two convolutions, the second adding to the first, or one of both views?

    python experiments/views.py

Prints a Markdown table of milliseconds at the shapes of SmallBig-R50 with 8x224x224, the medians of interleaved calls. All
forms start from the two views, except "one, concatenated", which would need a pooling that writes next to its input.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch
from torch import nn

from smallbignet.inference.folded_conv import FoldedConv
from smallbignet.inference.winograd import Winograd
from smallbignet.utils.machine import cpu_name
from smallbignet.utils.memory import keep_memory

SHAPES = [(512, 128, 1, 28), (128, 128, 3, 28), (1024, 256, 1, 14), (256, 256, 3, 14), (2048, 512, 1, 7), (512, 512, 3, 7)]
ROUNDS = 15


def forms(cin: int, cout: int, kernel: int, size: int, dtype: torch.dtype) -> dict:
    """Return what is timed, by name: functions without arguments."""

    def conv(channels: int) -> nn.Conv3d:
        return nn.Conv3d(channels, cout, (1, kernel, kernel), padding=(0, kernel // 2, kernel // 2), bias=False)

    small, big, one = (FoldedConv(conv(channels), nn.BatchNorm3d(cout).eval(), dtype) for channels in (cin, cin, 2 * cin))
    x, m = torch.randn(2, 1, 8, size, size, cin).to(dtype)
    both = torch.cat([x, m], -1)
    found = {
        "two": lambda: big(m, small(x), True),
        "one, concatenating": lambda: one(torch.cat([x, m], -1), relu=True),
        "one, concatenated": lambda: one(both, relu=True),
    }
    if kernel == 3 and dtype == torch.float32:
        filtering = Winograd(one.weight, one.bias)
        found["one, minimal filtering"] = lambda: filtering([x.flatten(0, 1), m.flatten(0, 1)])
    return found


@torch.no_grad()
def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    keep_memory()
    names = ["two", "one, concatenating", "one, concatenated", "one, minimal filtering"]
    print(f"| convolution | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")
    for dtype in (torch.float32, torch.bfloat16):
        for cin, cout, kernel, size in SHAPES:
            times: dict[str, list[float]] = {}
            calls = forms(cin, cout, kernel, size, dtype)
            for _ in range(ROUNDS):
                for name, call in calls.items():
                    call()
                    started = time.perf_counter()
                    call()
                    times.setdefault(name, []).append(1000 * (time.perf_counter() - started))
            cells = [f"{median(times[name]):.2f}" if name in times else "" for name in names]
            what = f"{cin} to {cout}, {kernel}x{kernel}, 8x{size}x{size}, {str(dtype).removeprefix('torch.')}"
            print(f"| {what} | {' | '.join(cells)} |", flush=True)
    print(f"\ntorch {torch.__version__}, {cpu_name()}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
