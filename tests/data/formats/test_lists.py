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
