"""The application on a port: uvicorn."""

from __future__ import annotations

import uvicorn

from smallbignet.serve.app import make_app
from smallbignet.serve.service import Service


def run(service: Service, host: str, port: int) -> None:
    """Serves until a signal ends it."""
    uvicorn.Server(uvicorn.Config(make_app(service), host, port, server_header=False, access_log=False, ws="none")).run()
