"""The bridge: one socket's pace is its own, answers come first, and a cursor can be moved (G2, G10)."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.bounded import run, turns
from tests.support.memory_log import Telling

from netra_apex.core.events import AgentCompleted, AgentStarted, AgentThinking, MessageCompleted
from netra_apex.core.messages import NO_USAGE
from netra_apex.errors import AfterOutOfRange, Invalid, NotFound
from netra_apex.stream.bridge import MAX_ANSWERS, MAX_FOLLOWED, WebSocketBridge
from netra_apex.stream.emitter import UserWebSocketEmitter

STARTED = AgentStarted(task="t")
THOUGHT = AgentThinking(text="hm", step=1)
COMPLETED = AgentCompleted(output="o", usage=NO_USAGE, duration_ms=1)


class Socket:
    """A socket whose `send` takes a frame when the test lets it."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = 0
        self._news = asyncio.Event()

    async def send(self, frame: str) -> None:
        self.waiting += 1
        await self.open.wait()
        self.waiting -= 1
        self.frames.append(json.loads(frame))
        self._news.set()

    async def until(self, count: int) -> list[dict[str, Any]]:
        """The frames, once there are so many."""
        while len(self.frames) < count:
            self._news.clear()
            await self._news.wait()
        return self.frames

    def durable(self, run_id: str | None = None) -> list[int]:
        return [f["seq"] for f in self.frames if "seq" in f and run_id in (None, f["run_id"])]


@contextlib.asynccontextmanager
async def bridged(telling: Telling, user: str = "ada") -> AsyncIterator[tuple[WebSocketBridge, Socket]]:
    socket = Socket()
    bridge = WebSocketBridge(user, telling.reader, telling.hub, socket.send)
    running = asyncio.create_task(bridge.run())
    try:
        yield bridge, socket
        assert not running.done(), running
    finally:
        running.cancel()
        await asyncio.wait([running])
        bridge.close()


async def tell(emitter: UserWebSocketEmitter, *events: Any) -> None:
    await emitter.voice("helper").emit(*events)


def test_a_follower_is_told_what_was_and_then_what_comes() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        await tell(emitter, STARTED, THOUGHT)
        async with bridged(telling) as (bridge, socket):
            await bridge.follow(emitter.context.run_id, 0)
            await socket.until(2)
            await tell(emitter, COMPLETED)
            await socket.until(3)
            assert socket.durable() == [1, 2, 3]
            assert not bridge.follows(emitter.context.run_id)  # it has ended: nothing is held for it any more
            assert emitter.feed._followers == set()

    run(main())


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_follower_begins_after_its_cursor(after: int) -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        await tell(emitter, STARTED, THOUGHT, COMPLETED)
        async with bridged(telling) as (bridge, socket):
            await bridge.follow(emitter.context.run_id, after)
            await socket.until(3 - after)
            await turns()
            assert socket.durable() == list(range(after + 1, 4))

    run(main())


def test_a_run_of_another_user_is_as_one_that_does_not_exist() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter("ada")
        await tell(emitter, STARTED)
        async with bridged(telling, "eve") as (bridge, socket):
            for ident in (emitter.context.run_id, "run_nowhere"):
                with pytest.raises(NotFound, match=f"^there is no run {ident}$"):
                    await bridge.follow(ident, 0)
            bridge.watch_thread(emitter.context.thread_id)
            await tell(emitter, THOUGHT, COMPLETED)
            hers = telling.emitter("ada", thread_id=emitter.context.thread_id)
            await tell(hers, STARTED)
            await turns()
            assert socket.frames == []

    run(main())


def test_a_cursor_beyond_the_last_event_is_refused() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        await tell(emitter, STARTED)
        async with bridged(telling) as (bridge, _):
            with pytest.raises(AfterOutOfRange, match="is 1: nothing can come after 2"):
                await bridge.follow(emitter.context.run_id, 2)
            assert not bridge.follows(emitter.context.run_id)

    run(main())


def test_a_stalled_socket_holds_nothing_and_gets_the_text_in_one_piece_afterwards() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        await tell(emitter, STARTED, THOUGHT)
        async with bridged(telling) as (bridge, socket):
            await bridge.follow(emitter.context.run_id, 0)
            await socket.until(2)
            socket.open.clear()
            writer = emitter.voice("helper").writer(show=True, key="1")
            writer.text("first ")
            await turns()
            assert socket.waiting == 1  # it is stuck in one frame, and takes no other
            for number in range(5_000):
                writer.text(f"{number} ")
                if number % 100 == 0:
                    await turns(2)
            assert (socket.waiting, len(bridge._dirty), len(bridge._answers)) == (1, 1, 0)
            socket.open.set()
            frames = (await socket.until(4))[2:]
            await turns()
            assert len(socket.frames) == 4
            assert [(f["type"], f["offset"]) for f in frames] == [("message_delta", 0), ("message_delta", 6)]
            assert frames[1]["text"] == "".join(f"{number} " for number in range(5_000))

    run(main())


