"""That data sets are read from their owners' files: every video found, every class at its index, every mistake named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from smallbignet.data.annotations import Annotations, read_classes
from smallbignet.data.options import DataSource
from smallbignet.data.source import read_part
from smallbignet.data.split import DataSpec, read_split
from smallbignet.errors import SmallBigError

HEADER = "label,youtube_id,time_start,time_end,split"
CLIPS = ["-abcdefghij_000007_000017", "0123456789a_000123_000133", "zz_zz-zz_zz_001000_001010"]
KINETICS = (
    f"{HEADER}\nzumba,-abcdefghij,7,17,train\nair drumming,0123456789a,123,133,train\nabseiling,zz_zz-zz_zz,1000,1010,train\n"
)
KINETICS_VAL = f"{HEADER}\nair drumming,vvvvvvvvvvv,0,10,val\n"


def write(folder: Path, files: dict[str, str]) -> Path:
    """Annotation files, and empty ones for videos and frames: none is opened."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def something_v1(folder: Path, frames: str = "20bn-something-something-v1/{}/00001.jpg") -> Path:
    labels = {f"something-something-v1-{part}.csv": text for part, text in {
        "labels": "Holding something\nTurning something upside down\nPoking \"a hole\" into [it]\n",
        "train": "100;Turning something upside down\n7;Holding something\n",
        "validation": "21;Poking \"a hole\" into [it]\n",
        "test": "5\n6\n",
    }.items()}  # fmt: skip
    return write(folder, labels | {frames.format(i): "" for i in (7, 100, 21, 5, 6)})


def something_v2(
    folder: Path, video: str = "20bn-something-something-v2/{}.webm", prefix: str = "something-something-v2-"
) -> Path:
    def entry(name: str, template: str) -> dict:
        return {"id": name, "label": "of this video alone", "template": template, "placeholders": ["a cup", "it"]}

    files = {
        "labels": {"Tipping something over": "1", "Holding something next to something": "0", "Opening something": "2"},
        "train": [entry("7", "Tipping [something] over"), entry("100", "Holding [something] next to [something]")],
        "validation": [entry("21", "Opening [something]")],
        "test": [{"id": "5"}],
    }
    texts = {f"{prefix}{name}.json": json.dumps(content) for name, content in files.items()}
    return write(folder, texts | {video.format(i): "" for i in (7, 100, 21, 5)})


def rows(annotations: Annotations) -> list[tuple[str, int]]:
    return [(Path(path).name, label) for path, label in zip(annotations.paths, annotations.labels.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("kinetics400", 400, "abseiling", "zumba"),
        ("ssv1", 174, "Holding something", "Poking a hole into some substance"),
        ("ssv2", 174, "Approaching something with your camera", "Wiping something off of something"),
    ],
)
def test_shipped_class_lists(name, count, first, last):
    classes = read_classes(name)
    assert (len(classes), classes[0], classes[-1]) == (count, first, last)
    assert name != "kinetics400" or classes == sorted(classes)


@pytest.mark.parametrize(
    "layout",
    [
        ["{}.mp4"] * 3,
        ["train/{}.mp4", "train/{}.mkv", "train/{}.webm"],  # re-encoded
        ["videos/zumba/{}.mp4", "videos/air drumming/{}.mp4", "videos/abseiling/{}.mp4"],
        ["zumba/{}.mp4", "air_drumming/{}.mp4", "abseiling/{}.mp4"],
        ["frames/{}/img_00001.jpg"] * 3,
    ],
)
@pytest.mark.parametrize("annotations", ["kinetics_train.csv", "annotations/kinetics_train.csv", "annotations/train.csv"])
def test_kinetics_wherever_its_videos_are(tmp_path, layout, annotations, capsys):
    videos = {place.format(clip): "" for place, clip in zip(layout, CLIPS, strict=True)}
    found = read_part(write(tmp_path, {annotations: KINETICS, **videos}), "train")
    assert [Path(path).name.split(".")[0] for path in found.paths] == CLIPS
    assert all(map(os.path.exists, found.paths))
    assert found.labels.tolist() == [399, 1, 0] and found.classes == read_classes("kinetics400")
    assert found.missing == 0 and capsys.readouterr().err == ""


