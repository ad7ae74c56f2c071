"""Threads that are begun under an id that is made from a client's name, and a user's runs page by page."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.bounded import run
from tests.support.stores import accept, context_of, opened, raw, stamped

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import Post
from netra_apex.core.events import AgentCancelled, AgentStarted
from netra_apex.core.runs import RunStatus, Seat
from netra_apex.errors import Invalid, NotFound, QueueFull
from netra_apex.stores import Stores
from netra_apex.stores.runs import Which


def test_a_thread_that_is_not_there_begins_under_its_name_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as stores:
            named = {"thread_id": "thr_named", "begins": True}
            first, *others = await asyncio.gather(*(accept(stores, content=f"{n}", **named) for n in range(4)))
            assert {each.thread_id for each in (first, *others)} == {"thr_named"}
            assert len(await raw(stores, "select * from threads")) == 1
            page = await stores.conversations.messages("ada", "thr_named")
            assert page
            assert len(page.items) == 4
            with pytest.raises(NotFound):
                await accept(stores, thread_id="thr_other")

    run(main())


def test_nobody_begins_a_thread_under_the_id_of_somebody_elses(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as stores:
            await accept(stores, thread_id="thr_named", begins=True)
            before = await raw(stores, "select * from threads"), await raw(stores, "select * from runs")
            with pytest.raises(NotFound):
                await accept(stores, user="bob", thread_id="thr_named", begins=True)
            assert (await raw(stores, "select * from threads"), await raw(stores, "select * from runs")) == before

    run(main())


def test_a_post_that_is_refused_begins_no_thread(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as stores:
            full = Seat(executor=None, per_user=1, queued_per_user=1)
            context = UserExecutionContext.new("ada", thread_id="thr_named")
            post = Post(content="hi", thread_id="thr_named", begins=True)
            await accept(stores)
            waiting = UserExecutionContext.new("ada")
            await stores.runs.accept(waiting, Post(content="waits"), agent="helper", seat=full)
            threads = len(await raw(stores, "select * from threads"))
            with pytest.raises(QueueFull):
                await stores.runs.accept(context, post, agent="helper", seat=full)
            with pytest.raises(NotFound):
                await accept(stores, thread_id="thr_named", begins=True, replace="msg_0")
            assert len(await raw(stores, "select * from threads")) == threads

    run(main())


def test_a_user_has_his_runs_page_by_page_and_nobody_elses(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as stores:
            mine = [await accept(stores, content=str(number)) for number in range(5)]
            await accept(stores, user="bob")
            latest_first = sorted((each.run_id for each in mine), reverse=True)
            found: list[str] = []
            cursor = None
            while True:
                page, total = await stores.runs.page("ada", Which(), limit=2, cursor=cursor)
                assert total == 5
                found += [each.run_id for each in page.items]
                if (cursor := page.next_cursor) is None:
                    break
            assert found == latest_first
            await _end(stores, mine[0].run_id)
            for which, wanted in (
                (Which(thread_id=mine[1].thread_id), [mine[1].run_id]),
                (Which(status=RunStatus.CANCELLED), [mine[0].run_id]),
                (Which(status=RunStatus.COMPLETED), []),
                (Which(since=datetime.now(UTC) + timedelta(hours=1)), []),
                (Which(since=datetime.now(UTC) - timedelta(hours=1)), latest_first),
            ):
                page, total = await stores.runs.page("ada", which, limit=10)
                assert ([each.run_id for each in page.items], total) == (wanted, len(wanted))
            page, total = await stores.runs.page("bob", Which(thread_id=mine[1].thread_id), limit=10)
            assert (page.items, total) == ((), 0)
            with pytest.raises(Invalid):
                await stores.runs.page("ada", Which(), limit=2, cursor="forged")

    run(main())


async def _end(stores: Stores, run_id: str) -> None:
    stored = await stores.runs.run("ada", run_id)
    assert stored
    await stores.runs.append(context_of(stored, "ada"), stamped(AgentStarted(task="x"), AgentCancelled(by="ada")))