def test_a_stalled_socket_gets_every_durable_event_once_it_reads_again_however_many_there_were() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        await tell(emitter, STARTED)
        async with bridged(telling) as (bridge, socket):
            await bridge.follow(emitter.context.run_id, 0)
            await socket.until(1)
            socket.open.clear()
            for number in range(1_000):
                await tell(emitter, AgentThinking(text="x" * 100, step=number))
            assert len(emitter.feed._tail) <= 256
            socket.open.set()
            await tell(emitter, COMPLETED)
            await socket.until(1_002)
            assert socket.durable() == list(range(1, 1_003))

    run(main())


def test_a_socket_that_stalls_does_not_slow_another_or_the_run() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        async with bridged(telling) as (slow, stalled), bridged(telling) as (quick, socket):
            stalled.open.clear()
            for bridge in (slow, quick):
                await bridge.follow(emitter.context.run_id, 0)
            await tell(emitter, STARTED, THOUGHT)
            await tell(emitter, COMPLETED)
            await socket.until(3)
            assert stalled.frames == []
            stalled.open.set()
            await stalled.until(3)
            assert stalled.durable() == socket.durable() == [1, 2, 3]

    run(main())


def test_answers_to_a_stalled_socket_are_bounded_and_then_stop_its_reading() -> None:
    async def main() -> None:
        async with bridged(Telling()) as (bridge, socket):
            socket.open.clear()
            told = 0

            async def client() -> None:
                nonlocal told
                for _ in range(10 * MAX_ANSWERS):
                    await bridge.tell('{"type":"pong"}')
                    told += 1

            reading = asyncio.create_task(client())
            await turns(3 * MAX_ANSWERS)
            assert MAX_ANSWERS <= told <= MAX_ANSWERS + 1
            assert len(bridge._answers) <= MAX_ANSWERS
            socket.open.set()
            await reading
            await socket.until(10 * MAX_ANSWERS)

    run(main())


def test_an_answer_comes_before_the_first_event_of_the_run_that_it_accepts() -> None:
    async def main() -> None:
        telling = Telling()
        async with bridged(telling) as (bridge, socket):
            for number in range(20):
                emitter = telling.emitter()
                context = emitter.context
                bridge.tell_soon(json.dumps({"type": "message_accepted", "run_id": context.run_id}))
                bridge.follow_new(context.thread_id, context.run_id)
                await tell(emitter, STARTED, THOUGHT, COMPLETED)
                frames = (await socket.until(4 * (number + 1)))[-4:]
                assert [f["type"] for f in frames] == [
                    "message_accepted",
                    "agent_started",
                    "agent_thinking",
                    "agent_completed",
                ]
                assert {f["run_id"] for f in frames} == {context.run_id}

    run(main())


def test_a_run_that_is_followed_already_is_not_told_anew_where_it_is_given_a_message() -> None:
    async def main() -> None:
        telling = Telling()
        async with bridged(telling) as (bridge, socket):
            emitter = telling.emitter()
            context = emitter.context
            bridge.follow_new(context.thread_id, context.run_id)
            await tell(emitter, STARTED, THOUGHT)
            await socket.until(2)
            bridge.follow_new(context.thread_id, context.run_id)
            await tell(emitter, COMPLETED)
            assert [frame["seq"] for frame in await socket.until(3)] == [1, 2, 3]

    run(main())


def test_an_answer_that_came_while_the_log_was_read_still_comes_first() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        await tell(emitter, STARTED)
        gate, asked = asyncio.Event(), asyncio.Event()
        read = telling.log.events

        async def slow(*args: Any) -> Any:
            asked.set()
            await gate.wait()
            return await read(*args)

        telling.log.events = slow  # type: ignore[method-assign]
        telling.hub.close(emitter.feed)
        async with bridged(telling) as (bridge, socket):
            await bridge.follow(emitter.context.run_id, 0)
            await asked.wait()
            bridge.tell_soon('{"type":"ok"}')
            gate.set()
            await socket.until(2)
            assert [f["type"] for f in socket.frames] == ["ok", "agent_started"]

    run(main())


def test_asked_again_from_an_earlier_cursor_it_begins_again_there() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        await tell(emitter, STARTED, THOUGHT, THOUGHT)
        writer = emitter.voice("helper").writer(show=True, key="1")
        writer.text("hello ")
        async with bridged(telling) as (bridge, socket):
            await bridge.follow(emitter.context.run_id, 2)
            await socket.until(2)
            await bridge.follow(emitter.context.run_id, 0)
            await socket.until(6)
            assert socket.durable() == [3, 1, 2, 3]
            deltas = [f for f in socket.frames if f["type"] == "message_delta"]
            assert [(f["offset"], f["text"]) for f in deltas] == [(0, "hello ")] * 2
            assert len(emitter.feed._followers) == 1
            await tell(emitter, MessageCompleted(message_id=writer.finish(), content="hello "), COMPLETED)
            await socket.until(8)
            assert socket.durable() == [3, 1, 2, 3, 4, 5]

    run(main())