@pytest.mark.parametrize("val_file", ["kinetics_val.csv", "validate.csv", "annotations/val.csv"])
def test_a_recipe_takes_both_parts_from_one_path(tmp_path, val_file):
    videos = {
        f"{part}/{clip}.mp4": ""
        for part, clips in {"train": CLIPS, "val": ["vvvvvvvvvvv_000000_000010"]}.items()
        for clip in clips
    }
    write(tmp_path, {"kinetics_train.csv": KINETICS, val_file: KINETICS_VAL, **videos})
    train, val = read_split(DataSpec(str(tmp_path)))
    assert len(train) == 3 and rows(val) == [("vvvvvvvvvvv_000000_000010.mp4", 1)]


def test_older_kinetics_files_and_annotations_apart_from_the_videos(tmp_path):
    old = f'{HEADER},is_cc\r\n"air drumming",0123456789a,123.0,133.0,train,0\r\n'
    write(tmp_path, {"lists/part of kinetics.csv": old, f"videos/{CLIPS[1]}.mp4": ""})
    found = read_part(tmp_path / "lists/part of kinetics.csv", "train", DataSource(root=str(tmp_path / "videos")))
    assert rows(found) == [(f"{CLIPS[1]}.mp4", 1)]


def test_a_root_that_is_not_there(tmp_path):
    write(tmp_path, {"kinetics_train.csv": KINETICS})
    with pytest.raises(SmallBigError, match=r"none of its 3 videos is below nowhere \("):
        read_part(tmp_path, "train", DataSource(root="nowhere"))


def test_missing_videos_are_counted_and_some_are_named(tmp_path, capsys, monkeypatch):
    lost = "".join(f"zumba,lost_video{i},0,10,train\n" for i in range(5))
    write(tmp_path, {"kinetics_train.csv": KINETICS + lost, f"{CLIPS[0]}.mp4": "", f"{CLIPS[1]}.mp4.part": ""})
    found = read_part(tmp_path, "train")
    assert (len(found), found.missing) == (1, 7)
    names = f"{CLIPS[1]}, {CLIPS[2]}, lost_video0_000000_000010, ..."
    assert capsys.readouterr().err == f"kinetics_train.csv: 1 of 8 videos found, 7 missing: {names}\n"
    monkeypatch.setenv("RANK", "1")
    read_part(tmp_path, "train")
    assert capsys.readouterr().err == ""  # of several processes, the first says it


@pytest.mark.parametrize("frames", ["20bn-something-something-v1/{}/00001.jpg", "{}/00001.jpg"])
def test_something_v1(tmp_path, frames):
    train, val = read_split(DataSpec(str(something_v1(tmp_path, frames))))
    assert rows(train) == [("100", 1), ("7", 0)] and rows(val) == [("21", 2)]
    assert train.classes == ["Holding something", "Turning something upside down", 'Poking "a hole" into it']


def test_no_folder_of_frames_is_listed(tmp_path, monkeypatch):
    """There are 108,000 of them, the other parts' among them."""
    something_v1(tmp_path)
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(Path(path).name) or scandir(path))
    read_part(tmp_path, "val")
    assert "20bn-something-something-v1" in listed and not set(listed) & {"7", "100", "21", "5", "6"}


@pytest.mark.parametrize("video", ["20bn-something-something-v2/{}.webm", "{}.webm", "videos/{}.mp4", "frames/{}/000001.jpg"])
@pytest.mark.parametrize("prefix", ["something-something-v2-", "labels/"])
def test_something_v2(tmp_path, video, prefix):
    train, val = read_split(DataSpec(str(something_v2(tmp_path, video, prefix))))
    suffix = Path(video).suffix.replace(".jpg", "")
    assert rows(train) == [(f"7{suffix}", 1), (f"100{suffix}", 0)] and rows(val) == [(f"21{suffix}", 2)]
    assert train.classes == ["Holding something next to something", "Tipping something over", "Opening something"]


def test_without_a_file_of_labels_the_shipped_list_counts(tmp_path):
    write(tmp_path, {"something-something-v1-train.csv": "7;Turning something upside down\n", "7/00001.jpg": ""})
    found = read_part(tmp_path, "train")
    assert found.labels.tolist() == [1] and found.classes == read_classes("ssv1")


