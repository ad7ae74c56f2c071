"""What the tests of stores, stream and engine share: stores on a real file, runs in them, and one that fails."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg

from netra_apex.core.budgets import Bill
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import Accepted, Post
from netra_apex.core.events import DurableEvent, encode
from netra_apex.core.ids import new_id
from netra_apex.core.journal import Step
from netra_apex.core.runs import Seat
from netra_apex.errors import StoreError
from netra_apex.settings import Settings
from netra_apex.stores import Stores, open_stores
from netra_apex.stores.runs import RunStore
from netra_apex.stores.sealing import Seal
from netra_apex.stores.sqlite import SQLite
from netra_apex.stores.steps import StepRows

HERE = Seat(executor="exe_tests")


@contextlib.asynccontextmanager
async def opened(
    home: Path, *, executing: bool = False, secret: str | None = None, **settings: Any
) -> AsyncIterator[Stores]:
    """The stores of this home."""
    async with open_stores(Settings.load(home=home, **settings), executing=executing, secret=secret) as stores:
        yield stores


async def raw(stores: Stores, statement: str) -> list[tuple[Any, ...]]:
    """What a statement gives that is asked past the stores, and past row-level security too."""
    if isinstance(stores.database, SQLite):
        return await stores.database.file.write(lambda connection: connection.execute(statement).fetchall())
    connection = await asyncpg.connect(os.environ["TEST_ADMIN_URL"])
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def accept(
    stores: Stores, user: str = "ada", content: str = "hi", *, run_id: str | None = None, **post: Any
) -> Accepted:
    """A message that was posted."""
    context = UserExecutionContext(
        user_id=user,
        thread_id=post.get("thread_id") or new_id("thr"),
        run_id=run_id or new_id("run"),
        request_id=new_id("req"),
    )
    return (await stores.runs.accept(context, Post(content=content, **post), agent="helper", seat=HERE)).accepted


def context_of(accepted: Accepted, user: str = "ada") -> UserExecutionContext:
    """The context of an accepted run."""
    return UserExecutionContext(
        user_id=user, thread_id=accepted.thread_id, run_id=accepted.run_id, request_id=new_id("req")
    )


def stamped(*events: DurableEvent, first: int = 1) -> list[tuple[DurableEvent, str]]:
    """Events numbered from `first`, with their JSON."""
    numbered = [_with_seq(event, seq) for seq, event in enumerate(events, first)]
    return [(event, encode(event)) for event in numbered]


def _with_seq(event: DurableEvent, seq: int) -> DurableEvent:
    values = {name: getattr(event, name) for name in event.__struct_fields__}
    return type(event)(**values | {"seq": seq})


class Unsteady(RunStore):
    """A store of runs on a real database that fails, or waits, when the test says so.

    `failing` says for an append whether it fails; `gate` holds each append until it is set.
    """

    def __init__(self, stores: Stores) -> None:
        super().__init__(stores.database, 100, StepRows(Seal("a secret of the tests, which no server has")))
        self.failing: Callable[[Sequence[DurableEvent]], bool] = lambda _: False
        self.gate: asyncio.Event | None = None
        self.failed = 0

    def append(
        self,
        context: UserExecutionContext,
        events: Sequence[tuple[DurableEvent, str]],
        steps: Sequence[Step] = (),
        *,
        epoch: int = 1,
        bill: Bill | None = None,
        shown_at: int | None = None,
    ) -> Awaitable[None]:
        if self.gate is not None:
            storing = partial(super().append, context, events, steps, epoch=epoch, bill=bill, shown_at=shown_at)
            return asyncio.get_running_loop().create_task(_held(self.gate, storing))
        if self.failing([event for event, _ in events]):
            self.failed += 1
            refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            refused.set_exception(StoreError("the database refused: disk is full"))
            return refused
        return super().append(context, events, steps, epoch=epoch, bill=bill, shown_at=shown_at)


async def _held(gate: asyncio.Event, storing: Callable[[], Awaitable[None]]) -> None:
    await gate.wait()
    await storing()
