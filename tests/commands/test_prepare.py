"""That prepared videos have the frames of their sources, each at its time and upright; and that nothing is lost or mixed up."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from shared_data import ODD
from smallbignet import SmallBigError, WorkError, open_video
from smallbignet.commands.prepare import prepare, show
from smallbignet.data.encoding import Encoding, prepare_video
from smallbignet.data.integrity import check_video
from smallbignet.data.options import DataSource
from smallbignet.data.pyav_video import PyAVVideo
from smallbignet.data.source import read_annotations

needs_odd = pytest.mark.skipif(not ODD.is_dir(), reason="the collection of odd videos is not here")


def write(path: Path, codec="libx264", size=(64, 48), steps=(1,), first=0, degrees=0, frames=40, ratio=1) -> Path:
    """A video whose grey tells the frame's number, `steps` ticks of 1/25 s from one to the next."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(ratio)
        if degrees:
            stream.set_display_rotation(degrees)
        tick = first
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 20 + 5 * i, np.uint8))
            frame.pts, frame.time_base = tick, Fraction(1, 25)
            container.mux(stream.encode(frame))
            tick += steps[i % len(steps)]
        container.mux(stream.encode())
    return path


def look(path: Path) -> tuple[list[float], list[float], tuple[int, int]]:
    """Each frame's time and grey, and the size."""
    with open_video(path) as video:
        assert isinstance(video, PyAVVideo)
        times = [float(seconds) for seconds, _ in video.stored_frames()]
        greys = video.frames(range(video.num_frames)).float().mean((1, 2, 3)).tolist()
        return times, greys, (video.width, video.height)


@pytest.mark.parametrize(
    ("name", "made", "short_side", "size"),
    [
        ("a.mp4", {}, 32, (42, 32)),  # 42.7: to the nearest even number
        ("a.mkv", {"steps": (1, 3, 2)}, 48, (64, 48)),
        ("a.mov", {"degrees": 90, "first": 200}, 24, (24, 32)),
        ("a.avi", {"codec": "mpeg4", "steps": (1,)}, 320, (64, 48)),  # never enlarged
        ("a.mp4", {"size": (40, 60), "ratio": 2}, 48, (64, 48)),  # square pixels: 80x60
        ("a.webm", {"codec": "libvpx", "size": (50, 90)}, 30, (30, 54)),
    ],
)
def test_every_frame_at_its_time_upright(tmp_path, name, made, short_side, size):
    source, target = write(tmp_path / name, **made), tmp_path / "out" / "a.mp4"
    assert prepare_video(str(source), str(target), Encoding(short_side, 8, 23), timed=True).after > 0
    before, after = look(source), look(target)
    assert len(after[0]) == 40 and after[2] == size
    np.testing.assert_allclose(after[0], before[0], atol=1e-3)
    np.testing.assert_allclose(after[1], before[1], atol=3)  # the next frame's is 5 more
    with av.open(str(target)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        assert [stream.codec_context.name for stream in container.streams] == ["h264"]
        keys = [i for i, packet in enumerate(packets) if packet.is_keyframe]
        assert keys[0] == 0 and max(np.diff([*keys, 40])) <= 8
        assert [packet.pts for packet in packets] == sorted(packet.dts for packet in packets)  # stored as they are shown


@needs_odd
def test_odd_files_come_out_whole_or_are_listed(tmp_path):
    report = prepare(str(ODD), str(tmp_path), short_side=64, workers=2)
    with open(tmp_path / "unreadable.csv", newline="") as file:
        listed = {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file)}
    assert sorted(listed) == [
        "decord__corrupted.mp4",
        "derived__text_renamed.mp4",
        "derived__truncated_half_demo.mp4",
        "derived__truncated_half_example.avi",
        "derived__zeroed_4kB_bikes.mp4",
        "moviepy__result.webm",
    ]
    assert all(reason == check_video(str(ODD / name)).reason for name, reason in listed.items())
    assert report.exit_status == 1 and "19 videos prepared, 6 left out" in show(report)
    assert report.read_before > report.read_after > 0
    prepared = {path.stem: path for path in tmp_path.glob("*.mp4")}
    sources = {path.stem: path for path in ODD.iterdir() if path.stem in prepared}
    assert len(prepared) == len(sources) == 19
    for stem, path in prepared.items():
        with open_video(sources[stem]) as source, open_video(path) as target:
            assert target.num_frames == source.num_frames, stem
            assert target.width / target.height == pytest.approx(source.width / source.height, rel=0.03), stem
            assert min(target.width, target.height) == min(
                64, 2 * round(min(source.width, source.height) / 2)
            ) or stem.endswith("bitmap")


