"""What to train on a few hundred clips of one's own: the ways that README names, on four folds of real clips.

    python experiments/fights.py CLIPS.csv RUNS [WAY ...]

CLIPS.csv has the columns path, label and fold. Each of the folds 0 to 3 is the test once: the next fold validates (which
chooses the best epoch, the temperature and the threshold), and the other two train. Nothing that was trained or chosen has
seen the videos of the test. In the folder RUNS each run has a directory; finished runs are not trained again, stopped ones go
on. Prints Markdown tables of all ways that were asked for.
"""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import torch

from smallbignet.commands.evaluate import evaluate
from smallbignet.commands.train import train
from smallbignet.inference.calibration import calibration_error, temper
from smallbignet.inference.evaluation import Evaluation
from smallbignet.inference.scores import save_scores
from smallbignet.training.run_directory import RunDirectory
from smallbignet.training.settings import load_recipe
from smallbignet.utils.statistics import wilson_interval

WAYS = {
    "small": ("small", []),
    "small_imagenet, 2d": ("small_imagenet", ["--model.stages", "[2d, 2d, 2d, 2d]"]),
    "small_imagenet, tsm": ("small_imagenet", ["--model.stages", "[2d, tsm, tsm, tsm]"]),
    "small_imagenet": ("small_imagenet", []),
    "auto": ("auto", []),
}
FOLDS = range(4)
SEEDS = (0, 1)
CORES = 2  # `auto` chooses for as many, whatever this program runs on


@dataclass(frozen=True)
class HeldOut:
    """What the best model of a run does on the fold that neither training nor validation has seen.

    Attributes:
        right, videos: videos with the right class first, of all.
        uncalibrated, calibrated: the calibration error without and with the run's temperature, 0 to 1.
        answered: videos whose score reaches the run's threshold; answered_right: those of them that are right.
        best_top1, last_top1: on the validation videos.
        seconds: of training, with the validations.
    """

    right: int
    videos: int
    uncalibrated: float
    calibrated: float
    answered: int
    answered_right: int
    best_top1: float
    last_top1: float
    seconds: float


def run(clips: str, folder: Path, way: str, fold: int, seed: int) -> HeldOut:
    """Trains, unless that is done, and tests."""
    directory = RunDirectory(folder / f"{way.replace(', ', '-')}-fold{fold}-seed{seed}")
    done = directory.path / "held_out.json"
    if done.exists():
        return HeldOut(**json.loads(done.read_text()))
    if not directory.is_finished:
        recipe, settings = WAYS[way]
        validate = (fold + 1) % len(FOLDS)
        trained = ",".join(str(other) for other in FOLDS if other not in (fold, validate))
        data = ["--data.train", clips, "--data.select", f"fold={trained}", "--data.val_select", f"fold={validate}"]
        threads = torch.get_num_threads()
        torch.set_num_threads(CORES)
        config = load_recipe(recipe, [*data, *settings, "--run.dir", str(directory.path), "--run.seed", str(seed)])
        torch.set_num_threads(threads)
        train(config, resume=directory.is_started)
    report = directory.report()
    result = evaluate(str(directory.path / "best"), clips, select=f"fold={fold}")
    save_scores(result, str(directory.path / "held_out.npz"))
    held_out = HeldOut(**figures(result), best_top1=report.best_top1, last_top1=report.last_top1, seconds=round(report.seconds))
    done.write_text(json.dumps(asdict(held_out)))
    return held_out


def figures(result: Evaluation) -> dict:
    """The figures of a test; those of the scores before calibration are computed by undoing the temperature."""
    answered = result.answered() or {"share": 0.0, "precision": None}
    count = round(answered["share"] * len(result.labels))
    return {
        "right": int(result.right.sum()),
        "videos": len(result.labels),
        "uncalibrated": calibration_error(temper(result.scores, 1 / result.spec.temperature), result.labels),
        "calibrated": calibration_error(result.scores, result.labels),
        "answered": count,
        "answered_right": round(count * (answered["precision"] or 0)),
    }


def print_tables(runs: dict[tuple[str, int, int], HeldOut]) -> None:
    """One row per way, over all its runs; then one row per run."""
    columns = ["way", "runs", "top-1 on held-out clips (95 % interval)", "lowest and highest run"]
    columns += ["calibration error before", "after", "answered", "of these right", "training s"]
    _print_row(columns, is_head=True)
    for way in dict.fromkeys(way for way, _, _ in runs):
        _print_row(_summary(way, [result for key, result in runs.items() if key[0] == way]))
    print()
    columns = ["way", "fold", "seed", "held-out top-1", "best in validation", "last in validation", "training s"]
    _print_row(columns, is_head=True)
    for (way, fold, seed), result in runs.items():
        shares = (result.right / result.videos, result.best_top1, result.last_top1)
        _print_row([way, str(fold), str(seed), *(f"{share:.1%}" for share in shares), str(result.seconds)])
    print(f"\ntorch {torch.__version__}, {torch.get_num_threads()} threads, Python {platform.python_version()}.")


def _summary(way: str, results: list[HeldOut]) -> list[str]:
    """The row of a way. Its interval counts each video once, whatever the number of seeds."""
    videos = sum(result.videos for result in results)
    share = sum(result.right for result in results) / videos
    low, high = wilson_interval(share, videos // len(SEEDS))
    spread = [result.right / result.videos for result in results]
    answered = sum(result.answered for result in results)
    return [
        way,
        str(len(results)),
        f"{share:.1%} ({low:.1%} to {high:.1%})",
        f"{min(spread):.1%}, {max(spread):.1%}",
        f"{mean(result.uncalibrated for result in results):.1%}",
        f"{mean(result.calibrated for result in results):.1%}",
        f"{answered / videos:.1%}",
        f"{sum(result.answered_right for result in results) / answered:.1%}" if answered else "-",
        f"{mean(result.seconds for result in results):.0f}",
    ]


def _print_row(cells: list[str], is_head: bool = False) -> None:
    print(f"| {' | '.join(cells)} |")
    if is_head:
        print("|---" * len(cells) + "|")


def main(clips: str, folder: Path, ways: list[str]) -> None:
    runs = {(way, fold, seed): run(clips, folder, way, fold, seed) for seed in SEEDS for fold in FOLDS for way in ways}
    print_tables(runs)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:] or list(WAYS))
