"""Why a request gets no answer: a status and one line."""

from __future__ import annotations

from smallbignet.errors import SmallBigError


class Refusal(SmallBigError):
    """A request that is refused.

    Args:
        status: of HTTP, such as 413.
        what: what is wrong, and what to do about it, in one line.
        headers: of the response.
    """

    def __init__(self, status: int, what: str, headers: dict[str, str] | None = None):
        super().__init__(what)
        self.status = status
        self.headers = headers or {}


def busy(status: int, what: str, seconds: float) -> Refusal:
    """A refusal of work that may be tried again after some seconds."""
    return Refusal(status, what, {"Retry-After": str(max(round(seconds), 1))})
