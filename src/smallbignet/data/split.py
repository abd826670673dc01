"""Which videos of a data set a run trains on, and which it validates on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from smallbignet.data.annotations import Annotations, select_rows, split
from smallbignet.data.folders import file_identities
from smallbignet.data.options import DataSource
from smallbignet.data.source import find_part, read_part
from smallbignet.errors import SmallBigError
from smallbignet.utils.checks import Range
from smallbignet.utils.console import note

MOST_IMBALANCE = 10  # of the most frequent class to the rarest one, before a warning


@dataclass(frozen=True)
class DataSpec(DataSource):
    """Where the videos and their labels are, how they are split, and how they are read.

    Attributes:
        train: a folder with a folder of videos for each class, or with folders for its parts, such as `train` and `val`;
            Kinetics-400 or Something-Something V1 or V2 as their owners publish them; a .csv file with a header; or a list of
            `path label` or `path num_frames label`.
        val: the same for the videos to validate on; where it is empty, the `val` or else the `test` folder, the published
            validation part, or what `val_select` or `val_fraction` takes.
        select: rows of a .csv file to train on, such as "fold=0,1,2"; where it is empty, all that `val_select` doesn't take.
        val_select: rows to validate on, such as "fold=3".
        val_fraction: share of every class that is held out where neither `val` nor `val_select` is given.
        group_column: column of a .csv file, such as "source"; rows with the same value stay on one side of that split.
        split_seed: seed of that split.
        balance: what is done where some classes have few videos: "sampler" shows every class equally often, "loss" gives the
            clips of rare classes more weight, "none" does nothing.
        max_unreadable: share of the training videos that may be unreadable before the run stops.
    """

    train: str = ""
    val: str = ""
    select: str = ""
    val_select: str = ""
    val_fraction: Annotated[float, Range(ge=0, lt=1)] = 0.2
    group_column: str = ""
    split_seed: Annotated[int, Range(ge=0, le=2**32 - 1)] = 0
    balance: Literal["none", "sampler", "loss"] = "none"
    max_unreadable: Annotated[float, Range(ge=0, le=1)] = 0.1


def read_split(spec: DataSpec) -> tuple[Annotations, Annotations]:
    """Reads the videos to train on and those to validate on, with the same classes. No file is in both.

    Classes that one part has and the other lacks are named on standard error.

    Raises:
        SmallBigError: there is nothing to read, or a part is empty.
    """
    train, val = _read_parts(spec)
    if train.is_multilabel or val.is_multilabel:
        train, val = train.as_multilabel(), val.as_multilabel()
    _note_lacking(train, val, spec.train)
    return train, val


def _read_parts(spec: DataSpec) -> tuple[Annotations, Annotations]:
    if not spec.train:
        raise SmallBigError("which videos? give a folder with a folder per class, a .csv file or a list", "--data.train")
    everything = read_part(spec.train, "train", spec)
    _check_first_class(everything, spec.train)
    train = select_rows(everything, spec.select, spec.train)
    has_parts = find_part(spec.train, "train") != Path(spec.train)
    if spec.val or has_parts:
        return _without(train, _read_val(spec, spec.val or spec.train, everything.classes), spec.train)
    if not spec.val_select:
        return split(train, spec.val_fraction, spec.split_seed, spec.group_column)
    val = select_rows(everything, spec.val_select, spec.train)
    if spec.select:
        return _without(train, val, spec.train)
    train = train.subset(~np.isin(train.paths, val.paths))
    if not len(train):
        raise SmallBigError(f'"{spec.val_select}" leaves no video to train on', spec.train)
    return train, val


def _read_val(spec: DataSpec, path: str, classes: Sequence[str]) -> Annotations:
    return select_rows(read_part(path, "val", spec, classes), spec.val_select, path)


def _without(train: Annotations, val: Annotations, where: str) -> tuple[Annotations, Annotations]:
    """Both parts, the one to train on without the files of the one to validate on."""
    shared = np.isin(file_identities(train.paths.tolist()), file_identities(val.paths.tolist()))
    if shared.all():
        raise SmallBigError("all videos to train on are also among those to validate on; give others in data.val", where)
    if shared.any():
        example = train.paths[shared][0]
        note(f"{where}: left {shared.sum()} videos out of training that are among those to validate on, such as {example}")
    return train.subset(~shared), val


def _check_first_class(annotations: Annotations, where: str) -> None:
    """Refuses indices that seem to be counted from 1: every class has a video, but the class 0."""
    used = np.flatnonzero(annotations.counts())
    highest = len(annotations.classes) - 1
    if annotations.indexed and highest > 1 and used.tolist() == list(range(1, highest + 1)):
        what = f"the class indices count from 1 to {highest}, and the first class has the index 0"
        raise SmallBigError(f"{what}; name the classes in a file that is numbered from 1, with --data.classes", where)


def _note_lacking(train: Annotations, val: Annotations, where: str) -> None:
    """Names the classes that are trained but never validated, and those that are validated but never trained."""
    trained, validated = (np.flatnonzero(part.counts()) for part in (train, val))
    never_trained, never_validated = np.setdiff1d(validated, trained), np.setdiff1d(trained, validated)
    for lacking, what in (
        (never_trained, "no video to train on, so every answer for them will be wrong"),
        (never_validated, "no video to validate on, so nothing will be known of how well they are recognised"),
    ):
        if len(lacking):
            some = ", ".join(f'"{train.classes[label]}"' for label in lacking[:3]) + (", ..." if len(lacking) > 3 else "")
            note(f"warning: {where}: {len(lacking)} of {len(train.classes)} classes have {what}: {some}")


def note_imbalance(train: Annotations) -> None:
    """Warns where the most frequent class has over ten times as many videos as the rarest one."""
    counts = train.counts()
    present = np.flatnonzero(counts)
    rarest = present[counts[present].argmin()]
    most = counts.argmax()
    if counts[most] > MOST_IMBALANCE * counts[rarest]:
        frequent = f'"{train.classes[most]}" has {counts[most]} training videos'
        rare = f'"{train.classes[rarest]}" has {counts[rarest]}'
        note(f"warning: {frequent}, and {rare}: data.balance sampler or loss trains more on rare classes")
