"""Figures of a running server, in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 600, 3600)
CLIPS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "smallbig_requests", "Requests that were answered", ["address", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "smallbig_request_seconds",
            "Seconds from a request's head to the end of its answer",
            ["address"],
            registry=self.registry,
            buckets=SECONDS,
        )
        self.uploaded = Counter("smallbig_upload_bytes", "Bytes of videos that were received", registry=self.registry)
        self.batch_clips = Histogram("smallbig_batch_clips", "Clips in a batch", registry=self.registry, buckets=CLIPS)
        self.batch_requests = Histogram(
            "smallbig_batch_requests", "Requests whose clips were in a batch", registry=self.registry, buckets=CLIPS
        )

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Adds a figure that is read when it is asked for."""
        Gauge(name, what, registry=self.registry).set_function(value)

    def observe_batch(self, clips: int, requests: int) -> None:
        """Counts a batch."""
        self.batch_clips.observe(clips)
        self.batch_requests.observe(requests)

    def text(self) -> bytes:
        """All figures."""
        return generate_latest(self.registry)
