"""The application on a port, by uvicorn: slow heads end, and a signal lets the work be done."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from contextlib import closing
from functools import partial
from types import FrameType
from typing import Any

import av
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from smallbignet.errors import SmallBigError
from smallbignet.serve.app import make_app
from smallbignet.serve.service import Service
from smallbignet.utils.console import console

LEAST_AV = (18, 1)  # the first with an FFmpeg in which no hole is known
MOST_CONNECTIONS = 500  # below the usual limit on open files
KEPT = 10.0  # seconds that a stopping server keeps the results of jobs for clients that ask for them
LAST = 10  # seconds that clients may take to read their answers, when the work is done


class Protocol(H11Protocol):
    """HTTP where the head of a request must come in time. uvicorn itself waits as long as a byte comes now and then.

    Args:
        head_seconds: from the connection, or from the last response, to the end of the head.
    """

    def __init__(self, *args: Any, head_seconds: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.head_seconds = head_seconds
        self.head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle and not self.cycle.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        self._wait_for_head()  # before the next request, which may be here already
        super().on_response_complete()

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self.head_timer = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self.head_timer:
            self.head_timer.cancel()
            self.head_timer = None


class Server(uvicorn.Server):
    """A server that does the work it has taken before it stops. A second signal stops it at once."""

    def __init__(self, config: uvicorn.Config, service: Service):
        super().__init__(config)
        self.service = service
        self.idle_since = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.service.is_stopping:
            self.service.cancel_all()
            self.should_exit = True
            return
        self.service.is_stopping = True
        console.print(f"stopping: {len(self.service.works)} videos are worked on; a second signal stops at once")

    async def on_tick(self, counter: int) -> bool:
        if self.service.is_stopping and self.service.can_stop(KEPT):
            self.should_exit = True
        return await super().on_tick(counter)


def run(service: Service, listener: socket.socket) -> None:
    """Serves on a bound socket until a signal ends it."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("smallbignet.serve").setLevel(logging.INFO)
    config = uvicorn.Config(
        make_app(service),
        http=partial(Protocol, head_seconds=service.settings.head_seconds),  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=LAST,
    )
    with closing(listener):
        Server(config, service).run([listener])


def bind(host: str, port: int) -> socket.socket:
    """Returns a socket that is bound to an address, and refuses connections until the server runs.

    Raises:
        SmallBigError: the address is taken, or is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise SmallBigError("this port is in use: choose another one", f"--port {port}") from error
        if error.errno == errno.EACCES:
            raise SmallBigError("this port needs more rights: choose one from 1024 on", f"--port {port}") from error
        raise SmallBigError("this machine does not have this address", f"--host {host}") from error
    return listener


def check_versions() -> str:
    """Returns in words what decodes videos.

    Raises:
        SmallBigError: it is too old to open strangers' files with.
    """
    version = tuple(int(part) for part in av.__version__.split(".")[:2])
    if version < LEAST_AV:
        what = "the FFmpeg in this PyAV has known holes, so it must not open strangers' videos: pip install 'av>=18.1'"
        raise SmallBigError(what, f"av {av.__version__}")
    return f"PyAV {av.__version__} with FFmpeg {av.ffmpeg_version_info}"
