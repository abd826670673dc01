"""How far the logits of each fast form are from those of the plain network, on noise and on real clips, for every network.

    python experiments/equality.py --videos clips.csv

The networks have random weights, with their big views switched on, and see clips of 8x112. Each cell has the relative error,
the largest of all clips, and the number of clips with the same best class as plain. int8 is calibrated on other clips of the
same kind. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from smallbignet import list_models
from smallbignet.timing.cases import INFERENCE, Case
from smallbignet.timing.clips import CALIBRATION, write_clips
from smallbignet.timing.variants import Inference
from smallbignet.utils.machine import cpu_name

FORMS = ("channels_last", "fused", "fused bf16", "int8")
CLIP = (8, 112)
CLIPS = 24  # compared, of each kind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", required=True, help="a data set, as `smallbig evaluate` takes it")
    parser.add_argument("--networks", default="*", help="a pattern of network names")
    parser.add_argument("--forms", nargs="+", default=FORMS, choices=INFERENCE, metavar="FORM", help="some of %(choices)s")
    args = parser.parse_args()
    if not list_models(args.networks):
        parser.error(f"no network's name matches {args.networks}")
    heads = [f"{form}, {kind}" for form in args.forms for kind in ("noise", "real")]
    print(f"| network | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}")
    with TemporaryDirectory() as folder:
        noise, real = Path(folder, "noise.pt"), Path(write_clips(args.videos, "c2d_r50", CLIP, folder))
        torch.save(torch.randn(CALIBRATION + CLIPS, 3, CLIP[0], CLIP[1], CLIP[1]), noise)
        torch.save(torch.load(real)[: CALIBRATION + CLIPS].clone(), real)
        for name in list_models(args.networks):
            cells = []
            plain = {file: logits(name, "plain", file) for file in (noise, real)}
            for form in args.forms:
                for file in (noise, real):
                    other = logits(name, form, file)
                    error = ((other - plain[file]).norm(dim=1) / plain[file].norm(dim=1)).max()
                    same = (other.argmax(1) == plain[file].argmax(1)).sum()
                    cells.append(f"{error:.1e}, {same} of {len(other)}")
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"\ntorch {torch.__version__}, {cpu_name()}, {os.cpu_count()} cores")


def logits(name: str, form: str, file: Path) -> torch.Tensor:
    return Inference(Case(name, form, CLIP, 1, "cpu", torch.get_num_threads(), train=False, clips=str(file))).logits()


if __name__ == "__main__":
    main()
