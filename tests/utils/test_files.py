"""Files that are written as a whole or not at all, and errors that name them."""

import subprocess
import sys
import threading

import pytest

from smallbignet.utils import files
from smallbignet.utils.files import exchange, fresh_folder, install, recovered, write_text


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_is_replaced_as_a_whole(tmp_path, monkeypatch, can_exchange):
    if not can_exchange:  # another system than Linux
        monkeypatch.setattr(files, "exchange", lambda one, other: False)
    for text in ("first", "second"):
        fresh = fresh_folder(tmp_path / "state")
        (fresh / text).touch()
        install(fresh, tmp_path / "state")
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_reader_always_finds_a_folder_that_is_replaced(tmp_path):
    """A thread reads for as long as the folder is replaced, 200 times. With two renames, dozens of its reads find nothing."""
    directory = tmp_path / "best"
    install(fresh_folder(directory), directory)
    if not exchange(directory, fresh_folder(directory)):
        pytest.skip("this system or file system can't exchange folders")
    done = threading.Event()
    missing = 0
    reads = 0

    def read() -> None:
        nonlocal missing, reads
        while not done.is_set():
            missing += not directory.is_dir()
            reads += 1

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(200):
        install(fresh_folder(directory), directory)
    done.set()
    reader.join()
    assert reads > 100 and missing == 0


def test_an_install_that_was_cut_off_is_recovered(tmp_path):
    assert recovered(tmp_path / "state") is None
    (tmp_path / "state").mkdir()
    assert recovered(tmp_path / "state") == tmp_path / "state"
    (tmp_path / "state").rename(tmp_path / "state.old")  # the first of the two renames of `install`
    assert recovered(tmp_path / "state") == tmp_path / "state.old"


def test_a_text_that_cannot_be_written_names_its_file_and_leaves_the_old_one(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "old")
    (tmp_path / "a" / "b.txt.new").mkdir()
    with pytest.raises(OSError, match=r"b\.txt"):
        write_text(tmp_path / "a" / "b.txt", "new")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]
    assert (tmp_path / "a" / "b.txt").read_text() == "old"


WRITE = """
import resource, sys, torch
from pathlib import Path
from safetensors.torch import save_file
from smallbignet.cli import explain
from smallbignet.utils.files import write_text, writing
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # as if the disk was full
path = Path(sys.argv[1])
x = torch.zeros(1000)
for write in (lambda: write_text(path, "x" * 2000), lambda: torch.save(x, path), lambda: save_file({"x": x}, path)):
    try:
        with writing(path):
            write()
    except Exception as error:
        print(explain(error))
"""


def test_a_full_disk_names_the_file(tmp_path):
    pytest.importorskip("resource", reason="limits the size of files as Unix does")
    done = subprocess.run([sys.executable, "-c", WRITE, str(tmp_path / "file")], capture_output=True, text=True, check=True)
    text, *others = done.stdout.splitlines()
    assert text.startswith("file too large; ") and text.endswith(f"({tmp_path / 'file'})")
    assert len(others) == 2
    assert all(line.startswith("can't write; is the disk full? ") and line.endswith("/file)") for line in others)
