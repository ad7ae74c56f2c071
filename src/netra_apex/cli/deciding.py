"""Runs that wait for a decision or an answer, as `netra chat` shows them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from netra_apex.cli.transcript import Transcript
from netra_apex.client import ApprovalInfo, Client, Frame, Listing, LiveRun, QuestionInfo, ServerUnreachable
from netra_apex.core.runs import RunStatus

LOOK_SECONDS = 0.2
T = TypeVar("T")


def waiting_calls(client: Client) -> AsyncGenerator[ApprovalInfo]:
    """Everything that waits for this user's decision, the oldest first."""
    return _each(lambda cursor: client.approvals(cursor=cursor))


def open_questions(client: Client) -> AsyncGenerator[QuestionInfo]:
    """Every question that waits for this user's answer, the oldest first."""
    return _each(lambda cursor: client.questions(cursor=cursor))


async def _each(page_at: Callable[[str | None], Awaitable[Listing[T]]]) -> AsyncGenerator[T]:
    """What is on all pages of a list."""
    cursor: str | None = None
    while True:
        page = await page_at(cursor)
        for each in page.items:
            yield each
        if (cursor := page.next_cursor) is None:
            return


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run and how far it was shown."""

    run: LiveRun
    transcript: Transcript

    def is_in(self, thread_id: str | None) -> bool:
        """Whether it waits in this conversation."""
        return thread_id is not None and self.transcript.waits_in == thread_id

    async def show(self, client: Client) -> bool:
        """Shows the run on; True where it now does nothing but wait for a person, False where it has ended."""
        coming: asyncio.Task[Frame | None] | None = None
        try:
            while True:
                coming = coming or asyncio.create_task(self._next())
                # No event tells that a run waits: what else it does may be long, as a call beside the one that waits.
                await asyncio.wait({coming}, timeout=LOOK_SECONDS if self.transcript.waits_in else None)
                if coming.done():
                    if (frame := coming.result()) is None:
                        return False
                    self.transcript.show(frame)
                    coming = None
                elif self.transcript.waits_in and await self._waits(client):
                    return True
        finally:
            if coming is not None:
                coming.cancel()

    async def _next(self) -> Frame | None:
        return await anext(self.run, None)

    async def _waits(self, client: Client) -> bool:
        with contextlib.suppress(ServerUnreachable):  # the connection comes back by itself, or says so
            return (await client.run(self.run.run_id)).status is RunStatus.WAITING
        return False
