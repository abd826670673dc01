"""That every annotation format gives the right rows, and every mistake in one a line that says where it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from shared_data import FIGHTS
from smallbignet.data.annotations import (
    Annotations,
    find_files,
    read_annotations,
    read_classes,
    select_rows,
    split,
)
from smallbignet.errors import SmallBigError

needs_fights = pytest.mark.skipif(not FIGHTS.is_dir(), reason="the clips of fights are not here")


def make(folder: Path, *names: str) -> None:
    """Empty files: annotations are read without opening a video."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def table(labels: list[int], **columns: list[str]) -> Annotations:
    return Annotations(
        np.array([f"{i}.mp4" for i in range(len(labels))]),
        np.array(labels, np.int64),
        [str(i) for i in range(max(labels) + 1)],
        {name: np.array(values) for name, values in columns.items()},
    )


def rows(annotations: Annotations) -> list[tuple[str, str]]:
    return [(Path(p).name, annotations.classes[i]) for p, i in zip(annotations.paths, annotations.labels, strict=True)]


def test_folder_per_class_takes_videos_at_any_depth_and_nothing_else(tmp_path):
    make(
        tmp_path, "run/b.mp4", "run/sub folder/a.AVI", "box/1.webm", "box/._1.webm", "box/notes.txt", "loose.mp4", "none/x.txt"
    )
    found = read_annotations(tmp_path)
    assert found.classes == ["box", "run"]
    assert rows(found) == [("1.webm", "box"), ("b.mp4", "run"), ("a.AVI", "run")]
    # arrays, not lists: Python objects would be copied into every forked worker by their reference counts
    assert found.paths.dtype.kind == "U" and found.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["10", "9", "2"], ["2", "9", "10"]),  # numerically, and no class for the numbers between
        (["02", "10", "01"], ["01", "02", "10"]),
        (["10", "9", "b"], ["10", "9", "b"]),
    ],
)
def test_folders_named_by_numbers(tmp_path, names, classes):
    make(tmp_path, *(f"{name}/{name}.mp4" for name in names))
    found = read_annotations(tmp_path)
    assert found.classes == classes
    assert all(path == f"{label}.mp4" for path, label in rows(found))


def test_folder_per_class_takes_folders_of_frames(tmp_path):
    make(tmp_path, "run/1/img_00001.jpg", "run/1/img_00002.jpg", "run/deep/2/000000.png", "box/3/frame_000001.jpg", "box/4.mp4")
    make(tmp_path, "box/00001.jpg", "none/poster.jpg")  # a picture beside videos, and one that is no frame
    assert rows(read_annotations(tmp_path)) == [("3", "box"), ("4.mp4", "box"), ("1", "run"), ("2", "run")]


def test_csv_columns_paths_and_text(tmp_path):
    """A byte order mark, Windows' line ends, blanks behind commas, quotes, empty lines, repeated rows, absolute paths."""
    absolute = tmp_path.resolve() / "elsewhere" / "c.mp4"
    text = f'clip, class, fold\r\n"my clip, 1.mp4", run, 0\r\n\r\n{absolute}, box, 1\r\n{absolute}, box, 1\r\n'
    (tmp_path / "set.CSV").write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = read_annotations(tmp_path / "set.CSV", path_column="clip", label_column="class")
    assert found.paths.tolist() == [str(tmp_path / "my clip, 1.mp4"), str(absolute), str(absolute)]
    assert [found.classes[i] for i in found.labels] == ["run", "box", "box"]
    assert {name: values.tolist() for name, values in found.columns.items()} == {"fold": ["0", "1", "1"]}


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("a.mp4 2", "a.mp4"),
        ("my clips/a b 3.mp4\t2", "my clips/a b 3.mp4"),
        ("frames/clip_7 120 2", "frames/clip_7"),
        ("  my frames/clip 7   120 2  ", "my frames/clip 7"),
        ("a.mp4,2", "a.mp4"),
        ("my clips, 2019/a b 3.mp4 , 2", "my clips, 2019/a b 3.mp4"),
        ("frames/clip_7,120,2", "frames/clip_7"),
        ("my clips, 2019/path 2", "my clips, 2019/path"),
    ],
)
@pytest.mark.parametrize("name", ["list.txt", "train.csv"])  # SlowFast's lists are .csv files without a header
def test_list_lines(tmp_path, line, path, name):
    (tmp_path / name).write_text(f"\n{line}\n\nother.mp4 010\n")
    found = read_annotations(tmp_path / name, root="some/base")
    assert found.paths.tolist() == [str(Path("some/base", path)), str(Path("some/base/other.mp4"))]
    assert found.labels.tolist() == [2, 10]
    assert found.classes == [str(i) for i in range(11)]  # labels are indices, whether or not each has a video


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (["3", "1"], None, [3, 1]),  # indices
        (["03", "01"], None, [1, 0]),  # names
        (["run", "box"], ["run", "fall", "box"], [0, 2]),  # by name, in the order given
        (["2", "0"], ["run", "fall", "box"], [2, 0]),  # by index
        (["9", "10"], ["10", "9"], [1, 0]),  # by name, where the names are numbers
    ],
)
def test_labels_in_a_csv_are_names_or_indices(tmp_path, labels, classes, expected):
    (tmp_path / "set.csv").write_text("path,label\n" + "".join(f"{i}.mp4,{label}\n" for i, label in enumerate(labels)))
    found = read_annotations(tmp_path / "set.csv", classes=classes)
    assert found.labels.tolist() == expected and found.classes == (classes or found.classes)


