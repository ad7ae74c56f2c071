"""What every HTTP exchange is held to: a body's size, and headers that keep browsers careful."""

import asyncio
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netra_apex.server.problems import problem

# A client that is still sending when it is answered and cut off sees a reset connection, not the answer: so that it
# can read why, so much more is read and thrown away, for so long.
SWALLOW_BYTES = 16 * 1024 * 1024
SWALLOW_SECONDS = 5.0
MULTIPART_BYTES = 64 * 1024  # of an upload's body besides the file
_UPLOADS = re.compile(r"/api/threads/[^/]+/files$")

API_POLICY = "default-src 'none'; frame-ancestors 'none'"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": API_POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class SecurityHeaders:
    """Sets each header that an answer has not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sending)


class BodyLimit:
    """Refuses a body over the limit with 413: by what it announces, and by what arrives.

    `limit` is in bytes, `upload` that of a file, which has room for the rest of its body besides.
    """

    def __init__(self, app: ASGIApp, limit: int, upload: int) -> None:
        self._app = app
        self._limit = limit
        self._upload = max(limit, upload + MULTIPART_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, counting."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._upload if _UPLOADS.search(scope["path"]) else self._limit
        announced = _content_length(scope)
        if announced is not None and announced > limit:
            ended = announced <= SWALLOW_BYTES and await _swallow(receive)
            headers = {} if ended else {"Connection": "close"}
            response = problem(413, "too_large", _sentence(limit), headers=headers)
            await response(scope, receive, send)
            return
        arrived = 0

        async def counting() -> Message:
            nonlocal arrived
            message = await receive()
            if message["type"] == "http.request":
                arrived += len(message.get("body", b""))
                if arrived > limit:
                    ended = not message.get("more_body", False) or await _swallow(receive)
                    # The framework's own exception: it is the one that its body parser lets through.
                    raise HTTPException(413, _sentence(limit), None if ended else {"Connection": "close"})
            return message

        await self._app(scope, counting, send)


def _sentence(limit: int) -> str:
    return f"the body is over {limit} bytes"


async def _swallow(receive: Receive) -> bool:
    """Reads what is left of the body, within bounds; whether it has ended."""
    left = SWALLOW_BYTES
    try:
        async with asyncio.timeout(SWALLOW_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request":
                    return False
                if not message.get("more_body", False):
                    return True
                left -= len(message.get("body", b""))
    except TimeoutError:
        return False
    return False


def _content_length(scope: Scope) -> int | None:
    value = Headers(scope=scope).get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() else None
