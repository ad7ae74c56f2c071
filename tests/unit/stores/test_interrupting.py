"""What is said to a thread whose run is under way, on both databases: steering it, interrupting it, ending it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run
from tests.support.stores import context_of, opened, raw, stamped

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import Accepted, Admitted, Post
from netra_apex.core.events import AgentCancelled, AgentFailed, AgentStarted, DurableEvent
from netra_apex.core.runs import Seat
from netra_apex.errors import Forbidden, QueueFull
from netra_apex.stores import Stores
from netra_apex.stores.sqlite import SQLite

SEAT = Seat(executor="exe_here", per_user=9, queued_per_user=3)
FAILED = AgentFailed(code="agent_error", message="m", retryable=False)


def with_stores(home: Path, main: Callable[[Stores], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with opened(home) as stores:
            await main(stores)

    run(bounded())


async def post(stores: Stores, *, run_id: str | None = None, **values: Any) -> Admitted:
    context = UserExecutionContext.new("ada", thread_id=values.get("thread_id"))
    if run_id is not None:
        context = UserExecutionContext(
            user_id="ada", thread_id=context.thread_id, run_id=run_id, request_id=context.request_id
        )
    return await stores.runs.accept(context, Post(**{"content": "hi"} | values), agent="helper", seat=SEAT)


async def tell(stores: Stores, accepted: Accepted, event: DurableEvent, seq: int) -> None:
    await stores.runs.append(context_of(accepted, "ada"), stamped(event, first=seq))


def test_a_message_that_interrupts_has_all_before_it_cancelled_in_the_same_transaction(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        # Ids are made by many clocks: one that is greater may be the older one's.
        first = (await post(stores, run_id="run_z")).accepted
        second = (await post(stores, run_id="run_y", thread_id=first.thread_id)).accepted
        other = (await post(stores, run_id="run_x")).accepted
        third = await post(stores, run_id="run_m", thread_id=first.thread_id, if_busy="interrupt")
        assert third.queued is not None
        assert sorted(await stores.runs.cancels_requested()) == [(second.run_id, "ada"), (first.run_id, "ada")]
        assert other.run_id == "run_x"

    with_stores(tmp_path, main)


def test_no_more_messages_are_given_to_a_run_than_may_wait(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        first = (await post(stores)).accepted
        for _ in range(SEAT.queued_per_user):
            assert (await post(stores, thread_id=first.thread_id, if_busy="steer")).steers
        with pytest.raises(QueueFull):
            await post(stores, thread_id=first.thread_id, if_busy="steer")

    with_stores(tmp_path, main)


@pytest.mark.parametrize("ending", [FAILED, AgentCancelled(by="ada")], ids=["failed", "cancelled"])
def test_what_came_too_late_gets_a_run_unless_the_run_was_cancelled(tmp_path: Path, ending: DurableEvent) -> None:
    async def main(stores: Stores) -> None:
        given: list[tuple[str, str, str]] = []
        stores.runs.on_given = lambda *which: given.append(which)
        first = (await post(stores)).accepted
        await post(stores, thread_id=first.thread_id, if_busy="steer", content="one thing")
        await tell(stores, first, AgentStarted(task="hi"), 1)
        await tell(stores, first, ending, 2)
        runs = [each.run_id for each in await stores.runs.all_runs() if each.run_id != first.run_id]
        assert [run_id for _, _, run_id in given] == runs
        assert len(runs) == (ending is FAILED)
        assert {(user, thread) for user, thread, _ in given} <= {("ada", first.thread_id)}
        said = (await stores.conversations.messages("ada", first.thread_id)).items
        assert "one thing" in [each.content for each in said]

    with_stores(tmp_path, main)


def test_runs_that_end_while_they_are_steered_keep_nobody_waiting_for_a_deadlock(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        for _ in range(12):
            first = (await post(stores)).accepted
            await tell(stores, first, AgentStarted(task="hi"), 1)
            steers = [post(stores, thread_id=first.thread_id, if_busy="steer") for _ in range(3)]
            await asyncio.gather(*steers[:2], tell(stores, first, FAILED, 2), steers[2])
            for each in await stores.runs.all_runs():
                if not each.status.ended:
                    accepted = Accepted(
                        run_id=each.run_id, thread_id=each.thread_id, message_id=each.message_id, status=each.status
                    )
                    await tell(stores, accepted, AgentCancelled(by="ada"), each.last_seq + 1)
        if not isinstance(stores.database, SQLite):
            await stores.database.write(lambda tx: tx.one("select pg_stat_force_next_flush()", {}), user=None)
            found = await raw(stores, "select deadlocks from pg_stat_database where datname = current_database()")
            assert found == [(0,)]

    with_stores(tmp_path, main)


def test_a_message_steers_no_run_that_may_what_its_sender_may_not(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        async def sent(may: set[str], **values: Any) -> Admitted:
            context = UserExecutionContext.new("ada", thread_id=values.get("thread_id"), permissions=may)
            post = Post(content="hi", **values)
            return await stores.runs.accept(context, post, agent="helper", seat=SEAT)

        first = (await sent({"orders:refund"})).accepted
        with pytest.raises(Forbidden, match="orders:refund"):
            await sent(set(), thread_id=first.thread_id, if_busy="steer")
        assert (await sent({"orders:refund", "more"}, thread_id=first.thread_id, if_busy="steer")).steers

    with_stores(tmp_path, main)
