"""The errors that people see: one line each, WHAT and (WHERE)."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SmallBigError(Exception):
    """Something the user can mend: a wrong path, setting or file. The command line prints it as one line and exits with 2.

    Args:
        what: what is wrong and what to do about it.
        where: the file or setting that it is about.
    """

    def __init__(self, what: str, where: object = ""):
        super().__init__(what, where)
        self.what, self.where = what, str(where)

    def __str__(self) -> str:
        return f"{self.what} ({self.where})" if self.where else self.what


class VideoError(SmallBigError):
    """A video file that can't be read, or not the frames asked for."""


class WorkError(SmallBigError):
    """The work itself failed, through no mistake in the command. The command line exits with 1."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to put into a message, with the known name that is most like an unknown one; nothing where none is."""
    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}? " if close else ""
