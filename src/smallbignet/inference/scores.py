"""Scores files (.npz), which `evaluate --scores` writes and `ensemble` averages."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np

from smallbignet.errors import SmallBigError
from smallbignet.inference.evaluation import Comparison, Evaluation
from smallbignet.utils.checks import Must, is_file
from smallbignet.utils.files import fresh_name, writing
from smallbignet.utils.statistics import mcnemar

MOST_BYTES = 2**32  # of a scores file's arrays: two million videos of Kinetics-400
ROUNDING = 0.01  # of a sum of softmax scores in bfloat16

# A file to write, or nothing.
ScoresFile = Annotated[
    str,
    Must("a file that ends in .npz and can be written", lambda file: not file or (file.endswith(".npz") and is_file(file))),
]


def save_scores(result: Evaluation, file: str) -> None:
    """Writes the scores as an .npz file with the arrays videos, labels, scores and classes, as a whole or not at all."""
    path = Path(file)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh_name(path).open("wb") as stream:
            np.savez_compressed(
                stream, videos=result.videos, labels=result.labels, scores=result.scores, classes=np.array(result.classes)
            )
        os.replace(fresh_name(path), path)


def load_scores(file: str) -> Evaluation:
    """Reads what `save_scores` wrote.

    Raises:
        SmallBigError: there is no such file, it is no scores file, or the scores are no probabilities.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            if (size := sum(item.file_size for item in archive.infolist())) > MOST_BYTES:
                raise SmallBigError(f"its arrays take {size:,} bytes, and {MOST_BYTES:,} are read at most", file)
        with np.load(file, allow_pickle=False) as arrays:
            videos, labels, scores, classes = (arrays[name] for name in ("videos", "labels", "scores", "classes"))
    except FileNotFoundError:
        raise SmallBigError("there is no such file", file) from None
    except SmallBigError:
        raise
    except Exception as error:  # NumPy and zipfile raise many kinds of errors for a broken file
        raise SmallBigError("this is no scores file; `smallbig evaluate --scores` writes them", file) from error
    _check(videos, labels, scores, classes, file)
    return _with_normal_paths(Evaluation(videos, labels.astype(np.int64), scores.astype(np.float32), classes.tolist(), [], ""))


def _check(videos: np.ndarray, labels: np.ndarray, scores: np.ndarray, classes: np.ndarray, file: str) -> None:
    """Checks that arrays fit each other, and that the scores are probabilities. Errors as of `load_scores`."""
    kinds = videos.dtype.kind + labels.dtype.kind.replace("u", "i") + scores.dtype.kind + classes.dtype.kind
    if kinds != "UifU" or videos.ndim != 1 or classes.ndim != 1:
        what = "videos and classes must be lists of texts, labels whole numbers, and scores floating-point numbers"
        raise SmallBigError(what, file)
    fits = scores.shape == (len(videos), len(classes)) and labels.shape == videos.shape
    if not fits or not len(videos) or labels.min() < 0 or labels.max() >= len(classes):
        raise SmallBigError("the videos, labels, scores and classes of this scores file don't fit each other", file)
    for wrong, what in (
        (~np.isfinite(scores).all(1), "NaN or infinity"),
        ((scores < 0).any(1) | (abs(scores.sum(1, dtype=np.float64) - 1) > ROUNDING), "no probabilities that sum to 1"),
    ):
        if wrong.any():
            hint = "only softmax scores can be averaged, not logits"
            raise SmallBigError(f"the scores of {videos[wrong.argmax()]} are {what}; {hint}", file)


def compare(result: Evaluation, other: Evaluation, name: str, other_name: str) -> Comparison:
    """Compares two models' scores of the same videos by McNemar's test.

    Raises:
        SmallBigError: videos, labels or classes differ; see `align`.
    """
    aligned = align(_with_normal_paths(other), _with_normal_paths(result), other_name, name)
    return Comparison(other_name, aligned.accuracy(), mcnemar(result.right, aligned.right))


def _with_normal_paths(result: Evaluation) -> Evaluation:
    """Scores with paths as `load_scores` returns them, without the "../" of a list in another folder."""
    return replace(result, videos=np.array([os.path.normpath(video) for video in result.videos.tolist()]))


def align(other: Evaluation, first: Evaluation, file: str, first_file: str) -> Evaluation:
    """The scores of another model, with the videos in the order of the first model's.

    Args:
        file, first_file: where the scores were, for the errors.

    Raises:
        SmallBigError: names the first class, video or label that differs.
    """
    if len(other.classes) != len(first.classes):
        raise SmallBigError(f"it has {len(other.classes)} classes, and {first_file} has {len(first.classes)}", file)
    for i in np.flatnonzero(np.array(other.classes) != np.array(first.classes)):
        raise SmallBigError(f'its class {i} is "{other.classes[i]}", in {first_file} it is "{first.classes[i]}"', file)
    ours, theirs = Counter(first.videos.tolist()), Counter(other.videos.tolist())
    same = sorted(Path(video).stem for video in ours.elements()) == sorted(Path(video).stem for video in theirs.elements())
    hint = "; the names are the same in other folders: evaluate both on one list" if same else ""
    for missing, where, there in ((ours - theirs, file, first_file), (theirs - ours, first_file, file)):
        for video in missing:
            raise SmallBigError(f"no scores of {video}, which {there} has{hint}", where)
    order = np.empty(len(first.videos), np.int64)  # by label, too: a list may name a video twice, even with two labels
    order[np.lexsort((first.labels, first.videos))] = np.lexsort((other.labels, other.videos))
    for i in np.flatnonzero(other.labels[order] != first.labels):
        mine, yours = (first.classes[label] for label in (other.labels[order][i], first.labels[i]))
        raise SmallBigError(f'the label of {first.videos[i]} is "{mine}", in {first_file} it is "{yours}"', file)
    return Evaluation(first.videos, first.labels, other.scores[order], first.classes, [], "")


def load_aligned(files: Sequence[str]) -> list[Evaluation]:
    """The scores in several files, with the videos in the order of the first. Errors as of `load_scores` and `align`."""
    first, *others = map(load_scores, files)
    return [first, *(align(other, first, file, files[0]) for other, file in zip(others, files[1:], strict=True))]


def average(members: Sequence[Evaluation], shares: Sequence[float] = ()) -> Evaluation:
    """The mean of scores that are in the same order; `shares` are weights that sum to 1, equal ones if not given."""
    first = members[0]
    shares = shares or [1 / len(members)] * len(members)
    mean = sum(share * member.scores.astype(np.float64) for share, member in zip(shares, members, strict=True))
    return Evaluation(first.videos, first.labels, np.asarray(mean, np.float32), first.classes, [], "")
