"""That a .csv file with a header gives the right rows, and every mistake in it one line that says where it is."""

from __future__ import annotations

import pytest

from smallbignet.data.options import DataSource
from smallbignet.data.source import read_annotations
from smallbignet.errors import SmallBigError


def test_csv_columns_paths_and_text(tmp_path):
    """A byte order mark, Windows' line ends, blanks behind commas, quotes, empty lines, repeated rows, absolute paths."""
    absolute = tmp_path.resolve() / "elsewhere" / "c.mp4"
    text = f'clip, class, fold\r\n"my clip, 1.mp4", run, 0\r\n\r\n{absolute}, box, 1\r\n{absolute}, box, 1\r\n'
    (tmp_path / "set.CSV").write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = read_annotations(tmp_path / "set.CSV", DataSource(path_column="clip", label_column="class"))
    assert found.paths.tolist() == [str(tmp_path / "my clip, 1.mp4"), str(absolute), str(absolute)]
    assert [found.classes[i] for i in found.labels] == ["run", "box", "box"]
    assert {name: values.tolist() for name, values in found.columns.items()} == {"fold": ["0", "1", "1"]}


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (["3", "1"], None, [1, 0]),  # names, also where they are numbers
        (["2020", "2019"], None, [1, 0]),
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
        ("a.csv", b'path,label\na.mp4,"run\nb.mp4,walk\n', None, "line 3 ends a value with a line break"),
        ("a.csv", b'path,label,fold\na.mp4,run,"1\nb.mp4,walk,2\nc.mp4,walk,"3"\n', None, "line 4 ends a value"),
        ("a.csv", b"path,label\na.mp4,swim\n", ["box", "run"], 'class "swim" is not among the 2 known classes'),
    ],
)
def test_mistakes_in_a_file_are_one_line_that_names_it(tmp_path, name, content, classes, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SmallBigError) as caught:
        read_annotations(tmp_path / name, classes=classes)
    assert message in str(caught.value)
    assert str(caught.value).endswith(f"({tmp_path / name})") and "\n" not in str(caught.value)


@pytest.mark.parametrize(("column", "setting"), [("label_index", "label"), ("class_index", "class_index")])
def test_a_column_of_indices_says_so(tmp_path, column, setting):
    (tmp_path / "set.csv").write_text(f"path,{column}\na.mp4,3\nb.mp4,1\n")
    found = read_annotations(tmp_path / "set.csv", DataSource(label_column=setting))
    assert (found.labels.tolist(), found.classes) == ([3, 1], ["0", "1", "2", "3"])
    assert read_annotations(tmp_path / "set.csv", DataSource(label_column=setting), list("abcd")).labels.tolist() == [3, 1]
    (tmp_path / "set.csv").write_text(f"path,{column}\na.mp4,3\nb.mp4,run\n")
    with pytest.raises(SmallBigError, match=f'line 3: "run" in the column {column} is no class index'):
        read_annotations(tmp_path / "set.csv", DataSource(label_column=setting))


def test_labels_are_one_class_by_any_spelling(tmp_path):
    rows = ["a.mp4,run", "b.mp4,run ", "c.mp4, run", 'd.mp4,"run\t"', "e.mp4,caf\u00e9", "f.mp4,cafe\u0301"]
    (tmp_path / "set.csv").write_text("path , label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    found = read_annotations(tmp_path / "set.csv")
    assert found.classes == ["caf\u00e9", "run"] and found.labels.tolist() == [1, 1, 1, 1, 0, 0]
    assert read_annotations(tmp_path / "set.csv", classes=["run", "cafe\u0301"]).labels.tolist() == [0, 0, 0, 0, 1, 1]
    (tmp_path / "classes.txt").write_text("run \ncafe\u0301\n", encoding="utf-8")
    source = DataSource(classes=str(tmp_path / "classes.txt"))
    assert read_annotations(tmp_path / "set.csv", source).labels.tolist() == [0, 0, 0, 0, 1, 1]


def test_a_path_is_found_by_either_spelling_of_an_accent(tmp_path):
    (tmp_path / "cafe\u0301.mp4").touch()
    (tmp_path / "set.csv").write_text("path,label\ncaf\u00e9.mp4,x\n", encoding="utf-8")
    assert read_annotations(tmp_path / "set.csv").paths.tolist() == [str(tmp_path / "cafe\u0301.mp4")]


@pytest.mark.parametrize("header", ["path,label,label", "path,label,path"])
def test_a_column_that_appears_twice(tmp_path, header):
    (tmp_path / "set.csv").write_text(f"{header}\na,b,c\n")
    with pytest.raises(SmallBigError, match="two columns"):
        read_annotations(tmp_path / "set.csv")
