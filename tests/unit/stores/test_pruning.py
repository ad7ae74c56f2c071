"""What is kept no longer: events and journals of runs that ended long ago. What was said stays."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.bounded import run
from tests.support.stores import accept, context_of, opened, raw, stamped

from netra_apex.core.events import AgentCompleted, AgentStarted, AgentThinking, MessageCompleted
from netra_apex.core.ids import new_id
from netra_apex.core.journal import Step
from netra_apex.core.messages import NO_USAGE
from netra_apex.stores import Stores
from netra_apex.stream.feed import Hub
from netra_apex.stream.reader import StreamReader

LATER = timedelta(days=40)


async def ended(stores: Stores, user: str = "ada") -> str:
    accepted = await accept(stores, user)
    step = Step(key="1", kind="model", name="model", digest="d", state="finished", result={})
    events = stamped(
        AgentStarted(task="hi"),
        AgentThinking(text="hm", step=1),
        MessageCompleted(message_id=new_id("msg"), content="hello"),
        AgentCompleted(output="hello", usage=NO_USAGE, duration_ms=1),
    )
    await stores.runs.append(context_of(accepted, user), events, [step])
    return accepted.run_id


def test_what_ended_long_ago_loses_its_events_and_its_journal_and_keeps_what_was_said(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path, secret="a secret of the tests") as stores:
            ids = [await ended(stores), await ended(stores, "bob")]
            under_way = await accept(stores)
            await stores.runs.append(context_of(under_way), stamped(AgentStarted(task="hi")))
            assert await stores.runs.prune(datetime.now(UTC) - timedelta(days=1)) == 0
            assert await stores.runs.prune(datetime.now(UTC) + LATER) == 2
            assert await stores.runs.prune(datetime.now(UTC) + LATER) == 0
            assert await raw(stores, "select count(*) from steps") == [(0,)]
            assert await raw(stores, "select run_id from events") == [(under_way.run_id,)]
            run_now = await stores.runs.run("ada", ids[0])
            assert run_now
            assert (run_now.last_seq, run_now.status) == (4, "completed")
            page = await stores.conversations.messages("ada", run_now.thread_id)
            assert page
            assert [message.content for message in page.items] == ["hi", "hello"]

    run(main())


def test_it_is_done_a_few_at_a_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path, secret="a secret of the tests") as stores:
            for _ in range(5):
                await ended(stores)
            counts = [await stores.runs.prune(datetime.now(UTC) + LATER, 2) for _ in range(4)]
            assert counts == [2, 2, 1, 0]

    run(main())


def test_who_follows_a_run_whose_events_are_gone_is_told_nothing_and_let_go(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path, secret="a secret of the tests") as stores:
            run_id = await ended(stores)
            await stores.runs.prune(datetime.now(UTC) + LATER)
            reader = StreamReader(stores.runs, Hub())
            assert await reader.read("ada", run_id, 0) == ([], 4)
            async with asyncio.timeout(5):
                assert [told async for told in reader.follow("ada", run_id, 0)] == []
                assert [told async for told in reader.follow("ada", run_id, 2)] == []

    run(main())
