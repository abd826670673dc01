"""The file in a multipart form, found as the bytes of the form come."""

from __future__ import annotations

from collections.abc import Callable

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from smallbignet.serve.refusals import Refusal

FIELD = b"file"  # the name of the field with the video


class FormFile:
    """Passes on the file in a form.

    Args:
        content_type: of the request.
        write: called with the bytes of the file as they come.

    Raises:
        Refusal: the type names no boundary.
    """

    def __init__(self, content_type: str, write: Callable[[bytes], object]):
        self.write_file = write
        self.name = ""
        self.num_files = 0
        self.is_in_file = False
        self.is_ended = False
        self.header = {b"field": b"", b"value": b""}
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise Refusal(400, "the Content-Type of a form names its boundary")
        self.parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": lambda data, start, end: self._add(b"field", data[start:end]),
                "on_header_value": lambda data, start, end: self._add(b"value", data[start:end]),
                "on_header_end": self._end_header,
                "on_part_data": self._pass_on,
                "on_end": self._end,
            },
        )

    def write(self, chunk: bytes) -> None:
        """Reads the next bytes of the form.

        Raises:
            Refusal: it is not a form, or has two files.
        """
        try:
            self.parser.write(chunk)
        except FormParserError:
            raise Refusal(400, "the body is not a multipart form") from None

    def check(self) -> None:
        """Raises a Refusal where the form is cut off or has no file."""
        if not self.is_ended:
            raise Refusal(400, "the form ends before its last boundary")
        if not self.num_files:
            raise Refusal(400, f"the form has no file: send it as the field {FIELD.decode()}")

    def _begin_part(self) -> None:
        self.is_in_file = False

    def _add(self, part: bytes, data: bytes) -> None:
        self.header[part] += data

    def _end_header(self) -> None:
        if self.header[b"field"].lower() == b"content-disposition":
            options = parse_options_header(self.header[b"value"])[1]
            if options.get(b"name") == FIELD and b"filename" in options:
                self.is_in_file = True
                self.num_files += 1
                self.name = options[b"filename"].decode("utf-8", "replace")
        self.header = {b"field": b"", b"value": b""}
        if self.num_files > 1:
            raise Refusal(400, "the form has two files: send one request for each")

    def _pass_on(self, data: bytes, start: int, end: int) -> None:
        if self.is_in_file:
            self.write_file(data[start:end])

    def _end(self) -> None:
        self.is_ended = True
