"""That the lists of other toolkits give the right rows, and every mistake in them one line that says where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallbignet.data.options import DataSource
from smallbignet.data.source import read_annotations
from smallbignet.errors import SmallBigError


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
        ('"e, f.mp4",2', "e, f.mp4"),
        ('"e, f.mp4", 2', "e, f.mp4"),
        ('"a, b.mp4","2"', "a, b.mp4"),
        ('a.mp4,"2"', "a.mp4"),
        ('"my clip 3.mp4" 2', "my clip 3.mp4"),
        ('"a ""b"" c.mp4",2', 'a "b" c.mp4'),
        ('"frames, 1/clip_7",120,2', "frames, 1/clip_7"),
    ],
)
@pytest.mark.parametrize("name", ["list.txt", "train.csv"])  # SlowFast's lists are .csv files without a header
def test_list_lines(tmp_path, line, path, name):
    (tmp_path / name).write_text(f"\n{line}\n\nother.mp4 010\n")
    found = read_annotations(tmp_path / name, DataSource(root="some/base"))
    assert found.paths.tolist() == [str(Path("some/base", path)), str(Path("some/base/other.mp4"))]
    assert found.labels.tolist() == [2, 10]
    assert found.classes == [str(i) for i in range(11)]  # labels are indices, whether or not each has a video


@pytest.mark.parametrize(
    ("name", "content", "classes", "message"),
    [
        ("a.txt", b"a.mp4 2\n", ["box", "run"], 'class "2" is not among the 2 known classes'),
        ("a.txt", b"a.mp4 0\n", ["1", "2"], 'class "0" is not among the 2 known classes'),
        ("a.txt", b" \n\n", None, "no videos"),
        ("a.txt", b"a.mp4 0\nb.mp4\n", None, "line 2 is not `path label`"),
        ("a.txt", b"a.mp4 run\n", None, "line 1 is not `path label`"),
        ("a.txt", "a.mp4 \u00b2\n".encode(), None, "line 1 is not `path label`"),  # a digit to str.isdigit, not to int
        ("a.txt", b"b.mp4 0\na.mp4 16 0 2\n", None, "line 2 seems to have several labels"),
        ("a.txt", b"a.mp4,16,0,2\n", None, "line 1 seems to have several labels"),
        ("a.txt", b"b.mp4 0\na.mp4 0 2\n", None, "line 2 seems to have several labels"),
        ("a.txt", b"a.mp4 16 2\nb.mp4 0\n", None, "line 2 seems to have several labels"),
        ("a.txt", b"a.mp4 0 2\nb.mp4 1 3\n", None, "line 1 seems to have several labels"),  # not 0 frames
        ("a.txt", b"a.mp4 0,2\n", None, "line 1 seems to have several labels"),
        ("a.txt", b"a.mp4 0;2\n", None, "line 1 is not `path label`"),
        ("a.txt", b"a.mp4 2000000000\n", None, "class indices are below 100000"),
        ("run_test_split1.txt", b"a.avi 1\nb.avi 2\n", None, "a split of HMDB51"),
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


def test_several_labels_of_a_folder_of_frames(tmp_path):
    (tmp_path / "clip_7").mkdir()
    (tmp_path / "a.txt").write_text("clip_7 16 0 2\n")
    with pytest.raises(SmallBigError, match="line 1 seems to have several labels"):
        read_annotations(tmp_path / "a.txt")
    (tmp_path / "clip_7 16").mkdir()
    assert read_annotations(tmp_path / "a.txt").paths.tolist() == [str(tmp_path / "clip_7 16")]


@pytest.mark.parametrize(
    ("classes", "indices", "expected"),
    [
        ("1 run\n2 box\n3 fall\n", [1, 2, 3], [0, 1, 2]),
        ("1 run\n2 box\n3 fall\n", [0, 2], [0, 2]),  # mmaction2 numbers from 0, beside the same file
        ("1 run\n2 box\n3 fall\n", [3], [2]),
        ("1 run\n2 box\n3 fall\n", [1, 2], None),  # nobody knows
        ("1 run\n2 box\n3 fall\n", [0, 3], None),
        ("0 run\n1 box\n2 fall\n", [1, 2], [1, 2]),
        ("100 m\n200 m\n400 m\n", [1, 2], [1, 2]),  # names, not numbers of classes
    ],
)
@pytest.mark.parametrize(
    ("form", "head", "separator"), [("txt", "", " "), ("csv", "path,label_index\n", ","), ("csv", "path,label\n", ",")]
)
def test_class_names_with_numbers(tmp_path, classes, indices, expected, form, head, separator):
    (tmp_path / "classes.txt").write_text(classes)
    (tmp_path / f"list.{form}").write_text(head + "".join(f"{i}.mp4{separator}{i}\n" for i in indices))
    source = DataSource(classes=str(tmp_path / "classes.txt"))
    if expected is None:
        with pytest.raises(SmallBigError, match=r"from 0 or from 1|not among the 3"):
            read_annotations(tmp_path / f"list.{form}", source)
    else:
        assert read_annotations(tmp_path / f"list.{form}", source).labels.tolist() == expected


def test_indices_and_classes_that_are_named_by_other_numbers(tmp_path):
    (tmp_path / "list.txt").write_text("a.mp4 1\n")
    with pytest.raises(SmallBigError, match="named by numbers"):
        read_annotations(tmp_path / "list.txt", classes=["1", "2"])
    assert read_annotations(tmp_path / "list.txt", classes=["0", "1"]).labels.tolist() == [1]


@pytest.mark.parametrize(("text", "is_noted"), [("a.mp4 3 7\nb.mp4 1 5\n", True), ("a.mp4 3 7\nb.mp4 90 5\n", False)])
def test_numbers_of_frames_that_could_be_labels_are_noted(tmp_path, capsys, text, is_noted):
    (tmp_path / "a.txt").write_text(text)
    assert read_annotations(tmp_path / "a.txt").labels.tolist() == [7, 5]
    assert ("could be a class index as well" in capsys.readouterr().err) == is_noted
