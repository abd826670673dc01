"""`smallbig serve`: a server that labels videos, and its page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from smallbignet.data.options import ServedVideos
from smallbignet.errors import SmallBigError
from smallbignet.utils.checks import Range, checked
from smallbignet.utils.console import console


@dataclass(frozen=True)
class Served:
    """Where a server was, and which models it had."""

    address: str
    models: list[str]


@checked
def serve(
    model: list[str],
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Range(ge=0, le=65535)] = 8000,
    workers: Annotated[int, Range(ge=1, le=256)] = 2,
    max_mb: Annotated[int, Range(ge=1, le=100_000)] = 200,
    token: str = "",
    source: ServedVideos = ServedVideos(),
    device: str = "",
) -> Served:
    """Labels videos over HTTP, and on a page in the browser, until Ctrl-C or SIGTERM.

    Args:
        model: model, run or exported directories, published networks such as slow_r50, or org/name on the Hugging Face hub.
            The first one answers where a request names none.
        host: address to listen on; another one than this machine's own needs --token.
        port: port to listen on; 0 for any free one.
        workers: number of processes that read videos; one more reads those of jobs.
        max_mb: largest upload in megabytes.
        token: file with a token, which clients must send then.
        source: how videos are opened, and the largest ones.
        device: cpu, cuda, ...; a GPU where there is one if not given.

    Raises:
        SmallBigError: no such model or file, a port that is in use, an address that needs a token, or packages that are missing
            or too old.
    """
    try:
        from smallbignet.serve import access, server
    except ImportError as error:
        raise SmallBigError("serving needs more packages: pip install 'smallbignet[serve]'", error.name or "") from error
    from smallbignet.serve.models import ServedModel
    from smallbignet.serve.service import Service
    from smallbignet.serve.settings import ServeSettings

    versions = server.check_versions()
    secret = access.read_token(token) if token else ""
    access.check_host(host, secret)
    names = find_names(model)
    listener = server.bind(host, port)
    models = [ServedModel(name, source, device) for name, source in zip(names, model, strict=True)]
    settings = ServeSettings(workers=workers, max_bytes=max_mb * 10**6, token=secret, only_local=not secret, videos=source)
    address = f"http://{host}:{listener.getsockname()[1]}"
    who = "everybody with the token" if secret else "this machine"
    console.print(f"{address} serves {', '.join(names)} to {who}, with {versions}; Ctrl-C stops it")
    server.run(Service(models, settings), listener)
    return Served(address, names)


def find_names(sources: list[str]) -> list[str]:
    """Return what models are called in requests: the last part of their paths.

    Raises:
        SmallBigError: two have the same name.
    """
    names = [Path(source).name or Path(source).resolve().name for source in sources]
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise SmallBigError("two models have the same name, which is the last part of the path: rename or copy one", name)
    return names


def show(result: Served) -> str:
    """One line."""
    return f"{result.address}: stopped"
