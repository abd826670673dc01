"""`smallbig embed` on files as people have them."""

import json
import sys

import numpy as np
import pytest

from smallbignet.cli import main


def test_a_vector_for_each_video(run, clips, tmp_path, capsys):
    videos = [str(path) for path in sorted(clips.glob("val/*/*.mp4"))]
    out = str(tmp_path / "new" / "a.npz")
    assert main(["embed", str(run), str(clips / "val"), "--out", out, "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"out": out, "rows": 6, "dimensions": 256, "videos": 6, "unreadable": []}
    with np.load(out) as arrays:
        assert sorted(arrays) == ["path", "vector"]
        assert sorted(arrays["path"].tolist()) == videos
        assert arrays["vector"].shape == (6, 256) and arrays["vector"].dtype == np.float32
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.npz"]


def test_parquet_has_the_same_rows(run, clips, tmp_path, capsys):
    parquet = pytest.importorskip("pyarrow.parquet")
    words = ["embed", str(run), str(clips / "val"), "--windows", "--window", "0.25", "--stage", "res3", "--device", "cpu"]
    for name in ("a.npz", "a.parquet"):
        assert main([*words, "--out", str(tmp_path / name)]) == 0
    assert "a.parquet: 18 vectors of 64 numbers, from 6 videos" in capsys.readouterr().out  # 4 of 8 frames, 2 apart
    table = parquet.read_table(tmp_path / "a.parquet").to_pydict()
    with np.load(tmp_path / "a.npz") as arrays:
        assert set(table) == set(arrays)
        for name, values in table.items():
            np.testing.assert_array_equal(np.array(values), arrays[name])


def test_without_pyarrow_a_parquet_file_has_a_hint(run, clips, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    assert main(["embed", str(run), str(clips), "--out", str(tmp_path / "a.parquet")]) == 2
    hint = "a .parquet file needs PyArrow: pip install 'smallbignet[parquet]'"
    assert capsys.readouterr().err == f"smallbig: error: {hint} ({tmp_path / 'a.parquet'})\n"


def test_an_unreadable_video_is_one_line_and_status_1(run, clips, tmp_path, capsys):
    (tmp_path / "bad.mp4").write_bytes(b"this is no video " * 100)
    video = str(min(clips.glob("val/still/*.mp4")))
    names, words = ["embed", str(run), str(tmp_path / "bad.mp4")], ["--out", str(tmp_path / "a.npz"), "--device", "cpu"]
    assert main([*names, video, *words]) == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"unreadable: {tmp_path / 'bad.mp4'}: ") and err.count("\n") == 1
    assert "a.npz: 1 vectors" in out
    (tmp_path / "a.npz").unlink()
    assert main([*names, *words]) == 1
    assert "smallbig: error: none of the videos could be read" in capsys.readouterr().err
    assert not (tmp_path / "a.npz").exists()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--out", "a.csv"], "out must be a file that ends in .npz or .parquet and can be written, not 'a.csv'"),
        (["--out", "a.npz", "--stage", "res6"], "stage must be res2, res3, res4 or res5, not res6"),
        (["--out", "a.npz", "--stride", "1"], "window and stride are those of --windows, which is not given"),
        ([], "the following arguments are required: out"),
    ],
)
def test_a_mistake_is_one_line(words, what, run, clips, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["embed", str(run), str(clips / "val"), *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"smallbig: error: {what}") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
