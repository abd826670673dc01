"""`smallbig timeline` on files as people have them."""

import csv
import json

import pytest

from smallbignet import load_config
from smallbignet.cli import main


def test_a_table_a_file_and_json_have_the_same_segments(run, clips, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # long paths are not folded
    videos = [str(path) for path in sorted(clips.glob("val/*/*.mp4"))[:2]]  # 8 frames at 16 per second
    words = ["timeline", str(run), *videos, "--window", "0.25", "--device", "cpu"]
    assert main([*words, "--json"]) == 0
    reported = json.loads(capsys.readouterr().out)
    assert [video["path"] for video in reported] == videos
    rows = [{"path": video["path"], **segment} for video in reported for segment in video["segments"]]
    for video in reported:
        segments = video["segments"]
        assert (segments[0]["first_frame"], segments[-1]["last_frame"]) == (0, 7)
        assert segments[-1]["end"] == pytest.approx(0.5) and video["fps"] == 16.0
        assert {segment["label"] for segment in segments} <= set(load_config(run).classes)
    assert main([*words, "--out", str(tmp_path / "out" / "a.csv")]) == 0
    assert f"a.csv: {len(rows)} segments of 2 videos" in capsys.readouterr().out
    with (tmp_path / "out" / "a.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{name: str(value) for name, value in row.items()} for row in rows]
    assert main([*words[:3], *words[4:], "--picture", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert all(video in shown for video in videos) and shown.count("│") >= 5 * len(rows)


def test_an_unreadable_video_is_one_line_and_status_1(run, clips, tmp_path, capsys):
    video = str(min(clips.glob("val/still/*.mp4")))
    assert main(["timeline", str(run), "gone.mp4", video, "--out", str(tmp_path / "a.json"), "--threshold", "1"]) == 1
    out, err = capsys.readouterr()
    assert err == "unreadable: gone.mp4: there is no such file\n" and "1 segments of 1 videos" in out
    [written] = json.loads((tmp_path / "a.json").read_text())
    assert written["path"] == video and [part["label"] for part in written["segments"]] == ["unknown"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (
            ["a.mp4", "b.mp4", "--out", "a.vtt"],
            "a .vtt file has the subtitles of one video, and there are 2; take .csv or .json (a.vtt)",
        ),
        (
            ["a.mp4", "--out", "a.csv", "--format", "fiftyone"],
            "the format fiftyone needs a file that ends in .json (--out a.csv)",
        ),
        (["a.mp4", "--out", "a.txt"], "out must be a file that ends in .csv, .json or .vtt and can be written, not 'a.txt'"),
        (["a.mp4", "b.mp4", "--picture", "a.png"], "a picture shows one video, and there are 2 (--picture a.png)"),
        (["a.mp4", "--threshold", "2"], "threshold must be a number from 0 to 1, not 2.0"),
        (["a.mp4", "--stride", "-1"], "stride must be a number from 0 to 86,400, not -1.0"),
        (["a.mp4", "--views", "2"], "views must be clips x crops"),
    ],
)
def test_a_mistake_is_one_line(words, what, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    assert main(["timeline", str(run), *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"smallbig: error: {what}") and err.count("\n") == 1
