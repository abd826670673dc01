"""How much the server takes on, and from whom."""

from __future__ import annotations

from dataclasses import dataclass, field

from smallbignet.data.options import ServedVideos


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """What one server takes on.

    Attributes:
        workers: processes that read videos; one more reads those of jobs.
        max_bytes: of an upload.
        token: that clients must show; none where it is empty.
        only_local: refuse requests whose Host is not this machine, which a page of another site can send (DNS rebinding).
        most_waiting: requests that may wait or be worked on at a time, and the same number of jobs.
        most_uploads: bytes of uploads that may lie in temporary files, as a multiple of `max_bytes`.
        answer_seconds: that an answer may take, after the wait; a job may take `job_seconds`.
        memory: megabytes that reading a video may take.
        head_seconds: that a client may take for the head of a request.
        pause_seconds: that a client may stop sending; and it must send `slowest` bytes per second on average after that time.
        keep_seconds: that a finished job is kept.
    """

    workers: int = 2
    max_bytes: int = 200 * 10**6
    token: str = ""
    only_local: bool = True
    videos: ServedVideos = field(default_factory=ServedVideos)
    most_waiting: int = 64
    most_uploads: int = 16
    answer_seconds: float = 120.0
    job_seconds: float = 3600.0
    memory: int = 2048
    head_seconds: float = 10.0
    pause_seconds: float = 10.0
    slowest: int = 10_000
    keep_seconds: float = 600.0
