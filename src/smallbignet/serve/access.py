"""Who may ask a server: programs on this machine, or everybody who has the token."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path

from smallbignet.errors import SmallBigError
from smallbignet.utils.console import console

SHORTEST = 16  # characters of a token
ADVICE = "make one with `openssl rand -hex 32`"


def read_token(file: str) -> str:
    """Returns the token in a file. Warns where others on this machine can read it.

    Raises:
        SmallBigError: there is no such file, or no token of at least 16 letters, digits and signs in it.
    """
    path = Path(file)
    if not path.is_file():
        raise SmallBigError(f"there is no such file with a token; {ADVICE}", f"--token {file}")
    token = path.read_text(encoding="utf-8", errors="replace").strip()
    if not token:
        raise SmallBigError(f"the file with the token is empty; {ADVICE}", f"--token {file}")
    if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise SmallBigError(f"a token is one word of at least {SHORTEST} letters, digits or signs; {ADVICE}", f"--token {file}")
    if path.stat().st_mode & 0o004:
        console.print(f"warning: everybody on this machine can read the token: chmod 600 {file}")
    return token


def check_host(host: str, token: str) -> None:
    """Checks that others than this machine are let in only with a token.

    Raises:
        SmallBigError: there is no token, and other machines can reach the address.
    """
    if not token and not is_loopback(host):
        what = "without a token, only this machine may ask: leave out --host, or give a file with --token"
        raise SmallBigError(what, f"--host {host}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        found = socket.getaddrinfo(host, None)
    except OSError as error:
        raise SmallBigError("there is no such address", f"--host {host}") from error
    return all(ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)
