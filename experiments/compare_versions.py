"""Shows that two versions of this package give the same results, and with --speed how fast each is.

    python experiments/compare_versions.py OLD_CHECKOUT [NEW_CHECKOUT] [--speed]

Each checkout is a folder with src/smallbignet, such as `git worktree add OLD_CHECKOUT REVISION` makes it; by default
NEW_CHECKOUT is the one with this file. Both versions run in the same environment, on rendered clips, on the CPU:

- the old and the new version train the same small network with the same seed: the weights have the same bits;
- both predict and evaluate with the model that the old version saved: the JSON and the scores are equal to the last digit;
- the new version resumes a run of the old version that was killed: the weights are those of the run that was not.

Prints a Markdown table. The exit status is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors.torch import load_file

RECIPE = """
model: {name: smallbig_r23, width: 8, drop_rate: 0.5}
clip: {sampling: uniform, clip_len: 4}
input: {size: 32, train_short_side: [32, 40], short_side: 32}
optim: {epochs: 6, batch_size: 4, lr: 0.05}
run: {workers: 0, views: 2x3, device: cpu, save_steps: 1}
data: {train: clips}
"""
RENDER = """
from smallbignet.data.synthetic import make_dataset
make_dataset("clips", {"train": 4, "val": 2}, size=32, num_frames=8)
"""
# What a process computes once for each line that it reads; it then writes the seconds by the clock and those of the CPU.
TIMED = {
    "fused inference, smallbig_r50, 8x224, batch 1": """
network, clips = fuse(create_model("smallbig_r50").eval()), torch.randn(1, 3, 8, 224, 224)
def call():
    network(clips)
""",
    "training step, smallbig_r23, 8x112, batch 8": """
network = create_model("smallbig_r23").to(memory_format=torch.channels_last_3d)
clips = torch.randn(8, 3, 8, 112, 112).to(memory_format=torch.channels_last_3d)
optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
def call():
    torch.nn.functional.cross_entropy(network(clips), torch.arange(8)).backward()
    optimizer.step()
    optimizer.zero_grad()
""",
}
BEFORE_TIMED = "import sys, time, torch; from smallbignet import create_model, fuse; torch.manual_seed(0)"
AFTER_TIMED = """
for line in sys.stdin:
    started = time.perf_counter(), time.process_time()
    call()
    print(time.perf_counter() - started[0], time.process_time() - started[1], flush=True)
