"""`smallbig ensemble`: the mean of several models' softmax scores of the same videos, as in Tables 10 and 11."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path

from rich.table import Table

from smallbignet.errors import SmallBigError
from smallbignet.inference.evaluation import Evaluation
from smallbignet.inference.scores import ScoresFile, average, load_aligned, save_scores
from smallbignet.utils.checks import checked
from smallbignet.utils.statistics import mcnemar


@dataclass(frozen=True)
class Ensemble:
    """Several models' scores of the same videos, and their mean.

    Attributes:
        files: the scores files.
        weights: one for each file; they sum to 1.
        members: the scores of each file, with the videos in the order of the first.
        result: the weighted mean of the scores.
    """

    files: list[str]
    weights: list[float]
    members: list[Evaluation]
    result: Evaluation

    def report(self) -> dict:
        """All figures, as plain data."""
        rows = zip(self.files, self.weights, self.members, strict=True)
        right = self.result.right
        return {
            "videos": len(self.result.videos),
            "members": [
                {"scores": file, "weight": weight, **_figures(member), "p_value": mcnemar(right, member.right)}
                for file, weight, member in rows
            ],
            **_figures(self.result),
        }


@checked
def ensemble(files: list[str], *, weights: str = "", scores: ScoresFile = "") -> Ensemble:
    """Averages several models' scores of the same videos, and reports the accuracy of each model and of all together.

    Args:
        files: scores files (.npz) that `evaluate --scores` wrote; the videos may be in different orders.
        weights: one number for each file, such as "2,1"; equal weights if not given.
        scores: file (.npz) to write the averaged scores to.

    Raises:
        SmallBigError: fewer than two files, no scores files, logits or NaN in them, or different videos, labels or classes.
    """
    if len(files) < 2:
        raise SmallBigError("an ensemble needs at least two scores files", files[0])
    if scores and Path(scores).resolve() in [Path(file).resolve() for file in files]:
        raise SmallBigError("the averaged scores go to a file that is not one of those averaged", scores)
    shares = parse_weights(weights, len(files))
    members = load_aligned(files)
    result = average(members, shares)
    if scores:
        save_scores(result, scores)
    return Ensemble(files, shares, members, result)


def show(result: Ensemble) -> Table:
    """A table with one row for each file, and one for the ensemble."""
    figures = result.report()
    shown = {"top1": "top-1 %", "top5": "top-5 %"} if len(result.result.classes) > 5 else {"top1": "top-1 %"}
    caption = f"{figures['videos']} videos; p: McNemar's test of the ensemble against each model"
    table = Table("scores", "weight", *shown.values(), "p", caption=caption)
    for row in figures["members"]:
        percents = (f"{100 * row[key]:.2f}" for key in shown)
        table.add_row(row["scores"], f"{row['weight']:.3g}", *percents, f"{row['p_value']:.2g}")
    table.add_section()
    table.add_row("ensemble", "", *(f"{100 * figures[key]:.2f}" for key in shown))
    return table


def parse_weights(text: str, count: int) -> list[float]:
    """Reads weights such as "2,1" and scales them so that they sum to 1; an empty text means equal weights.

    Raises:
        SmallBigError: the text is not `count` numbers, one is negative, or none is above zero.
    """
    try:
        weights = [float(word) for word in text.split(",")] if text else [1.0] * count
    except ValueError:
        weights = []
    total = sum(weights)
    if len(weights) != count or not 0 < total < inf or min(weights) < 0:
        example = ",".join("1" * count)
        raise SmallBigError(f"weights are {count} numbers, one for each file, none negative, such as {example}", text)
    return [weight / total for weight in weights]


def _figures(result: Evaluation) -> dict:
    return {"top1": result.accuracy(1), "top5": result.accuracy(5)}
