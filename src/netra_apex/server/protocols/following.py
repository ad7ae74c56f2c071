"""A run's events for a request that follows it: to its ending, or to where it does nothing but wait for a person."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from netra_apex.core.events import (
    ApprovalDecided,
    ApprovalRequested,
    DurableEvent,
    PassingFrame,
    QuestionAnswered,
    QuestionAsked,
)
from netra_apex.core.runs import RunStatus
from netra_apex.errors import Unauthenticated
from netra_apex.server.auth import Principal
from netra_apex.server.eventstream import CHECK_SECONDS, given_up
from netra_apex.server.services import Services
from netra_apex.stream.reader import StreamReader

T = TypeVar("T")
LOOK_SECONDS = 0.1  # between two looks whether a run that has asked somebody does nothing else any more

Event = DurableEvent | PassingFrame
_decoder: "msgspec.json.Decoder[Event]" = msgspec.json.Decoder(DurableEvent | PassingFrame)


class Asked:
    """Whom a run waits for: the approvals and questions that are open, in their order."""

    def __init__(self) -> None:
        self.open: dict[str, ApprovalRequested | QuestionAsked] = {}

    def hear(self, event: Event) -> None:
        """An event of the run."""
        match event:
            case ApprovalRequested(approval_id=asked):
                self.open[asked] = event
            case QuestionAsked(question_id=asked):
                self.open[asked] = event
            case ApprovalDecided(approval_id=asked) | QuestionAnswered(question_id=asked):
                self.open.pop(asked, None)
            case _:
                pass


async def events(reader: StreamReader, user_id: str, run_id: str, after: int = 0) -> AsyncGenerator[Event]:
    """A run's events after `after` and its passing frames, to its ending.

    Raises:
        NotFound: the user has no such run.
        AfterOutOfRange: `after` is beyond the last event.
    """
    async with aclosing(reader.follow(user_id, run_id, after)) as told:
        async for _, text in told:
            yield _decoder.decode(text)


async def stored(reader: StreamReader, user_id: str, run_id: str) -> list[DurableEvent]:
    """What the run has told so far. Raises: NotFound: the user has no such run."""
    texts, _ = await reader.read(user_id, run_id, 0)
    return [event for event in map(_decoder.decode, texts) if isinstance(event, DurableEvent)]


async def to_rest(services: Services, user_id: str, run_id: str, after: int = 0) -> AsyncGenerator[Event | None]:
    """As `events`, but it ends, with None, also where the run waits for a person, with all else done.

    Raises:
        NotFound: the user has no such run.
    """
    asked, seq = Asked(), after
    coming: asyncio.Future[Event | None] | None = None
    async with aclosing(events(services.runtime.reader, user_id, run_id, after)) as told:
        try:
            while True:
                coming = coming or asyncio.ensure_future(anext(told, None))
                await asyncio.wait({coming}, timeout=LOOK_SECONDS if asked.open else None)
                if coming.done():
                    event, coming = coming.result(), None
                    if event is None:
                        return
                    asked.hear(event)
                    seq = event.seq if isinstance(event, DurableEvent) else seq
                    yield event
                elif await _waits(services, user_id, run_id, seq) and not coming.done():
                    yield None
                    return
        finally:
            if coming is not None:
                await given_up(coming)


async def _waits(services: Services, user_id: str, run_id: str, seq: int) -> bool:
    """Whether it does nothing but wait, and everything that it has told is told here."""
    run = await services.runtime.stores.runs.run(user_id, run_id)
    return run is not None and run.status is RunStatus.WAITING and run.last_seq == seq


async def while_valid(services: Services, principal: Principal, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What some work gives, for a request that is answered when a run is over: it ends with its login, as streams do.

    A user has as many such requests as runs: one that is sent again by its key begins no run that would count.

    Raises:
        Flood: there are as many already.
        Unauthenticated: the login has ended.
    """
    settings = services.runtime.settings
    with services.runtime.manager.held(principal.user_id, settings.runs_per_user + settings.queued_per_user):
        working = asyncio.ensure_future(work())
        try:
            while not working.done():
                await asyncio.wait({working}, timeout=CHECK_SECONDS)
                if not working.done() and not await services.authenticator.still_valid(principal):
                    raise Unauthenticated("the login has ended: log in again")
            return working.result()
        finally:
            await given_up(working)


async def unless_gone(request: Request, work: Awaitable[T]) -> T | None:
    """What some work gives; None where its client has gone away before, and the work was cancelled."""
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, watching):
            await given_up(task)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
