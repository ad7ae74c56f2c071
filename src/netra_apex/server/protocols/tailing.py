"""A run from a cursor to its ending, or to where it only waits for a person; and the stream that begins it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from netra_apex.core.events import DurableEvent, PassingFrame, decode
from netra_apex.core.runs import RunStatus
from netra_apex.runtime import Runtime
from netra_apex.server.auth import Principal
from netra_apex.server.eventstream import EventStream, Frames
from netra_apex.server.services import Services
from netra_apex.stream.follower import Follower

LOOK_SECONDS = 0.1  # no event tells that a run waits: what else it does may be long, as a call beside the one that asks

_passing: "msgspec.json.Decoder[PassingFrame]" = msgspec.json.Decoder(PassingFrame)

Heard = tuple[int | None, DurableEvent | PassingFrame]  # with its seq; a passing frame has none


async def tailed(
    runtime: Runtime, user_id: str, follower: Follower, asked: Callable[[], bool]
) -> AsyncGenerator[Heard]:
    """Everything after the cursor, then live.

    Over after the run's ending (`follower.ended`), and while `asked` says that a person is asked for something: as soon
    as the run does nothing but wait for him.
    """
    news = asyncio.Event()
    if follower.feed is not None:
        follower.feed.add_follower(news.set)
    try:
        while not follower.ended:
            news.clear()
            for seq, text in await runtime.reader.advance(user_id, follower):
                yield (None, _passing.decode(text)) if seq is None else (seq, decode(text))
            if follower.behind or follower.ended:
                continue
            if not asked():
                await news.wait()
            elif not news.is_set():
                if await waits(runtime, user_id, follower):
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await news.wait()
    finally:
        if follower.feed is not None:
            follower.feed.remove_follower(news.set)


async def waits(runtime: Runtime, user_id: str, follower: Follower) -> bool:
    """Whether the run does nothing but wait for a person, and has told nothing after the cursor."""
    run = await runtime.stores.runs.run(user_id, follower.run_id)
    return run is None or (run.status is RunStatus.WAITING and run.last_seq == follower.seq)


class OpeningStream(Response):
    """An event stream that begins with something to do, such as a run to be started.

    Within one of the user's places: where there is none, nothing has been done. Whatever refuses does so before
    anything is sent, while a status can still say so.
    """

    media_type = "text/event-stream"

    def __init__(self, services: Services, principal: Principal, begin: Callable[[], Awaitable[Frames]]) -> None:
        super().__init__()
        self._services = services
        self._principal = principal
        self._begin = begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begins, and streams."""
        services, principal = self._services, self._principal
        with services.runtime.manager.stream(principal.user_id):
            stream = EventStream(
                await self._begin(),
                contextlib.nullcontext(),
                services.runtime.settings.heartbeat_seconds,
                lambda: services.authenticator.still_valid(principal),
            )
            await stream(scope, receive, send)
