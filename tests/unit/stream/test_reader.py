"""Reading a run's stream: finite or to the end, for its owner alone, replay and live as one."""

import asyncio
import json
from typing import Any

import pytest
from tests.support.bounded import run, turns
from tests.support.memory_log import Telling

from netra_apex.core.events import AgentCompleted, AgentStarted, AgentThinking
from netra_apex.core.messages import NO_USAGE
from netra_apex.core.runs import Run
from netra_apex.errors import AfterOutOfRange, NotFound
from netra_apex.stream.emitter import UserWebSocketEmitter
from netra_apex.stream.feed import RunFeed
from netra_apex.stream.follower import Told
from netra_apex.stream.reader import PAGE

STARTED = AgentStarted(task="t")
THOUGHT = AgentThinking(text="hm", step=1)
COMPLETED = AgentCompleted(output="o", usage=NO_USAGE, duration_ms=1)


async def tell(emitter: UserWebSocketEmitter, *events: Any) -> None:
    await emitter.voice("helper").emit(*events)


async def all_of(telling: Telling, run_id: str, after: int = 0, user: str = "ada") -> list[Told]:
    return [told async for told in telling.reader.follow(user, run_id, after)]


def test_read_gives_the_events_after_a_cursor_and_the_last_seq_over_many_pages() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        count = 2 * PAGE + 3
        await tell(emitter, STARTED, *[THOUGHT] * (count - 1))
        run_id = emitter.context.run_id
        for after in (0, 1, PAGE, count - 1, count):
            found, last = await telling.reader.read("ada", run_id, after)
            assert [json.loads(body)["seq"] for body in found] == list(range(after + 1, count + 1))
            assert last == count

    run(main())


@pytest.mark.parametrize("ended", [True, False])
def test_reading_another_users_run_is_as_reading_one_that_does_not_exist(ended: bool) -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter("ada")
        await tell(emitter, STARTED, THOUGHT, *([COMPLETED] if ended else []))
        for ident in (emitter.context.run_id, "run_nowhere"):
            for after in (0, 99):
                for read in (telling.reader.read, telling.reader.follower):
                    with pytest.raises(NotFound, match=f"^there is no run {ident}$"):
                        await read("eve", ident, after)
                with pytest.raises(NotFound):
                    await all_of(telling, ident, after, "eve")
        assert telling.hub.live("eve", emitter.context.run_id) is None

    run(main())


def test_a_cursor_beyond_the_last_event_is_refused_and_says_which_that_is() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        await tell(emitter, STARTED, THOUGHT)
        for read in (telling.reader.read, telling.reader.follower):
            with pytest.raises(AfterOutOfRange, match=r"is 2: nothing can come after 3"):
                await read("ada", emitter.context.run_id, 3)

    run(main())


@pytest.mark.parametrize("after", range(4))
def test_follow_of_an_ended_run_gives_the_rest_and_ends(after: int) -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        await tell(emitter, STARTED, THOUGHT, COMPLETED)
        told = await all_of(telling, emitter.context.run_id, after)
        assert [seq for seq, _ in told] == list(range(after + 1, 4))
        assert len(telling.hub) == 0

    run(main())


def test_followers_that_come_at_any_time_are_told_the_same_to_the_end() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        run_id = emitter.context.run_id
        following = [asyncio.create_task(all_of(telling, run_id))]
        for event in (STARTED, *[THOUGHT] * 300, COMPLETED):
            await tell(emitter, event)
            if len(telling.log.bodies[run_id]) % 50 == 0:
                following.append(asyncio.create_task(all_of(telling, run_id)))
        for told in await asyncio.gather(*following):
            assert [body for _, body in told] == telling.log.bodies[run_id]
        assert emitter.feed._followers == set()

    run(main())


def test_a_follower_that_gives_up_is_forgotten() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        following = asyncio.create_task(all_of(telling, emitter.context.run_id))
        await turns()
        assert len(emitter.feed._followers) == 1
        following.cancel()
        await asyncio.wait([following])
        assert emitter.feed._followers == set()

    run(main())


def test_a_run_that_is_accepted_but_has_not_begun_can_be_followed() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        telling.hub.close(emitter.feed)  # as if the emitter were not made yet
        following = asyncio.create_task(all_of(telling, emitter.context.run_id))
        await turns()
        begun = UserWebSocketEmitter(
            emitter.context, telling.log, telling.hub, telling.redactor, telling.meter  # type: ignore[arg-type]
        )  # fmt: skip
        await tell(begun, STARTED, THOUGHT, COMPLETED)
        assert [seq for seq, _ in await following] == [1, 2, 3]
        assert len(telling.hub) == 0

    run(main())


def test_a_run_that_ended_while_it_was_looked_up_leaves_nothing_behind_and_is_not_told_anew() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        await tell(emitter, STARTED, THOUGHT)
        looked, gate = asyncio.Event(), asyncio.Event()
        look = telling.log.run

        async def slow(user_id: str, run_id: str) -> Run | None:
            found = await look(user_id, run_id)
            if not looked.is_set():
                looked.set()
                await gate.wait()
            return found

        telling.log.run = slow  # type: ignore[method-assign]
        begun: list[RunFeed] = []
        telling.hub.watch("ada", emitter.context.thread_id, begun.append)
        following = asyncio.create_task(all_of(telling, emitter.context.run_id))
        await looked.wait()
        await tell(emitter, COMPLETED)
        gate.set()
        assert [seq for seq, _ in await following] == [1, 2, 3]
        assert len(telling.hub) == 0
        assert begun == []

    run(main())