def test_a_list_is_written_anew_and_a_second_run_goes_on(clips, tmp_path, capsys):
    videos = sorted(clips.glob("train/*/*.mp4"))
    rows = [f"{video.relative_to(clips)},{video.parent.name},{i % 2}" for i, video in enumerate(videos)]
    source, target = tmp_path / "clips.csv", tmp_path / "small"
    source.write_text("\n".join(["path,label,fold", *rows, "train/still/gone.mp4,still,0"]) + "\n")
    report = prepare(str(source), str(target), source=DataSource(root=str(clips)), short_side=16, workers=1)
    assert report.videos == 12 and [video.reason for video in report.bad] == ["there is no such file"]
    assert "estimate from 7 videos" in capsys.readouterr().err  # one of the eight is gone
    kept, given = read_annotations(target / "clips.csv"), read_annotations(source, DataSource(root=str(clips)))
    assert [Path(path).relative_to(target).as_posix() for path in kept.paths] == [row.split(",")[0] for row in rows]
    assert kept.classes == given.classes and kept.columns["fold"].tolist() == given.columns["fold"].tolist()[:-1]
    assert "gone.mp4" in (target / "clips_unreadable.csv").read_text()

    kept.paths.sort()
    lost, times = Path(kept.paths[0]), {path: Path(path).stat().st_mtime_ns for path in kept.paths[1:].tolist()}
    lost.unlink()
    lost.with_name(lost.name + ".new").write_bytes(b"half a file, by a run that was killed")
    again = prepare(str(source), str(target), source=DataSource(root=str(clips)), short_side=16, workers=1)
    assert (again.videos, again.bytes_after) == (report.videos, report.bytes_after)
    assert {path: Path(path).stat().st_mtime_ns for path in times} == times
    assert not list(target.rglob("*.new"))

    with pytest.raises(SmallBigError, match=r'other settings, .*"short_side": 16'):
        prepare(str(source), str(target), source=DataSource(root=str(clips)), short_side=24)
    source.write_text(f"path,label\n{videos[0]},still\n")
    with pytest.raises(SmallBigError, match=r"--data\.root"):
        prepare(str(source), str(tmp_path / "other"))


def test_a_folder_keeps_its_texts(tmp_path):
    source, target = tmp_path / "medium", tmp_path / "small"
    write(source / "train" / "run" / "a.webm", "libvpx", frames=3)
    (source / "train" / "labels.json").write_text('{"run": "0"}')
    (source / "prepare.json").write_text('{"short_side": 320}')  # it was prepared itself
    report = prepare(str(source), str(target), short_side=16, workers=1)
    assert (report.videos, report.exit_status) == (1, 0)
    names = sorted(path.relative_to(target).as_posix() for path in target.rglob("*.*"))
    assert names == ["prepare.json", "train/labels.json", "train/run/a.mp4"]
    assert json.loads((target / "prepare.json").read_text())["short_side"] == 16


def test_what_is_refused_leaves_everything_as_it_was(tmp_path):
    data = tmp_path / "data"
    video = write(data / "run" / "a.mp4", frames=3)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").touch()
    (tmp_path / "frames" / "7").mkdir(parents=True)
    (tmp_path / "frames" / "7" / "00001.jpg").touch()
    before = sorted(tmp_path.rglob("*"))
    for source, target, options, message in (
        (data, data, {}, "inside the source"),
        (data, data / "small", {}, "inside the source"),
        (data, tmp_path / "used", {}, "holds something else"),
        (tmp_path / "used", tmp_path / "new", {}, "no videos"),
        (tmp_path / "frames", tmp_path / "new", {}, "folders of frames"),
        (tmp_path / "gone", tmp_path / "new", {}, "no such data set"),
        (data, tmp_path / "new", {"short_side": 0}, "short_side must be a whole number from 2"),
        (data, tmp_path / "new", {"crf": 52}, "crf must be a whole number from 0 to 51"),
    ):
        with pytest.raises(SmallBigError, match=message):
            prepare(str(source), str(target), **options)
    assert sorted(tmp_path.rglob("*")) == before
    video.with_suffix(".avi").write_bytes(b"")
    with pytest.raises(SmallBigError, match=r"would both become a\.mp4"):
        prepare(str(data), str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_what_can_not_be_written_is_no_fault_of_the_video(tmp_path):
    (tmp_path / "file").touch()
    result = prepare_video(
        str(write(tmp_path / "a.mp4", frames=3)), str(tmp_path / "file" / "a.mp4"), Encoding(32, 8, 23), False
    )
    assert isinstance(result, WorkError) and "can't write" in str(result)
