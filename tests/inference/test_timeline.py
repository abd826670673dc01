"""Segments of films whose events are known."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby, pairwise

import numpy as np
import pytest

from film import CLASSES, colour_classifier, write_film
from smallbignet import SmallBigError
from smallbignet.data.sampling import ClipSpec
from smallbignet.inference.calibration import temper
from smallbignet.inference.clips import Unreadable, Window
from smallbignet.inference.timeline import Curve, Rules, Segment, find_segments, make_curve, make_timelines
from smallbignet.weights.directory import ScoreSpec

WINDOW = ClipSpec("dense", 16, 1)  # a stride of 8 frames
HALF = 2 / 3  # the score where half of a window is grey


def labels(segments: list[Segment]) -> list[str]:
    return [segment.label for segment in segments]


def boundaries(segments: list[Segment]) -> list[int]:
    return [segment.first_frame for segment in segments[1:]]


@pytest.mark.parametrize("seed", range(6))
def test_events_of_a_film_are_found_within_half_a_stride(seed, tmp_path):
    """Events of a window's length or longer, and as long between them: none is lost and none invented."""
    rng = np.random.default_rng(seed)
    names = ["grey", "red", "grey", "blue", "grey", "red", "grey", "green", "grey"]
    parts = [(name, int(rng.integers(16, 30))) for name in names]
    colours = [colour for colour, length in parts for _ in range(length)]
    path = write_film(tmp_path / "film.mp4", colours)
    [timeline] = make_timelines(colour_classifier(WINDOW), [path], Rules(threshold=HALF))
    found = timeline.segments
    assert labels(found) == [name.replace("grey", "unknown") for name in names]
    events = [segment for segment in found if segment.label != "unknown"]
    true_starts = np.cumsum([0, *(length for _, length in parts)])
    expected = [(colour, true_starts[i], true_starts[i + 1]) for i, (colour, _) in enumerate(parts) if colour != "grey"]
    assert [event.label for event in events] == [colour for colour, *_ in expected]
    for event, (_, first, end) in zip(events, expected, strict=True):
        assert abs(event.first_frame - first) <= 4 and abs(event.last_frame + 1 - end) <= 4  # half a stride
        assert event.score > HALF
    assert (found[0].first_frame, found[-1].last_frame) == (0, len(colours) - 1)
    for before, after in pairwise(found):
        assert after.first_frame == before.last_frame + 1 and after.start == before.end
    assert found[-1].end == pytest.approx(len(colours) / 25)


def test_without_a_threshold_every_instant_has_a_label(tmp_path):
    path = write_film(tmp_path / "film.mp4", ["red"] * 41 + ["green"] * 33 + ["blue"] * 50)
    [timeline] = make_timelines(colour_classifier(WINDOW), [path])
    assert labels(timeline.segments) == CLASSES
    assert np.abs(np.array(boundaries(timeline.segments)) - [41, 74]).max() <= 4
    assert timeline.fps == 25 and timeline.error == ""


def test_the_scores_are_at_the_models_temperature_and_thresholds(tmp_path):
    path = write_film(tmp_path / "film.mp4", (["red"] * 3 + ["green"]) * 10)  # any 16 frames: 0.75 and 0.25
    [timeline] = make_timelines(colour_classifier(WINDOW, ScoreSpec(temperature=2.0, thresholds=[0.7])), [path])
    [segment] = timeline.segments
    expected = temper(np.array([[0.75, 0.25, 1e-9]]), 2.0)[0, 0]  # 0.634
    assert segment.label == "red" and segment.score == pytest.approx(expected, abs=1e-4)
    classifier = colour_classifier(WINDOW, ScoreSpec(temperature=2.0, thresholds=[0.7]))
    [unknown] = next(make_timelines(classifier, [path], Rules(unknown=True))).segments
    assert unknown.label == "unknown" and unknown.score == pytest.approx(expected, abs=1e-4)
    with pytest.raises(SmallBigError, match="no thresholds"):
        next(make_timelines(colour_classifier(WINDOW), [path], Rules(unknown=True)))


