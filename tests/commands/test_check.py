"""Which videos `check` calls ok, damaged or unreadable, and that no file can stop it."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from PIL import Image

from shared_data import ODD
from smallbignet.cli import main
from smallbignet.data.integrity import check_video, check_videos
from smallbignet.data.source import read_annotations

needs_odd = pytest.mark.skipif(not ODD.is_dir(), reason="the collection of odd videos is not here")


@needs_odd
@pytest.mark.parametrize(
    ("name", "status", "num_frames", "reason"),
    [
        ("mmaction2__test.avi", "ok", 164, ""),
        ("torchcodec__discard_first_keyframe.mp4", "ok", 25, ""),  # the header says 30, its edit list hides 5
        ("moviepy__no_duration.webm", "ok", 74, ""),
        ("derived__truncated_half_example.avi", "damaged", 66, "66 of 131 frames"),  # the last of 67 is cut in half
        ("decord__corrupted.mp4", "damaged", 28, "28 of 50 frames"),
        ("derived__zeroed_4kB_bikes.mp4", "damaged", 197, "197 of 250 frames"),  # goes on at the next key frame
        ("derived__truncated_half_demo.mp4", "unreadable", 0, "FFmpeg can't open it"),
        ("moviepy__result.webm", "unreadable", 0, "the file is empty"),
        ("moviepy__with-attached-pic.mp3", "unreadable", 0, "only a cover picture"),
        ("torchcodec__sine_mono_s16.wav", "unreadable", 0, "there is no video"),
        ("missing.mp4", "unreadable", 0, "no such file"),
    ],
)
def test_odd_files(name, status, num_frames, reason):
    report = check_video(str(ODD / name))
    assert (report.status, report.num_frames) == (status, num_frames)
    assert reason in report.reason and "\n" not in report.reason


@needs_odd
@pytest.mark.parametrize(("name", "frames"), [("decord__flipping_a_pancake.mkv", 310), ("scikit__bikes.mp4", 250)])
def test_a_download_that_stopped_half_way_is_damaged(name, frames, tmp_path):
    with av.open(str(ODD / name)) as given, av.open(str(tmp_path / name), "w") as whole:
        whole.options["movflags"] = "faststart"  # an MP4's table of contents first, or the half could not be opened at all
        stream = whole.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                whole.mux(packet)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    report = check_video(str(tmp_path / name))
    assert report.status == "damaged"
    assert f"of {frames} frames" in report.reason


def test_frame_folder_with_a_gap_is_damaged(tmp_path):
    for i in (1, 2, 3, 5):
        Image.new("RGB", (8, 6)).save(tmp_path / f"img_{i:05d}.jpg")
    assert check_video(str(tmp_path)).reason == "4 of 5 frames can be read without damage; there is no image 4"


def test_reports_come_in_the_order_of_the_paths(tmp_path):
    paths = [str(tmp_path / f"{i}.mp4") for i in range(5)]
    assert [report.path for report in check_videos(paths, workers=2)] == paths


def test_the_command_writes_a_clean_list_that_trains_and_says_what_it_left_out(clips, tmp_path, capsys):
    for source in clips.glob("train/*/*.mp4"):
        target = tmp_path / "data" / source.parent.name / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    bad = tmp_path / "data" / "still" / "0000.mp4"
    bad.write_bytes(b"no video")
    clean = tmp_path / "lists" / "clean.csv"
    assert main(["check", str(tmp_path / "data"), "--clean", str(clean), "--workers", "1"]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"unreadable  {bad}: FFmpeg can't open it") and out.endswith("12 videos, 1 not ok\n")
    kept = read_annotations(clean)
    assert len(kept) == 11 and len(kept.classes) == 6
    assert all(Path(path).is_file() for path in kept.paths) and str(bad) not in {str(Path(p).resolve()) for p in kept.paths}


def test_a_clean_list_takes_labels(clips, tmp_path, capsys):
    video = str(min(clips.glob("val/*/*.mp4")))
    assert main(["check", video, "--clean", str(tmp_path / "c.csv")]) == 2
    assert "labels" in capsys.readouterr().err


def test_classes_that_are_years_train_from_a_clean_list(clips, tmp_path, capsys):
    for year in ("2019", "2020"):
        (tmp_path / "data" / year).mkdir(parents=True)
        (tmp_path / "data" / year / "a.mp4").write_bytes(min(clips.glob("train/*/*.mp4")).read_bytes())
    clean = tmp_path / "clean.csv"
    assert main(["check", str(tmp_path / "data"), "--clean", str(clean), "--workers", "1"]) == 0
    assert read_annotations(clean).classes == ["2019", "2020"] and len(read_annotations(clean)) == 2
