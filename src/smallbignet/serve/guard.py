"""What every request must be, and what every response says: the outermost layer of the application."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from fastapi.datastructures import Headers
from fastapi.responses import JSONResponse

from smallbignet.serve.forms import ErrorForm, to_json
from smallbignet.serve.refusals import Refusal
from smallbignet.serve.service import Service

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
GUARDED = ("/v1/", "/metrics")  # addresses that need the token; the page asks for it
METHODS = ("GET", "HEAD", "POST", "DELETE")
READING_ON = 2.0  # seconds that the rest of a refused body is read, because many clients listen only after they have sent it
log = logging.getLogger(__name__)


class Guard:
    """An ASGI application around another one.

    It refuses requests from other sites and without the token, and adds headers to every response. A response before the end
    of the request's body closes the connection. Every exchange is counted, and is a line in the log.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], service: Service):
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        try:
            check(scope, self.service.settings.token, self.service.settings.only_local)
            await self.app(scope, exchange.receive, exchange.send)
        except Refusal as refusal:
            response = JSONResponse(to_json(ErrorForm(refusal.what)), refusal.status, refusal.headers)
            await response(scope, exchange.receive, exchange.send)
        except Exception:
            log.exception("unexpected error")
            if not exchange.status:
                response = JSONResponse(to_json(ErrorForm("an unexpected error, which the server's log shows")), 500)
                await response(scope, exchange.receive, exchange.send)
        finally:
            address, seconds = exchange.address, time.monotonic() - exchange.started
            self.service.metrics.requests.labels(address, exchange.status).inc()
            self.service.metrics.seconds.labels(address).observe(seconds)
            log.info("%s %s %d, %.2f s", exchange.method, address, exchange.status, seconds)


class Exchange:
    """A request and its response.

    Attributes:
        status: of the response; 0 before it.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send):
        self.scope = scope
        self._receive = receive
        self._send = send
        self.headers = Headers(scope=scope)
        has_body = self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers
        self.is_read = not has_body
        self.status = 0
        self.started = time.monotonic()

    @property
    def method(self) -> str:
        """The method, if it is a usual one: nothing that a client makes up gets into logs and figures."""
        return self.scope["method"] if self.scope["method"] in METHODS else "OTHER"

    @property
    def address(self) -> str:
        """The address as it is written in `routes.py`."""
        return getattr(self.scope.get("route"), "path", "other")

    async def receive(self) -> Message:
        message = await self._receive()
        self.is_read = self.is_read or not message.get("more_body", False)  # also where the client has gone
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            caching = "no-cache" if self.scope["path"].startswith("/static/") else "no-store"
            added = HEADERS | {"Cache-Control": caching}
            if not self.is_read:
                await self._read_on()
                added["Connection"] = "close"
            message["headers"] = [*message["headers"], *((k.lower().encode(), v.encode()) for k, v in added.items())]
        await self._send(message)

    async def _read_on(self) -> None:
        if "expect" in self.headers:  # the client waits for a word before it sends the body
            return
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._read_rest(), READING_ON)

    async def _read_rest(self) -> None:
        while not self.is_read:
            await self.receive()


def check(scope: Scope, token: str, only_local: bool) -> None:
    """Checks the head of a request.

    Args:
        token: that the request must show; empty for none.
        only_local: refuse names of hosts that a page of another site can have made point to this machine (DNS rebinding).

    Raises:
        Refusal: it has another host, comes from another site, or lacks the token.
    """
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if only_local and not is_local(host):
        raise Refusal(421, "this server answers only as localhost or 127.0.0.1")
    if is_foreign(headers, scope["method"], host):
        raise Refusal(403, "a page of another site may not ask this server")
    if token and scope["path"].startswith(GUARDED):
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
            raise Refusal(
                401, "the token is missing or wrong: send Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
            )


def is_local(host: str) -> bool:
    """Whether a Host header names this machine: localhost, or a number of it, which no other site's name can be."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def is_foreign(headers: Headers, method: str, host: str) -> bool:
    """Whether a page of another site sent a request. Links from there are followed; other programs send neither header."""
    site = headers.get("sec-fetch-site")
    if site:
        is_link = (
            method == "GET" and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        )
        return site not in ("same-origin", "none") and not is_link
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != host