@pytest.mark.parametrize(
    ("name", "content", "classes", "message"),
    [
        ("a.csv", b"", None, 'no column "path" in the header ()'),
        ("a.csv", b"path;label\na.mp4;1\n", None, 'no column "path" in the header (path;label)'),
        ("a.csv", b"path,class\na.mp4,run\n", None, 'no column "label" in the header (path, class)'),
        ("a.csv", b"path,label\n", None, "no videos"),
        ("a.csv", b"path,label\na.mp4,run\n\nb.mp4\n", None, "line 4 has not 2 fields"),
        ("a.csv", b"path,label\na,b.mp4,run\n", None, "line 2 has not 2 fields"),
        ("a.csv", b"path,label\na.mp4,\n", None, "line 2 has no path or no label"),
        ("a.csv", b'path,label\n"' + b"x" * 200_000, None, "can't be read: field larger than field limit"),
        ("a.csv", b"path,label\na.mp4,swim\n", ["box", "run"], 'class "swim" is not among the 2 known classes'),
        ("a.txt", b"a.mp4 2\n", ["box", "run"], 'class "2" is not among the 2 known classes'),
        ("a.txt", b"a.mp4 0\n", ["1", "2"], 'class "0" is not among the 2 known classes'),
        ("a.txt", b" \n\n", None, "no videos"),
        ("a.txt", b"a.mp4 0\nb.mp4\n", None, "line 2 is not `path label`"),
        ("a.txt", b"a.mp4 run\n", None, "line 1 is not `path label`"),
        ("a.txt", "a.mp4 \u00b2\n".encode(), None, "line 1 is not `path label`"),  # a digit to str.isdigit, not to int
        ("a.txt", b"a.mp4 -1\n", None, "line 1 is not `path label`"),
        ("a.txt", b"\xff\xd8\xff\xe0", None, "is no UTF-8 text"),
    ],
)
def test_mistakes_in_a_file_are_one_line_that_names_it(tmp_path, name, content, classes, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SmallBigError) as caught:
        read_annotations(tmp_path / name, classes=classes)
    assert message in str(caught.value)
    assert str(caught.value).endswith(f"({tmp_path / name})") and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing", "missing.csv", "empty"])
def test_a_source_that_is_not_there_or_holds_nothing(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SmallBigError) as caught:
        read_annotations(tmp_path / name)
    assert str(caught.value).endswith(f"({tmp_path / name})")


def test_class_names_file(tmp_path):
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfplaying harp \r\nabseiling\r\n\r\n")
    assert read_classes(tmp_path / "classes.txt") == ["playing harp", "abseiling"]


def test_a_shipped_list_of_class_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.csv").write_text("a.mp4 173\n")
    classes = read_classes("ssv1")
    assert read_annotations(tmp_path / "train.csv", classes=classes).labels.tolist() == [173]
    assert classes[173] == "Poking a hole into some substance"
    (tmp_path / "ssv1").write_text("mine\n")
    assert read_classes("ssv1") == ["mine"]


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "no class names"), ("a\n\nb\n", "line 2"), ("a\nb\na\n", 'line 3 is no further class name: "a"')],
)
def test_class_names_that_would_shift_the_indices(tmp_path, content, message):
    (tmp_path / "classes.txt").write_text(content)
    with pytest.raises(SmallBigError, match=message):
        read_classes(tmp_path / "classes.txt")


