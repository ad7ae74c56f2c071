"""A file that is uploaded, read as it comes: the one part of a `multipart/form-data` body (RFC 7578)."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from netra_apex.errors import Invalid

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD = "file"
WANTED = f"the body must be multipart/form-data with the file in its one field {FIELD!r}"


class Upload:
    """The file in a body. `name` first, then `content`, each once."""

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        media_type, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if media_type != b"multipart/form-data" or not boundary:
            raise Invalid(WANTED)
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._part,
            "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_headers_finished": self._headers,
            "on_part_data": lambda data, start, end: self._data.extend(data[start:end]),
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise Invalid(WANTED) from error
        self._body = body
        self._field, self._value, self._data = bytearray(), bytearray(), bytearray()
        self._disposition = b""
        self._name: str | None = None
        self._ended = False

    async def name(self) -> str:
        """What the client calls the file.

        Raises:
            Invalid: the body is none, or its first part is no file.
        """
        while self._name is None:
            if not await self._more():
                raise Invalid(WANTED)
        return self._name

    async def content(self) -> AsyncGenerator[bytes]:
        """What is in it, as it comes.

        Raises:
            Invalid: the body breaks off, or has more than the file.
        """
        while True:
            if self._data:
                piece = bytes(self._data)
                self._data.clear()
                yield piece
            elif not await self._more():
                break
        if not self._ended:
            raise Invalid("the body breaks off in the middle of the file")

    async def _more(self) -> bool:
        """Reads on; False at the end of the body."""
        try:
            piece = await anext(self._body, b"")
        except ClientDisconnect as error:
            raise Invalid("the connection broke off in the middle of the file") from error
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise Invalid(f"{WANTED}: {error}") from error
        return bool(piece)

    def _part(self) -> None:
        if self._name is not None:
            raise Invalid(f"{WANTED}, and it has more")

    def _header(self) -> None:
        if bytes(self._field).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != FIELD.encode() or b"filename" not in options:
            raise Invalid(WANTED)
        self._name = options[b"filename"].decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True
