"""`smallbig serve`: a server that labels videos, and its page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from smallbignet.errors import SmallBigError
from smallbignet.utils.checks import Range, checked


@dataclass(frozen=True)
class Served:
    """Where the server was."""

    address: str


@checked
def serve(
    model: list[str],
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Range(ge=0, le=65535)] = 8000,
    workers: Annotated[int, Range(ge=1, le=256)] = 2,
    max_mb: Annotated[int, Range(ge=1, le=100_000)] = 200,
    token: str = "",
    device: str = "",
) -> Served:
    """Labels videos over HTTP, and on a page in the browser.

    Args:
        model: model or run directories, published networks such as slow_r50, or org/name on the Hugging Face hub. The first
            one answers where a request names none.
        host: address to listen on.
        port: port to listen on.
        workers: processes that read videos; one more reads those of jobs.
        max_mb: largest upload in megabytes.
        token: file with a token that clients must show; needed for another address than 127.0.0.1.
        device: cpu, cuda, ...; a GPU where there is one if not given.

    Raises:
        SmallBigError: no such model.
    """
    try:
        from smallbignet.serve import server
    except ImportError as error:
        raise SmallBigError("serving needs more packages: pip install 'smallbignet[serve]'", error.name or "") from error
    from smallbignet.serve.models import ServedModel
    from smallbignet.serve.service import Service
    from smallbignet.serve.settings import ServeSettings

    settings = ServeSettings(workers=workers, max_bytes=max_mb * 10**6)
    models = [ServedModel(Path(source).name, source, device) for source in model]
    server.run(Service(models, settings), host, port)
    return Served(f"http://{host}:{port}")


def show(result: Served) -> str:
    """One line."""
    return f"{result.address}: stopped"
