"""Files and folders that are written whole or not at all, whenever the process is killed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def write_text(file: Path, text: str) -> None:
    """Writes a text file, its folder made where it is missing; a file that is there is replaced at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = fresh_name(file)
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, file)


def fresh_name(directory: Path) -> Path:
    """Where what will replace `directory` is written."""
    return directory.with_name(directory.name + ".new")


def fresh_folder(directory: Path) -> Path:
    """An empty folder beside `directory`, to be filled and then given to `install`."""
    fresh = fresh_name(directory)
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    return fresh


def install(fresh: Path, directory: Path) -> None:
    """Puts a filled folder in the place of `directory`."""
    stale = directory.with_name(directory.name + ".old")
    if directory.exists():
        shutil.rmtree(stale, ignore_errors=True)
        os.rename(directory, stale)
    os.rename(fresh, directory)
    shutil.rmtree(stale, ignore_errors=True)


def recovered(directory: Path) -> Path | None:
    """`directory`, or what stood there before an `install` that was cut off between its two renames, or None."""
    stale = directory.with_name(directory.name + ".old")
    return next((d for d in (directory, stale) if d.is_dir()), None)
