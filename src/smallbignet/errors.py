"""The errors that people see: one line each, WHAT and (WHERE)."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import get_close_matches

# what to do about an error of the operating system
ADVICE = {
    errno.EACCES: "check its permissions, or choose another place",
    errno.EPERM: "check its permissions, or choose another place",
    errno.EROFS: "choose another place",
    errno.ENOSPC: "free some space, or choose another place",
    errno.EDQUOT: "free some space, or choose another place",
    errno.EFBIG: "choose another place, or raise the limit on the size of files",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "name a file instead",
    errno.EEXIST: "choose another name",
    errno.EMFILE: "raise the limit on open files (ulimit -n), or use fewer workers",
    errno.ENOMEM: "close other programs, or use fewer workers or smaller batches",
}


class SmallBigError(Exception):
    """Something that the user can put right: a wrong path, setting or file.

    The command line prints it as one line and exits with status 2.

    Args:
        what: what is wrong, and what to do about it.
        where: the file or setting that it is about.
    """

    def __init__(self, what: str, where: object = ""):
        super().__init__(what, where)
        self.what = what
        self.where = str(where)

    def __str__(self) -> str:
        return f"{self.what} ({self.where})" if self.where else self.what


class VideoError(SmallBigError):
    """A video file that can't be read, or that doesn't have the frames asked for."""


class WorkError(SmallBigError):
    """The command was right, but the work failed, such as a download. The command line prints one line and exits with 1."""


def explain_os_error(error: OSError) -> str:
    """One line about an error of the operating system: what is wrong, what to do if that is known, and the file."""
    if error.errno is None or error.strerror is None:  # one of a library, such as a failed download
        return " ".join(str(error).split())
    what = error.strerror.lower()
    advice = ADVICE.get(error.errno)
    return str(SmallBigError(f"{what}; {advice}" if advice else what, error.filename or ""))


def explain_worker_error(error: BaseException) -> str:
    """What happened to a worker process of PyTorch's DataLoader, and what to do; empty for other errors.

    On Unix such an error may be raised anywhere in the main thread, at the moment when the process ends.
    """
    reason = " ".join(str(error).split())
    if reason.startswith("DataLoader worker"):
        first = reason.partition(". ")[0].rstrip(".")
        return f"a process that reads videos has ended: {first}; if memory ran out, use fewer workers or smaller batches"
    if reason.startswith("Too many open files"):
        return f"too many open files; {ADVICE[errno.EMFILE]}"
    return ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The question "did you mean X? " with the known name that is closest to an unknown one; empty if none is close."""
    close = get_close_matches(name[:100], list(known), n=1)
    return f"did you mean {close[0]}? " if close else ""
