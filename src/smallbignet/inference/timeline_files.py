"""Timelines as files: tables, subtitles, and the forms in which Label Studio and FiftyOne read them."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated

from smallbignet.inference.classifier import UNKNOWN
from smallbignet.inference.timeline import Segment, Timeline
from smallbignet.utils.checks import Must, is_file
from smallbignet.utils.files import write_text

SUFFIXES = (".csv", ".json", ".vtt")
TimelineFile = Annotated[
    str,
    Must(
        "a file that ends in .csv, .json or .vtt and can be written",
        lambda file: not file or (file.endswith(SUFFIXES) and is_file(file)),
    ),
]
COLUMNS = ["path", *(field.name for field in fields(Segment))]


def write_timelines(timelines: Sequence[Timeline], file: str, form: str = "auto") -> None:
    """Writes timelines as a file, without the videos that could not be read.

    Args:
        form: "labelstudio", "fiftyone", or "auto" for what the file's name ends in: a .csv table with a row for each segment; a
            .json list with an object for each video; or .vtt subtitles of one video.
    """
    chosen = Path(file).suffix[1:] if form == "auto" else form
    write_text(Path(file), FORMS[chosen]([timeline for timeline in timelines if not timeline.error]))


def events(timeline: Timeline) -> list[Segment]:
    """The segments that are not "unknown"."""
    return [segment for segment in timeline.segments if segment.label != UNKNOWN]


def _csv(timelines: Sequence[Timeline]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({"path": timeline.path} | asdict(segment) for timeline in timelines for segment in timeline.segments)
    return text.getvalue()


def _json(timelines: Sequence[Timeline]) -> str:
    return _text([timeline.report() for timeline in timelines])


def _vtt(timelines: Sequence[Timeline]) -> str:
    """WebVTT, a cue for each event (https://www.w3.org/TR/webvtt1/)."""
    cues = [_cue(segment) for timeline in timelines for segment in events(timeline)]
    return "\n".join(["WEBVTT\n", *cues])


def _cue(segment: Segment) -> str:
    label = html.escape(segment.label, quote=False)
    return f"{_clock(segment.start)} --> {_clock(segment.end)}\n{label} {100 * segment.score:.0f} %\n"


def _clock(seconds: float) -> str:
    minutes, thousandths = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{thousandths / 1000:06.3f}"


def _label_studio(timelines: Sequence[Timeline]) -> str:
    """Label Studio's tasks with predictions, for a `Video` named "video" and `TimelineLabels` named "videoLabels".

    Label Studio counts frames from 1 and turns time into frames at one rate, the task's `fps`. So the ranges are in frames of
    this rate: at a constant frame rate those of the file, and at a variable one those of the same time.
    """
    return _text([_label_studio_task(timeline) for timeline in timelines])


def _label_studio_task(timeline: Timeline) -> dict:
    num_frames = timeline.segments[-1].last_frame + 1
    results = []
    for number, segment in enumerate(events(timeline)):
        first = min(round(segment.start * timeline.fps) + 1, num_frames)
        last = min(max(round(segment.end * timeline.fps), first), num_frames)
        value = {"ranges": [{"start": first, "end": last}], "timelinelabels": [segment.label]}
        place = {"from_name": "videoLabels", "to_name": "video", "type": "timelinelabels"}
        results.append({"id": f"segment_{number}", **place, "value": value, "score": segment.score})
    prediction = {"model_version": "smallbignet", "result": results}
    return {"data": {"video": timeline.path, "fps": timeline.fps}, "predictions": [prediction]}


def _fiftyone(timelines: Sequence[Timeline]) -> str:
    """The labels of FiftyOne's `FiftyOneTemporalDetectionDataset`: absolute paths, and frames counted from 1."""
    labels = {
        str(Path(timeline.path).absolute()): [
            {
                "label": segment.label,
                "support": [segment.first_frame + 1, segment.last_frame + 1],
                "confidence": segment.score,
            }
            for segment in events(timeline)
        ]
        for timeline in timelines
    }
    return _text({"labels": labels})


def _text(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


FORMS: dict[str, Callable[[Sequence[Timeline]], str]] = {
    "csv": _csv,
    "json": _json,
    "vtt": _vtt,
    "labelstudio": _label_studio,
    "fiftyone": _fiftyone,
}
