"""Files and folders that are either written as a whole or not at all, whenever the process is killed."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from smallbignet.errors import WorkError

# what PyTorch's writer of files says when it can't write
TORCH_WRITER = re.compile("inline_container|PytorchStreamWriter|iostream error")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Lets an error that occurs while `path` is written name it, and removes what was written of `fresh_name(path)`.

    The error of a full disk, for example, doesn't name a file by itself.

    Raises:
        WorkError: safetensors or PyTorch could not write.
        OSError: any other error of writing.
    """
    try:
        yield
    except OSError as error:
        remove(fresh_name(path))
        error.filename = error.filename or str(path)
        raise
    except (SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not TORCH_WRITER.search(str(error)):
            raise
        remove(fresh_name(path))
        raise WorkError(f"can't write; is the disk full? {' '.join(str(error).split())}", path) from error


def write_text(file: Path, text: str) -> None:
    """Writes a text file, and its folder if that is missing. A file that is already there is replaced in one step."""
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = fresh_name(file)
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, file)


def fresh_name(path: Path) -> Path:
    """Where the file or folder is written that will replace `path`."""
    return path.with_name(path.name + ".new")


def remove(path: Path) -> None:
    """Removes a file or a folder, as far as that is possible."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def fresh_folder(directory: Path) -> Path:
    """An empty folder beside `directory`, to be filled and then given to `install`."""
    fresh = fresh_name(directory)
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    return fresh


def install(fresh: Path, directory: Path) -> None:
    """Puts a filled folder in the place of `directory`.

    Where the system can exchange two folders, as Linux can on most file systems, a reader finds the old or the new one at
    any moment. Elsewhere there is a moment between two renames at which it finds none.
    """
    if exchange(fresh, directory):
        shutil.rmtree(fresh, ignore_errors=True)
        return
    stale = directory.with_name(directory.name + ".old")
    if directory.exists():
        shutil.rmtree(stale, ignore_errors=True)
        os.rename(directory, stale)
    os.rename(fresh, directory)
    shutil.rmtree(stale, ignore_errors=True)


def exchange(one: Path, other: Path) -> bool:
    """Exchanges two files or folders in one step; False, with nothing changed, if one is missing or the system can't."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)  # in glibc since 2.28; Python has no function for it
    here, swap = -100, 2  # AT_FDCWD and RENAME_EXCHANGE
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), swap) == 0


def recovered(directory: Path) -> Path | None:
    """`directory`; or, after an `install` that was cut off between its two renames, what stood there before; or None."""
    stale = directory.with_name(directory.name + ".old")
    return next((folder for folder in (directory, stale) if folder.is_dir()), None)