def test_what_was_scored_of_a_damaged_video_does_not_count_for_the_next(tmp_path, monkeypatch):
    classifier = colour_classifier(ClipSpec("dense", 4, 1))
    path = write_film(tmp_path / "film.mp4", ["red"] * 20)
    reader = classifier.reader("1x1")
    [whole] = reader.read_windows(path)
    begun = {"clips": 0 * whole.clips[:2], "frames": whole.frames[:2], "windows": whole.windows[:2], "is_last": False}
    half = replace(whole, path="damaged.mp4", **begun)

    def read_windows(self, name, *lengths):
        yield from [half, Unreadable(name, "damaged")] if name == "damaged.mp4" else [whole]

    monkeypatch.setattr(type(reader), "read_windows", read_windows)
    damaged, fine = make_timelines(classifier, ["damaged.mp4", path])
    assert (damaged.error, damaged.segments) == ("damaged", [])
    [segment] = fine.segments
    assert (segment.first_frame, segment.last_frame, segment.score) == (0, 19, pytest.approx(1.0))


def test_an_instant_has_the_mean_of_the_windows_over_it():
    rng = np.random.default_rng(0)
    firsts = np.sort(rng.integers(0, 60, 12))
    firsts[0] = 0
    ends = np.maximum.accumulate(firsts + rng.integers(16, 30, 12))
    windows = [Window(int(a), int(b) - 1, a / 10, b / 10) for a, b in zip(firsts, ends, strict=True)]
    scores = rng.random((12, 5)).astype(np.float32)
    curve = make_curve(windows, scores)
    for frame in range(ends[-1]):
        over = [row for window, row in zip(windows, scores, strict=True) if window.first_frame <= frame <= window.last_frame]
        part = np.flatnonzero(curve.frames <= frame)[-1]
        np.testing.assert_allclose(curve.scores[part], np.mean(over, 0), rtol=1e-6)
    np.testing.assert_allclose(curve.seconds, curve.frames / 10)


def curve_of(names: str) -> Curve:
    """One second and ten frames for each letter: a, b, or - for neither; the last class is in third place everywhere."""
    rows = {"a": [0.8, 0.1, 0.1], "b": [0.1, 0.7, 0.2], "-": [0.4, 0.4, 0.2]}
    edges = np.arange(len(names) + 1)
    return Curve(10 * edges, edges.astype(float), np.array([rows[name] for name in names], np.float32))


@pytest.mark.parametrize(
    ("names", "shortest", "joined"),
    [
        ("aab-aa", 0, "aab-aa"),
        ("aab-aa", 1, "aab-aa"),
        ("aab-aa", 1.5, "aaaaaa"),  # b goes to the a's, then - to them on both sides
        ("aaabb--", 3, "aaaaaaa"),
        ("abab", 10, "bbbb"),  # at least one segment is left
        ("-aaa-", 2, "aaaaa"),
        ("aab", 1.5, "aaa"),
        ("abb", 1.5, "bbb"),
        ("ab", 5, "bb"),  # the first of the shortest, to its only neighbour
    ],
)
def test_short_segments_become_part_of_the_longer_neighbour(names, shortest, joined):
    found = find_segments(curve_of(names), ["a", "b", "c"], np.full(3, 0.5), shortest)
    expected = [(name, len(list(group))) for name, group in groupby(joined)]
    assert [(segment.label.replace("unknown", "-"), segment.end - segment.start) for segment in found] == expected
    assert [segment.last_frame - segment.first_frame + 1 for segment in found] == [10 * length for _, length in expected]


def test_the_score_of_a_segment_is_the_mean_over_its_time():
    curve = Curve(np.array([0, 1, 4]), np.array([0.0, 1.0, 4.0]), np.array([[0.9, 0.1], [0.5, 0.4]], np.float32))
    [segment] = find_segments(curve, ["a", "b"], np.zeros(2))
    assert segment == Segment("a", pytest.approx((0.9 + 3 * 0.5) / 4), 0.0, 4.0, 0, 3)
    first, second = find_segments(curve, ["a", "b"], np.full(2, 0.6))
    assert (second.label, second.score) == ("unknown", pytest.approx(0.5)) and first.label == "a"
