"""A folder with one folder of videos for each class; or with folders for the parts of a data set, each of this kind."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from smallbignet.data.annotations import Annotations
from smallbignet.data.folders import each_video, find_videos, walk
from smallbignet.data.formats.base import Format, annotate, sort_names
from smallbignet.data.options import DataSource
from smallbignet.errors import SmallBigError
from smallbignet.utils.console import note

# The usual names of a part, alone or with words that say what is in it: "Train", "videos_val", "test set", "train_256".
_WORDS = r"(?:(?:videos?|clips?|(?:raw)?frames?|images?|data|rgb|split|set|\d+p?)[-_ .]*)*"
_PARTS = re.compile(
    rf"{_WORDS}(?:(?P<train>train(?:ing)?)|(?P<val>val(?:id(?:ate|ation)?)?|dev|eval(?:uation)?)|(?P<test>test(?:ing)?))"
    rf"[-_ .]*{_WORDS}",
    re.IGNORECASE,
)
# Folders that divide a data set, too, without saying what is to train on.
_DIVISIONS = re.compile(r"(?:cv|fold|part|split|subset)s?[-_ .]*[0-9]+", re.IGNORECASE)
# The parts that are taken to train or to validate on, the first that is there.
_TAKEN = {"train": ("train",), "val": ("val", "test")}


class ClassFolders(Format):
    """The videos, files or folders of frames, lie at any depth in the folder of their class."""

    def recognises(self, path: Path, source: DataSource) -> bool:
        return path.is_dir()

    def read(self, path: Path, source: DataSource) -> Annotations:
        """Reads a folder; folders without videos, and videos outside the class folders, are named on standard error.

        Raises:
            SmallBigError: no class folder holds videos, one holds folders that look like parts of a data set, or all look like
                folds.
        """
        inside: dict[str, list[Path]] = defaultdict(list)
        outside = []
        for video in find_videos(path, source.filename_tmpl):
            place = video.relative_to(path).parts
            if len(place) > 1:
                inside[place[0]].append(video)
            else:
                outside.append(str(video))
        for name, videos in inside.items():
            _check_inner_folders(path / name, videos)
        if outside and not inside:
            what = f"its {len(outside)} videos are in no class folder, such as {Path(outside[0]).name}"
            raise SmallBigError(f"{what}; expected a folder per class, and the videos of a class in it", path)
        if outside:
            note(f"{path}: left out {len(outside)} videos that are in no class folder, such as {outside[0]}")
        _note_empty_folders(path, set(inside) | {Path(video).name for video in outside})
        _check_divisions(path, inside)
        _note_single_class(path, inside)
        names = [name for name, videos in inside.items() for _ in videos]
        return annotate([str(video) for videos in inside.values() for video in videos], names, sort_names(names))

    def find_part(self, folder: Path, part: str) -> Path | None:
        found: dict[str, list[str]] = defaultdict(list)
        others = []
        for name in _folders_in(folder):
            if kind := _part_of(name):
                found[kind].append(name)
            else:
                others.append(name)
        if not found:
            return None
        seen = ", ".join(name for names in found.values() for name in names)
        is_whole = "train" in found and len(found) > 1
        if classes := [name for name in others if _looks_like_class(folder / name, is_whole)]:
            what = f"some of its folders look like parts of a data set ({seen}) and others like classes ({classes[0]}, ...)"
            raise SmallBigError(f"{what}; separate them, or list the videos in a .csv file", folder)
        names = next((found[kind] for kind in _TAKEN[part] if kind in found), [])
        if len(names) != 1:
            purpose = "train" if part == "train" else "validate"
            how_many = "several are" if names else "none is"
            what = f"its folders look like parts of a data set ({seen}), and {how_many} to {purpose} on"
            raise SmallBigError(f"{what}; name one of them instead", folder)
        return folder / names[0]


def _folders_in(path: Path) -> list[str]:
    return next((folder.folders for folder in walk(str(path))), [])


def _part_of(name: str) -> str | None:
    """The part that a folder's name stands for: "train", "val" or "test"; None for another name."""
    match = _PARTS.fullmatch(name)
    return match.lastgroup if match else None


def _looks_like_class(folder: Path, beside_whole: bool) -> bool:
    """Whether a folder beside parts holds videos. Beside a whole data set, one with folders of videos may be something else."""
    video = next(each_video(folder), None)
    return video is not None and not (beside_whole and len(video.relative_to(folder).parts) > 1)


def _check_inner_folders(folder: Path, videos: list[Path]) -> None:
    """Refuses a class folder with parts in it, as a folder that was taken for a class by accident has."""
    inner = {place[0] for video in videos if len(place := video.relative_to(folder).parts) > 1}
    parts = {name: _part_of(name) for name in sorted(inner)}
    if len(set(parts.values()) - {None}) > 1:
        seen = ", ".join(name for name, part in parts.items() if part)
        what = f"this folder stands where a class is expected, and holds what looks like parts of a data set ({seen})"
        raise SmallBigError(f"{what}; name the folder itself, or put the classes inside of the parts", folder)


def _check_divisions(path: Path, inside: dict[str, list[Path]]) -> None:
    """Refuses fold1, fold2, ..., and says where all folders hold folders of the same names, which may be the classes."""
    inner = [
        {video.relative_to(path / name).parts[0] for video in videos} - {video.name for video in videos}
        for name, videos in inside.items()
    ]
    shared = sorted(set.intersection(*inner)) if len(inner) > 1 else []
    names = ", ".join(sorted(inside)[:3])
    if any(inner) and all(map(_DIVISIONS.fullmatch, inside)):
        what = f"its folders look like folds of a data set ({names}), which hold the classes"
        raise SmallBigError(f"{what}; list the videos in a .csv file with the columns path, label and fold", path)
    if len(shared) > 1:
        what = f"{names} are the classes, and each holds the folders {', '.join(shared[:3])}"
        note(f"{path}: {what}; if these are the classes, list the videos in a .csv file with the columns path and label")


def _note_single_class(path: Path, inside: dict[str, list[Path]]) -> None:
    """Says what the only class is, where it may be a folder that holds the classes."""
    if len(inside) != 1:
        return
    name, videos = next(iter(inside.items()))
    inner = sorted({place[0] for video in videos if len(place := video.relative_to(path / name).parts) > 1})
    if len(inner) > 1:
        what = f"{name} is the only class; if its {len(inner)} folders are the classes ({inner[0]}, ...)"
        note(f"{path}: {what}, name {path / name}")


def _note_empty_folders(path: Path, taken: set[str]) -> None:
    """Names the folders that would be classes if they held a video, and what they hold."""
    empty = []
    for name in _folders_in(path):
        if name not in taken:
            files = [file for folder in walk(str(path / name)) for file in folder.files]
            empty.append(f"{name} ({len(files)} files, such as {files[0]})" if files else f"{name} (no files)")
    if empty:
        more = ", ..." if len(empty) > 5 else ""
        note(f"{path}: {len(empty)} folders hold no videos and are no classes: {', '.join(empty[:5])}{more}")