def test_a_models_classes_go_before_the_data_sets(tmp_path):
    """A model has its classes in an order of its own, and answers by it."""
    something_v2(tmp_path)
    classes = ["Opening something", "Tipping something over", "Holding something next to something"]
    assert rows(read_part(tmp_path, "train", classes=classes)) == [("7.webm", 1), ("100.webm", 2)]
    with pytest.raises(SmallBigError, match='class "Holding something next to something" is not among the 1 known'):
        read_part(tmp_path, "train", classes=classes[1:2])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "kinetics_train.csv",
            KINETICS + "flying,0123456789a,0,10,train\n",
            'video 0123456789a_000000_000010: "flying" is none of',
        ),
        ("kinetics_train.csv", f"{HEADER}\nzumba,0123456789a,0:10,10,train\n", "line 2 has no times in seconds"),
        ("kinetics_train.csv", f"{HEADER}\nzumba,0123456789a,0,10\n", "line 2 has not 5 fields"),
        ("kinetics_train.csv", HEADER.removeprefix("label,") + "\n0123456789a,0,10,test\n", 'no column "label" in the header'),
        ("kinetics_train.csv", KINETICS, "none of its 3 videos is below "),
        ("something-something-v1-train.csv", "7;Holding something\n8\n", "line 2 is not `id;label`"),
        (
            "something-something-v1-train.csv",
            "7;Holding it\n",
            '"Holding it" is none of the 174 classes of the shipped list ssv1',
        ),
        ("something-something-v2-train.json", '[{"id": "1", "template": ""},\n', "line 2, column 1 is no JSON"),
        (
            "something-something-v2-train.json",
            '[{"id" "1"}]',
            "line 1, column 8 is no JSON",
        ),
        (
            "something-something-v2-train.json",
            '[{"id": "1", "template": "Opening it"}]',
            'entry 1, video 1: "Opening it"',
        ),
        ("something-something-v2-train.json", '[{"template": "Opening [something]"}]', "entry 1 has no id or no template"),
    ],
)
def test_mistakes_are_one_line_that_names_the_file(tmp_path, name, content, message):
    write(tmp_path, {name: content})
    with pytest.raises(SmallBigError) as caught:
        read_part(tmp_path, "train")
    assert message in caught.value.what and "\n" not in str(caught.value)
    assert caught.value.where == str(tmp_path / name)


def test_a_data_set_without_the_file_of_a_part(tmp_path):
    write(tmp_path, {"kinetics_val.csv": KINETICS_VAL})
    with pytest.raises(SmallBigError, match=r"Kinetics-400 without its kinetics_train\.csv or train\.csv"):
        read_part(tmp_path, "train")


def test_a_label_that_the_file_of_labels_lacks_names_that_file(tmp_path):
    write(something_v2(tmp_path), {"something-something-v2-labels.json": '{"Holding [something] next to [something]": "0"}'})
    with pytest.raises(SmallBigError, match=r'video 7: "Tipping something over" is none of the 1 classes of .*labels\.json'):
        read_part(tmp_path, "train")  # whose other label is there, with brackets


@pytest.mark.parametrize("name", ["list.json", "train.json"])
def test_other_json_is_no_list(tmp_path, name):
    write(tmp_path, {name: '{"a": [1,,2]}'})
    with pytest.raises(SmallBigError, match="line 1, column 10 is no JSON"):
        read_part(tmp_path / name, "train")
    write(tmp_path, {name: '{"a": [1, 2]}'})
    with pytest.raises(SmallBigError, match="no annotations of Something-Something V2"):
        read_part(tmp_path / name, "train")


@pytest.mark.parametrize("labels", ['{"Opening something": "first"}', '["Opening something"]'])
def test_a_file_of_labels_without_indices(tmp_path, labels):
    write(something_v2(tmp_path), {"something-something-v2-labels.json": labels})
    with pytest.raises(SmallBigError, match="not of the form") as caught:
        read_part(tmp_path, "train")
    assert caught.value.where.endswith("labels.json")


@pytest.mark.parametrize("name", ["train.csv", "train.json", "labels/train.json", "lists/train.csv"])
@pytest.mark.parametrize("content", ["path,label,youtube_id,time_start\na/1.mp4,a,x,0\n", '[{"id": "1"}]', "a/1.mp4 0\n", ""])
def test_another_data_set_is_not_taken_for_these_by_a_files_name(tmp_path, name, content):
    found = read_part(write(tmp_path, {"a/1.mp4": "", "b/2.mp4": "", name: content}), "train")
    assert rows(found) == [("1.mp4", 0), ("2.mp4", 1)] and found.classes == ["a", "b"]
