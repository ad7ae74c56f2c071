"""A run's stream as server-sent events (WHATWG HTML, 9.2): durable events have an `id:`, passing frames none."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, aclosing
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from netra_apex.errors import Invalid, Refused

CHECK_SECONDS = 5.0  # how long a stream outlives its login at most
MAX_SEQ = 2**63 - 1
Frames = AsyncGenerator[tuple[int | None, str]]

HEARTBEAT = ": still here\n\n"


def after_of(last_event_id: str | None, after: int) -> int:
    """Where to go on: `Last-Event-ID`, which a browser sends by itself, goes before `?after`.

    Raises:
        Invalid: it is no number of an event.
    """
    if last_event_id is None or last_event_id == "":
        return after
    # Its length first: Python refuses to read very long numbers.
    if not (last_event_id.isascii() and last_event_id.isdigit()) or len(last_event_id) > len(str(MAX_SEQ)):
        raise Invalid("Last-Event-ID is not the number of an event")
    return min(int(last_event_id), MAX_SEQ)


def wants_stream(accept: str | None) -> bool:
    """Whether an `Accept` header asks for an event stream."""
    media = (part.partition(";")[0].strip().lower() for part in (accept or "").split(","))
    return "text/event-stream" in media


class EventStream(StreamingResponse):
    """Tells frames as they come, to the run's ending.

    One frame is asked for when the one before has gone to the client, so a slow client holds up nobody and gathers
    nothing here. A comment goes out when nothing has been told for `heartbeat` seconds, so that a client that is gone
    is noticed; a login that has ended ends its streams.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        frames: Frames,
        place: AbstractContextManager[None],
        heartbeat: float,
        still_valid: Callable[[], Awaitable[bool]],
    ) -> None:
        self._frames = frames
        self._place = place
        self._heartbeat = heartbeat
        self._still_valid = still_valid
        # nginx would otherwise keep the stream back to send it in large pieces.
        super().__init__(self._told(), headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Streams, within one of the user's places; without one it is refused, before anything is sent."""
        with self._place:
            await super().__call__(scope, receive, send)

    def written(self, seq: int | None, text: str) -> str:
        """One frame on the wire."""
        # JSON text has no line ends of its own, so one data line holds it.
        return f"data: {text}\n\n" if seq is None else f"id: {seq}\ndata: {text}\n\n"

    async def _told(self) -> AsyncGenerator[str]:
        checked = spoke = time.monotonic()
        async with aclosing(self._frames):
            coming: asyncio.Future[tuple[int | None, str] | None] | None = None
            try:
                yield HEARTBEAT
                while True:
                    coming = coming or asyncio.ensure_future(_next(self._frames))
                    await asyncio.wait({coming}, timeout=min(self._heartbeat, CHECK_SECONDS))
                    now = time.monotonic()
                    if now - checked >= CHECK_SECONDS:
                        checked = now
                        if not await self._still_valid():
                            return
                    if coming.done():
                        frame, coming = coming.result(), None
                        if frame is None:
                            return
                        yield self.written(*frame)
                        spoke = now
                    elif now - spoke >= self._heartbeat:
                        yield HEARTBEAT
                        spoke = now
            finally:
                if coming is not None:
                    await given_up(coming)


async def given_up(task: "asyncio.Future[Any]") -> None:
    """Cancels a task, and waits until it has ended, whatever else happens: what it works with is closed next."""
    task.cancel()
    while not task.done():
        # Whoever waits here is mostly cancelled himself, and by anyio again and again.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})


async def _next(frames: Frames) -> tuple[int | None, str] | None:
    try:
        return await anext(frames, None)
    except Refused:
        # It was there when the stream began: the owner has deleted it since.
        return None
