"""Something-Something V1 (folders of frames, lists as text) and V2 (video files, lists as JSON), named by numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from smallbignet.data.annotations import read_classes, read_text
from smallbignet.data.formats.published import Entry, PublishedDataSet, read_json, without_brackets
from smallbignet.errors import SmallBigError


def _read_entries_v1(file: Path) -> Iterator[Entry]:
    for number, line in enumerate(read_text(file).splitlines(), 1):
        video, semicolon, label = line.partition(";")
        if not semicolon:
            raise SmallBigError(f"line {number} is not `id;label`", file)
        yield Entry(f"line {number}", video.strip(), without_brackets(label))


def _read_entries_v2(file: Path) -> Iterator[Entry]:
    for number, entry in enumerate(read_json(file), 1):
        try:
            yield Entry(f"entry {number}", str(entry["id"]), without_brackets(entry["template"]))
        except (KeyError, TypeError) as error:
            raise SmallBigError(f"entry {number} has no id or no template", file) from error


def _read_labels_v1(file: Path) -> list[str]:
    return list(map(without_brackets, read_classes(file)))


def _read_labels_v2(file: Path) -> list[str]:
    index = read_json(file)
    try:
        return [without_brackets(label) for label in sorted(index, key=lambda label: int(index[label]))]
    except (TypeError, ValueError) as error:
        raise SmallBigError('not of the form {"class": "index", ...}', file) from error


V1 = PublishedDataSet(
    name="Something-Something V1",
    classes="ssv1",
    parts={"train": ("something-something-v1-train.csv",), "val": ("something-something-v1-validation.csv",)},
    head=r"\d+;",
    video=r"\d+",
    read_entries=_read_entries_v1,
    labels=("something-something-v1-labels.csv",),
    read_labels=_read_labels_v1,
)
V2 = PublishedDataSet(
    name="Something-Something V2",
    classes="ssv2",
    parts={
        "train": ("something-something-v2-train.json", "train.json"),
        "val": ("something-something-v2-validation.json", "validation.json"),
    },
    head=r'[^{]*{[^{}]*"template"',
    video=r"\d+",
    read_entries=_read_entries_v2,
    labels=("something-something-v2-labels.json", "labels.json"),
    read_labels=_read_labels_v2,
)
