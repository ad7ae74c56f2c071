"""Reading the body of a provider's answer over aiohttp, token by token but not at the price of one wake-up each."""

import asyncio

import aiohttp

TRAILER_SECONDS = 0.25
"""What a server may take from `[DONE]` to the end of the body, so that its connection can be used again."""


class Gathering:
    """Lets what comes within a moment come together, so that it is read, decoded and told at once.

    Only the reader waits: the socket is read meanwhile, and the end of the body ends the wait, so an answer's last
    piece is never late.
    """

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        content.on_eof(self._wake)

    async def wait(self, seconds: float) -> None:
        """Returns after so long, or at the end of the body."""
        if not seconds or self._content.is_eof():
            return
        self._waiting = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._wake)
        try:
            await self._waiting
        finally:
            timer.cancel()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


async def some(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, up to `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    while size < limit and (data := await response.content.readany()):
        parts.append(data)
        size += len(data)
    return b"".join(parts)[:limit]


async def drain(content: aiohttp.StreamReader) -> None:
    """Reads what is left of a body whose answer is whole, for a moment."""
    try:
        async with asyncio.timeout(TRAILER_SECONDS):
            while await content.readany():
                pass
    except (TimeoutError, aiohttp.ClientError):
        return