@pytest.mark.parametrize(
    ("condition", "kept"),
    [("", [0, 1, 2, 3]), ("fold=1", [1]), ("fold=0,10", [0, 3]), (" fold = 0, 10 ", [0, 3]), ("by=a=b,c", [0, 2])],
)
def test_select_rows(condition, kept):
    annotations = table([0, 1, 0, 1], fold=["0", "1", "2", "10"], by=["a=b", "", "c", "d"])
    found = select_rows(annotations, condition)
    assert found.paths.tolist() == [f"{i}.mp4" for i in kept]
    assert found.columns["fold"].tolist() == annotations.columns["fold"][kept].tolist()
    assert found.classes == annotations.classes


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("fold", "COLUMN=VALUE"),
        ("flod=1", r'no column "flod" to select on \(columns: fold\)'),
        ("fold=7", 'no video has the fold "7"'),
        ("fold=0,7", 'no video has the fold "7"'),
    ],
)
def test_selections_that_can_not_be_meant(condition, message):
    with pytest.raises(SmallBigError, match=message):
        select_rows(table([0, 1], fold=["0", "1"]), condition, "set.csv")


def test_split_is_stratified_and_goes_by_its_seed():
    annotations = table([0] * 50 + [1] * 10 + [2] * 5)
    train, val = split(annotations, 0.2, seed=3)
    assert Counter(val.labels.tolist()) == {0: 10, 1: 2, 2: 1}
    assert sorted([*train.paths, *val.paths]) == sorted(annotations.paths)
    assert split(annotations, 0.2, seed=3)[1].paths.tolist() == val.paths.tolist()
    assert split(annotations, 0.2, seed=4)[1].paths.tolist() != val.paths.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_split_keeps_groups_on_one_side(seed):
    sizes = np.random.default_rng(seed).integers(1, 12, 60)
    source = np.repeat([f"video {i}" for i in range(60)], sizes).tolist()
    train, val = split(table([0] * len(source), source=source), 0.25, seed, "source")
    assert not set(train.columns["source"]) & set(val.columns["source"])
    assert len(train) + len(val) == len(source)
    assert len(val) == pytest.approx(0.25 * len(source), abs=1)  # small groups fill up what large ones leave


@pytest.mark.parametrize(
    ("fraction", "group", "message"),
    [
        (0.01, "", "leaves no video"),
        (1.0, "", "leaves no video"),
        (-0.5, "", "leaves no video"),
        (0.3, "source", "leaves no video"),  # both groups are larger
        (0.5, "camera", r"no such column to group by \(columns: source\)"),
    ],
)
def test_splits_that_can_not_be_made(fraction, group, message):
    with pytest.raises(SmallBigError, match=message):
        split(table([0, 1] * 4, source=["a"] * 4 + ["b"] * 4), fraction, 0, group)


@needs_fights
def test_fights():
    fights = read_annotations(FIGHTS / "clips.csv")
    assert len(fights) == 240 and fights.classes == ["fight", "no_fight"]
    assert all(map(Path.is_file, map(Path, fights.paths)))
    sources: list[str] = []
    for fold in "0123":
        part = select_rows(fights, f"fold={fold}")
        assert all(29 <= count <= 31 for count in np.bincount(part.labels))
        sources += set(part.columns["source"])
    assert len(sources) == len(set(sources))  # no source in two folds


def test_find_files(tmp_path):
    make(tmp_path, "a[1].mp4", "in/b.mkv", "in/c.txt", "in/deep/d.gif")
    a, b, d = (str(tmp_path / name) for name in ("a[1].mp4", "in/b.mkv", "in/deep/d.gif"))
    assert find_files([a, str(tmp_path / "in"), b]) == [a, b, d]  # a name that is also a pattern; each file once
    assert find_files([str(tmp_path / "**" / "*.gif")]) == [d]
    assert find_files(["nothing*", a]) == ["nothing*", a]  # its answer is that there is no such file
    with pytest.raises(SmallBigError, match=r"nothing\*, neither"):
        find_files(["nothing*", "neither"])
