"""From the body of a request to a temporary file, counted and timed as it comes."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import Request

from smallbignet.data.containers import VIDEO_EXTENSIONS
from smallbignet.serve.multipart import FormFile
from smallbignet.serve.refusals import Refusal, busy
from smallbignet.serve.settings import ServeSettings

RAW = re.compile(r"(video/[\w.+-]+|application/(octet-stream|mxf|mp4|ogg|vnd\.rn-realmedia)|image/(gif|apng|png))?")
FORM_EXTRA = 2**16  # bytes that a form may have besides the file
LONGEST_NAME = 100  # characters


@dataclass(frozen=True)
class Upload:
    """A file that a client sent.

    Attributes:
        file: where it is, under a name of our own.
        name: the client's name, made harmless.
        size: bytes.
    """

    file: Path
    name: str
    size: int


class Uploads:
    """The folder with the temporary files of a server."""

    def __init__(self, settings: ServeSettings):
        self.settings = settings
        self.folder = TemporaryDirectory(prefix="smallbig-serve-")
        self.num_bytes = 0  # in all files
        self.num_coming = 0  # files that are being sent

    def close(self) -> None:
        """Removes the folder."""
        self.folder.cleanup()

    def remove(self, upload: Upload) -> None:
        """Removes an upload."""
        upload.file.unlink(missing_ok=True)
        self.num_bytes -= upload.size

    async def receive(self, request: Request, name: str) -> Upload:
        """Writes the video in the body of a request to a file.

        Args:
            name: of the file, where the body is the file itself. A form has the name in it.

        Raises:
            Refusal: the body is too large, too slow, empty, or of a kind that is not taken.
            ClientDisconnect: the client has gone.
        """
        content_type = request.headers.get("content-type", "")
        kind = content_type.partition(";")[0].strip().lower()
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(415, "a compressed body is not taken: leave out Content-Encoding")
        if kind != "multipart/form-data" and not RAW.fullmatch(kind):
            raise Refusal(415, "send the video as the body, of type video/mp4 or application/octet-stream, or as a form's file")
        path = Path(self.folder.name) / secrets.token_hex(16)
        self.num_coming += 1
        try:
            with path.open("xb", buffering=2**20) as file:
                if kind == "multipart/form-data":
                    form = FormFile(content_type, file.write)
                    async for chunk in self._chunks(request, FORM_EXTRA):
                        form.write(chunk)
                    form.check()
                    name = form.name
                else:
                    async for chunk in self._chunks(request, 0):
                        file.write(chunk)
                size = file.tell()
            if not size:
                raise Refusal(422, "the file is empty")
            name = harmless(name)
            named = path.with_suffix(known_suffix(name))
            path.rename(named)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            self.num_coming -= 1
        self.num_bytes += size
        return Upload(named, name, size)

    async def _chunks(self, request: Request, extra: int) -> AsyncIterator[bytes]:
        """Yields the body, as long as it is small and fast enough."""
        most = self.settings.max_bytes + extra
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > most:
            raise self._too_large()
        if self.num_bytes + most > self.settings.most_uploads * self.settings.max_bytes:
            raise busy(429, "the videos that wait take too much room: try again later", self.settings.pause_seconds)
        chunks = request.stream()
        started = time.monotonic()
        size = 0
        self.num_bytes += most  # kept free for this one until it is here
        try:
            while True:
                try:
                    chunk = await asyncio.wait_for(anext(chunks), self.settings.pause_seconds)
                except asyncio.TimeoutError:
                    raise Refusal(408, f"nothing came for {self.settings.pause_seconds:g} seconds") from None
                except StopAsyncIteration:
                    return
                size += len(chunk)
                if size > most:
                    raise self._too_large()
                seconds = time.monotonic() - started - self.settings.pause_seconds
                if size < self.settings.slowest * seconds:
                    raise Refusal(408, f"the body comes too slowly: send at least {self.settings.slowest:,} bytes per second")
                yield chunk
        finally:
            self.num_bytes -= most

    def _too_large(self) -> Refusal:
        return Refusal(413, f"the video is too large: {self.settings.max_bytes / 1e6:g} MB are the most")


def harmless(name: str) -> str:
    """Returns a file's name without folders, unprintable characters and most of its length; "upload" if nothing is left."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(character for character in last if character.isprintable()).strip()[-LONGEST_NAME:] or "upload"


def known_suffix(name: str) -> str:
    """Returns the usual suffix of a kind of video that a name ends in: FFmpeg looks at it where the bytes leave a doubt."""
    return next((suffix for suffix in sorted(VIDEO_EXTENSIONS) if name.lower().endswith(suffix)), "")
