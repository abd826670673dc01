"""Scores files (.npz), which `evaluate --scores` writes and `ensemble` averages."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from smallbignet.errors import SmallBigError
from smallbignet.inference.evaluation import Evaluation


def save_scores(result: Evaluation, file: str) -> None:
    """Writes the scores as an .npz file with the arrays videos, labels, scores and classes."""
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        file, videos=result.videos, labels=result.labels, scores=result.scores, classes=np.array(result.classes)
    )


def load_scores(file: str) -> Evaluation:
    """Reads what `save_scores` wrote.

    Raises:
        SmallBigError: there is no such file, or it is no scores file.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            videos, labels, scores, classes = (arrays[name] for name in ("videos", "labels", "scores", "classes"))
    except FileNotFoundError:
        raise SmallBigError("there is no such file", file) from None
    except (KeyError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile):
        raise SmallBigError("this is no scores file; `smallbig evaluate --scores` writes them", file) from None
    if not (
        scores.shape == (len(videos), len(classes))
        and labels.shape == videos.shape
        and np.isin(labels, range(len(classes))).all()
    ):
        raise SmallBigError("the videos, labels, scores and classes of this scores file don't fit each other", file)
    paths = np.array([os.path.normpath(video) for video in videos.tolist()])  # without the "../" of a list in another folder
    return Evaluation(paths, labels, scores, classes.tolist(), [], "")


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