"""


@dataclass(frozen=True)
class Version:
    """A checkout, and the folder in which both versions work."""

    checkout: Path
    folder: Path

    def command(self, *words: str) -> dict:
        """Arguments of `subprocess.run` for Python with this version."""
        environment = os.environ | {"PYTHONPATH": str(self.checkout / "src")}
        return {"args": [sys.executable, *words], "cwd": self.folder, "env": environment, "text": True}

    def python(self, program: str) -> str:
        return subprocess.run(**self.command("-c", program), check=True, stdout=subprocess.PIPE).stdout.strip()

    def smallbig(self, *words: str) -> object:
        """Run a verb and return what it prints as JSON."""
        command = self.command("-m", "smallbignet", *words, "--json")
        done = subprocess.run(**command, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"{self.checkout}: smallbig {' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def train_until_killed(self, run: str, epochs: int) -> None:
        """Train, and kill the process once the state after some epochs is saved."""
        command = self.command("-m", "smallbignet", "train", "recipe.yaml", "--run.dir", run)
        process = subprocess.Popen(**command, stderr=subprocess.DEVNULL)
        metrics = self.folder / run / "metrics.jsonl"
        while process.poll() is None and not (metrics.exists() and metrics.read_text().count("\n") >= epochs):
            time.sleep(0.01)
        process.kill()
        process.wait()


def compare(old: Version, new: Version) -> dict[str, bool]:
    """Return for each comparison, in words, whether the versions give the same."""
    folder = old.folder
    (folder / "recipe.yaml").write_text(RECIPE)
    old.python(RENDER)
    for version, run in ((old, "run-old"), (new, "run-new")):
        version.smallbig("train", "recipe.yaml", "--run.dir", run)
    old.train_until_killed("run-resumed", epochs=2)
    interrupted = not (folder / "run-resumed" / "report.json").exists()
    new.smallbig("train", "recipe.yaml", "--run.dir", "run-resumed", "--resume")
    videos = sorted(str(path.relative_to(folder)) for path in folder.glob("clips/val/*/*.mp4"))
    answers = []
    for version, scores in ((old, "scores-old.npz"), (new, "scores-new.npz")):
        predicted = version.smallbig("predict", "run-old", *videos)
        evaluated = version.smallbig("evaluate", "run-old", "clips/val", "--scores", scores)
        answers.append((predicted, evaluated))
    return {
        "training: the weights of every saved model": same_weights(folder / "run-old", folder / "run-new"),
        "predict --json": answers[0][0] == answers[1][0],
        "evaluate --json, every figure of the old version": all(
            answers[1][1][key] == value for key, value in answers[0][1].items()
        ),
        "evaluate --scores": same_arrays(folder / "scores-old.npz", folder / "scores-new.npz"),
        "a run of the old version, killed, resumed by the new one: its weights": interrupted
        and same_weights(folder / "run-old", folder / "run-resumed"),
    }


def same_weights(one: Path, other: Path) -> bool:
    """Whether two runs saved the same bits, in their best and in their last model."""
    for model in ("best", "last"):
        ours, theirs = (load_file(run / model / "model.safetensors") for run in (one, other))
        if ours.keys() != theirs.keys() or not all(torch.equal(ours[key], theirs[key]) for key in ours):
            return False
    return True


def same_arrays(one: Path, other: Path) -> bool:
    with np.load(one) as ours, np.load(other) as theirs:
        return set(ours) == set(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)


def time_versions(old: Version, new: Version, program: str, turns: int) -> list[list[float]]:
    """Let both versions compute in turns. Return for each turn the clock's and the CPU's seconds of the new by the old."""
    processes = [start_timed(version, program) for version in (old, new)]
    calls: list[Callable[[], list[float]]] = [lambda process=process: call(process) for process in processes]
    for each in calls:
        each()  # warms up
    ratios = []
    for turn in range(turns):
        order = (0, 1) if turn % 2 else (1, 0)
        seconds = {i: calls[i]() for i in order}
        ratios.append([mine / theirs for mine, theirs in zip(seconds[1], seconds[0], strict=True)])
    for process in processes:
        process.communicate()  # closes its input, which ends it
    return ratios


def start_timed(version: Version, program: str) -> subprocess.Popen:
    command = version.command("-c", "\n".join((BEFORE_TIMED, program, AFTER_TIMED)))
    return subprocess.Popen(**command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def call(process: subprocess.Popen) -> list[float]:
    assert process.stdin and process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    return [float(seconds) for seconds in process.stdout.readline().split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, metavar="OLD_CHECKOUT")
    parser.add_argument("new", type=Path, metavar="NEW_CHECKOUT", nargs="?", default=Path(__file__).parents[1])
    parser.add_argument("--speed", action="store_true", help="also time both versions in turns, on an otherwise idle machine")
    parser.add_argument("--turns", type=int, default=15, help="how often each version is timed")
    args = parser.parse_args()
    for checkout in (args.old, args.new):
        if not (checkout / "src" / "smallbignet").is_dir():
            parser.error(f"no checkout of this package: {checkout} has no src/smallbignet")
    with TemporaryDirectory() as folder:
        old, new = (Version(checkout.resolve(), Path(folder)) for checkout in (args.old, args.new))
        for version in (old, new):
            assert Path(version.python("import smallbignet; print(smallbignet.__file__)")).is_relative_to(version.checkout)
        results = compare(old, new)
        print("| compared | same |\n|---|---|")
        for what, same in results.items():
            print(f"| {what} | {'yes' if same else 'NO'} |")
        if args.speed:
            print("\n| new version's time / old version's, median (middle half) | by the clock | of the CPU |\n|---|---|---|")
            for what, program in TIMED.items():
                clock, cpu = zip(*time_versions(old, new, program, args.turns), strict=True)
                cells = ["{1:.3f} ({0:.3f} to {2:.3f})".format(*quantiles(ratios, n=4)) for ratios in (clock, cpu)]
                print(f"| {what} | {' | '.join(cells)} |", flush=True)
    print(f"\ntorch {torch.__version__}, {torch.get_num_threads()} threads, Python {platform.python_version()}")
    sys.exit(0 if all(results.values()) else 1)


if __name__ == "__main__":
    main()
