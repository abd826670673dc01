"""Timelines as files, read again by the rules that other programs document."""

from __future__ import annotations

import csv
import json
from fractions import Fraction

import pytest

from film import colour_classifier, write_film
from smallbignet import open_video
from smallbignet.data.sampling import ClipSpec
from smallbignet.inference.timeline import Rules, Segment, Timeline, make_timelines
from smallbignet.inference.timeline_files import events, write_timelines

SEGMENTS = [
    Segment("a & b", 0.912, 0.0, 2.5, 0, 62),
    Segment("unknown", 0.4, 2.5, 3.0, 63, 74),
    Segment("<c>, --> d", 0.55, 3.0, 3723.0456, 75, 93075),
]
TIMELINE = Timeline("films/a, b.mp4", SEGMENTS, fps=25.0)
UNREADABLE = Timeline("gone.mp4", [], error="there is no such file")


def test_a_table_has_a_row_for_each_segment(tmp_path):
    write_timelines([UNREADABLE, TIMELINE], str(tmp_path / "a.csv"))
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "score", "start", "end", "first_frame", "last_frame"]
    assert [row["path"] for row in rows] == ["films/a, b.mp4"] * 3
    kinds = {"score": float, "start": float, "end": float, "first_frame": int, "last_frame": int}
    found = [Segment(row["label"], **{name: kind(row[name]) for name, kind in kinds.items()}) for row in rows]
    assert found == SEGMENTS


def test_json_has_an_object_for_each_video(tmp_path):
    write_timelines([UNREADABLE, TIMELINE], str(tmp_path / "a.json"))
    [video] = json.loads((tmp_path / "a.json").read_text())
    assert (video["path"], video["fps"]) == ("films/a, b.mp4", 25.0)
    assert [Segment(**segment) for segment in video["segments"]] == SEGMENTS


def test_subtitles_have_a_cue_for_each_event(tmp_path):
    write_timelines([TIMELINE], str(tmp_path / "a.vtt"))
    assert (tmp_path / "a.vtt").read_text() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.500\na &amp; b 91 %\n\n00:00:03.000 --> 01:02:03.046\n&lt;c&gt;, --&gt; d 55 %\n"
    )


NTSC = Fraction(30000, 1001)


@pytest.fixture(
    params=[(NTSC, (1,)), (30, (1, 1, 3)), (Fraction(24), (1,) * 40 + (9,) * 40)], ids=["29.97", "pattern", "slower"]
)
def made(request, tmp_path) -> Timeline:
    """The timeline of a film of 120 frames with two events, at 29.97 frames per second or at a rate that varies."""
    rate, steps = request.param
    colours = ["grey"] * 30 + ["red"] * 25 + ["grey"] * 20 + ["blue"] * 45
    path = write_film(tmp_path / "film.mp4", colours, rate, steps)
    [timeline] = make_timelines(colour_classifier(ClipSpec("dense", 10, 1)), [path], Rules(threshold=2 / 3))
    assert [segment.label for segment in timeline.segments] == ["unknown", "red", "unknown", "blue"]
    return timeline


def test_label_studio_finds_the_events_again(made, tmp_path):
    """It counts frames from 1 and turns them into times at one rate, that of the task: frame n is shown from (n - 1) / fps."""
    write_timelines([made], str(tmp_path / "a.json"), "labelstudio")
    [task] = json.loads((tmp_path / "a.json").read_text())
    with open_video(made.path) as video:
        rate, num_frames, times = video.fps, video.num_frames, video.times
    assert task["data"] == {"video": made.path, "fps": rate}
    [prediction] = task["predictions"]
    found = prediction["result"]
    assert len({result["id"] for result in found}) == len(found) == 2
    for result, event in zip(found, events(made), strict=True):
        assert (result["type"], result["from_name"], result["to_name"]) == ("timelinelabels", "videoLabels", "video")
        assert result["value"]["timelinelabels"] == [event.label]
        [place] = result["value"]["ranges"]
        start, end = (place["start"] - 1) / rate, place["end"] / rate
        assert abs(start - event.start) <= 0.5 / rate + 1e-6
        assert abs(end - event.end) <= 0.5 / rate + 1e-6 or place["end"] == num_frames
        if rate == NTSC:
            assert (place["start"], place["end"]) == (event.first_frame + 1, event.last_frame + 1)
            assert times[event.first_frame] == pytest.approx(start)
    assert found[-1]["value"]["ranges"][0]["end"] == num_frames


def test_fiftyone_finds_the_same_frames(made, tmp_path):
    """Its frames are those of the file, from 1, whatever their times."""
    write_timelines([made, UNREADABLE], str(tmp_path / "a.json"), "fiftyone")
    document = json.loads((tmp_path / "a.json").read_text())
    assert list(document) == ["labels"] and list(document["labels"]) == [made.path]  # an absolute path
    found = [(part["label"], part["support"], part["confidence"]) for part in document["labels"][made.path]]
    assert found == [(event.label, [event.first_frame + 1, event.last_frame + 1], event.score) for event in events(made)]
    assert found[-1][1][1] == 120
