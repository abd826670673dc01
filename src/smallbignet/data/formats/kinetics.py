"""Kinetics-400: .csv files of labels, YouTube ids and times; videos named `YOUTUBEID_SSSSSS_EEEEEE`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from smallbignet.data.formats.published import Entry, PublishedDataSet
from smallbignet.data.formats.table import read_table
from smallbignet.errors import SmallBigError


def _read_entries(file: Path) -> Iterator[Entry]:
    for line, row in read_table(file, ("label", "youtube_id", "time_start", "time_end")):
        try:
            start, end = int(float(row["time_start"])), int(float(row["time_end"]))
        except ValueError as error:
            raise SmallBigError(f"line {line} has no times in seconds", file) from error
        yield Entry(f"line {line}", f"{row['youtube_id']}_{start:06d}_{end:06d}", row["label"])


KINETICS_400 = PublishedDataSet(
    name="Kinetics-400",
    classes="kinetics400",
    parts={"train": ("kinetics_train.csv", "train.csv"), "val": ("kinetics_val.csv", "val.csv", "validate.csv")},
    head="(label,)?youtube_id,time_start,",
    video=r".{11}_\d{6}_\d{6}",
    read_entries=_read_entries,
)