def test_asked_again_in_the_middle_of_a_stall_no_event_is_told_twice_for_one_cursor() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        await tell(emitter, STARTED, THOUGHT, THOUGHT)
        async with bridged(telling) as (bridge, socket):
            socket.open.clear()
            await bridge.follow(emitter.context.run_id, 0)
            await turns()
            await bridge.follow(emitter.context.run_id, 1)
            socket.open.set()
            await socket.until(3)
            await turns()
            assert socket.durable() == [1, 2, 3]

    run(main())


def test_after_unfollow_nothing_more_is_told_and_nothing_is_held() -> None:
    async def main() -> None:
        telling = Telling()
        emitter = telling.emitter()
        async with bridged(telling) as (bridge, socket):
            await bridge.follow(emitter.context.run_id, 0)
            await tell(emitter, STARTED)
            await socket.until(1)
            socket.open.clear()
            await tell(emitter, THOUGHT, THOUGHT)
            await turns()
            bridge.unfollow(emitter.context.run_id)
            bridge.unfollow(emitter.context.run_id)
            socket.open.set()
            await tell(emitter, COMPLETED)
            await turns()
            assert socket.durable() in ([1], [1, 2])  # the frame that was on its way cannot be called back
            assert emitter.feed._followers == set()

    run(main())


def test_who_watches_a_thread_follows_each_run_that_begins_there_and_no_other() -> None:
    async def main() -> None:
        telling = Telling()
        async with bridged(telling) as (bridge, socket):
            bridge.watch_thread("thr_a")
            bridge.watch_thread("thr_a")
            here, elsewhere = telling.emitter(thread_id="thr_a"), telling.emitter(thread_id="thr_b")
            other_user = telling.emitter("eve", thread_id="thr_a")
            for emitter in (elsewhere, other_user, here):
                await tell(emitter, STARTED, THOUGHT, COMPLETED)
            second = telling.emitter(thread_id="thr_a")
            await tell(second, STARTED)
            await socket.until(4)
            await turns()
            assert {f["run_id"] for f in socket.frames} == {here.context.run_id, second.context.run_id}
            assert (socket.durable(here.context.run_id), socket.durable(second.context.run_id)) == ([1, 2, 3], [1])
            bridge.unwatch_thread("thr_a")
            await tell(second, THOUGHT)
            await tell(telling.emitter(thread_id="thr_a"), STARTED)
            await turns()
            assert len(socket.frames) == 4
            assert telling.hub._watchers == {}

    run(main())


def test_a_connection_follows_at_most_a_hundred_runs_and_threads() -> None:
    async def main() -> None:
        telling = Telling()
        async with bridged(telling) as (bridge, _):
            emitters = [telling.emitter() for _ in range(MAX_FOLLOWED + 1)]
            for emitter in emitters[:-1]:
                await bridge.follow(emitter.context.run_id, 0)
            with pytest.raises(Invalid, match="at most 100 runs"):
                await bridge.follow(emitters[-1].context.run_id, 0)
            await bridge.follow(emitters[0].context.run_id, 0)  # one that it has may be asked for again
            bridge.unfollow(emitters[0].context.run_id)
            await bridge.follow(emitters[-1].context.run_id, 0)
            for number in range(MAX_FOLLOWED):
                bridge.watch_thread(f"thr_{number}")
            with pytest.raises(Invalid, match="at most 100 threads"):
                bridge.watch_thread("thr_more")
            bridge.watch_thread("thr_0")

    run(main())


def test_closing_lets_go_of_every_feed_and_thread() -> None:
    async def main() -> None:
        telling = Telling()
        emitters = [telling.emitter(thread_id="thr_a") for _ in range(5)]
        async with bridged(telling) as (bridge, _):
            for emitter in emitters:
                await bridge.follow(emitter.context.run_id, 0)
            bridge.watch_thread("thr_a")
            bridge.watch_thread("thr_b")
            bridge.close()
            assert [emitter.feed._followers for emitter in emitters] == [set()] * 5
            assert telling.hub._watchers == {}

    run(main())


def test_runs_are_served_in_turn() -> None:
    async def main() -> None:
        telling = Telling()
        flood, other = telling.emitter(), telling.emitter()
        await tell(flood, STARTED, *[THOUGHT] * 3_000)
        await tell(other, STARTED, THOUGHT, COMPLETED)
        async with bridged(telling) as (bridge, socket):
            telling.hub.close(flood.feed)  # so that it is read from the log, page by page
            await bridge.follow(flood.context.run_id, 0)
            await bridge.follow(other.context.run_id, 0)
            await socket.until(700)
            assert socket.durable(other.context.run_id) == [1, 2, 3]

    run(main())
