"""What paths and names stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallbignet.data.options import DataSource
from smallbignet.data.source import find_files, read_annotations, read_part
from smallbignet.errors import SmallBigError


def make(folder: Path, *names: str) -> None:
    """Empty files: annotations are read without opening a video."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize("name", ["missing", "missing.csv", "empty"])
def test_a_source_that_is_not_there_or_holds_nothing(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SmallBigError) as caught:
        read_annotations(tmp_path / name)
    assert str(caught.value).endswith(f"({tmp_path / name})")


def test_find_files(tmp_path):
    make(tmp_path, "a[1].mp4", "in/b.mkv", "in/c.txt", "in/deep/d.gif")
    a, b, d = (str(tmp_path / name) for name in ("a[1].mp4", "in/b.mkv", "in/deep/d.gif"))
    assert find_files([a, str(tmp_path / "in"), b]) == [a, b, d]  # a name that is also a pattern; each file once
    assert find_files([str(tmp_path / "**" / "*.gif")]) == [d]
    assert find_files(["nothing*", a]) == ["nothing*", a]  # its answer is that there is no such file
    with pytest.raises(SmallBigError, match=r"nothing\*, neither"):
        find_files(["nothing*", "neither"])


def test_class_names_of_the_list_and_of_a_model(tmp_path):
    """The list's own file says what its indices mean; a model has the same classes in another order."""
    (tmp_path / "list.txt").write_text("a.mp4 2\nb.mp4 0\n")
    (tmp_path / "classes.txt").write_text("run\nbox\nfall\n")
    source = DataSource(classes=str(tmp_path / "classes.txt"))
    found = read_annotations(tmp_path / "list.txt", source)
    assert found.classes == ["run", "box", "fall"] and found.labels.tolist() == [2, 0]
    assert read_annotations(tmp_path / "list.txt", source, ["fall", "run"]).labels.tolist() == [0, 1]
    with pytest.raises(SmallBigError, match='class "fall" is not among the 2 known classes'):
        read_annotations(tmp_path / "list.txt", source, ["box", "run"])


def test_one_row_for_each_file(tmp_path, capsys):
    make(tmp_path, "a.mp4", "b.mp4", "sub/c.mp4")
    (tmp_path / "d.mp4").symlink_to("a.mp4")
    (tmp_path / "e.mp4").hardlink_to(tmp_path / "a.mp4")
    rows = ["a.mp4,x", "./a.mp4,x", "sub/../a.mp4,x", f"{tmp_path}/a.mp4,x", "d.mp4,x", "e.mp4,x", "b.mp4,y"]
    (tmp_path / "set.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    assert read_part(tmp_path / "set.csv", "train").paths.tolist() == [str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")]
    assert "left out 5 rows" in capsys.readouterr().err
    (tmp_path / "set.csv").write_text("path,label\na.mp4,x\nd.mp4,y\n")
    with pytest.raises(SmallBigError, match='one file with two classes, "x" and "y"'):
        read_part(tmp_path / "set.csv", "train")


def test_find_files_takes_each_once_by_any_spelling(tmp_path, monkeypatch):
    make(tmp_path, "in/a.mp4", "in/clip/img_00001.jpg")
    (tmp_path / "linked").symlink_to("in")
    monkeypatch.chdir(tmp_path)
    assert find_files(["in/a.mp4", "./in/a.mp4", "linked", "in/*"]) == ["in/a.mp4", "linked/clip"]
