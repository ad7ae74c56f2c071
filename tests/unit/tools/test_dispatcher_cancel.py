"""A cancel is true: every open call is told as cancelled, on every path, and the cancellation goes on (G3, G9)."""

import asyncio
import contextlib
import threading
from dataclasses import replace

import pytest
from tests.unit.tools.support import Bench, bench, run, until

from netra_apex.core.events import AgentCancelled, AgentThinking
from netra_apex.errors import StoreError
from netra_apex.tools import ToolHost, tool
from netra_apex.tools.attempts import Attempts

STOPPED = AgentCancelled(by="ada")


def ends_well(made: Bench) -> None:
    """The run may be ended: no call is open."""
    assert not made.recorder.stream.open_calls
    made.recorder.emit(STOPPED)


def test_each_open_call_is_told_as_cancelled() -> None:
    release = threading.Event()
    inside: list[str] = []
    stopped: list[str] = []

    @tool
    async def waits() -> None:
        inside.append("waits")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append("waits")
            raise

    @tool
    def blocks() -> bool:
        inside.append("blocks")
        return release.wait()

    @tool
    async def quick() -> str:
        inside.append("quick")
        return "done"

    async def main() -> None:
        made = bench(waits, blocks, quick)
        calls = [("waits", "{}"), ("quick", "{}"), ("blocks", "{}"), ("waits", "{}"), ("nope", "{}")]
        asking = asyncio.ensure_future(made.ask(*calls))
        await until(lambda: len(inside) == 4 and len(made.recorder.completed()) == 2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        ends = [made.recorder.end_of(event) for event in made.recorder.executing()]
        codes = ["ok" if not end.error else end.error.code for end in ends]
        assert codes == ["cancelled", "ok", "cancelled", "cancelled", "unknown_tool"]
        assert stopped == ["waits", "waits"]
        ends_well(made)

    try:
        run(main())
    finally:
        release.set()


@pytest.mark.parametrize("count", [1, 2])
def test_a_cancel_at_any_turn_of_the_loop_leaves_no_call_open(count: int) -> None:
    @tool
    async def steps() -> str:
        for _ in range(3):
            await asyncio.sleep(0)
        return "done"

    async def main() -> None:
        finished = cancelled = 0
        for turns in range(40):
            made = bench(steps)
            asking = asyncio.ensure_future(made.ask(*[("steps", "{}")] * count))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            try:
                await asking
                finished += 1
            except asyncio.CancelledError:
                cancelled += 1
            assert len(made.recorder.executing()) == len(made.recorder.completed())
            ends_well(made)
        assert finished
        assert cancelled

    run(main())


def test_a_cancel_while_the_call_is_being_stored_neither_runs_it_nor_stops_the_storing() -> None:
    ran: list[str] = []

    @tool
    async def effect() -> None:
        ran.append("effect")

    async def main() -> None:
        made = bench(effect)
        stored = asyncio.get_running_loop().create_future()
        made.recorder.hold = stored
        asking = asyncio.ensure_future(made.ask(("effect", "{}"), ("effect", "{}")))
        await until(lambda: len(made.recorder.executing()) == 2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not stored.cancelled()
        assert made.recorder.codes() == ["cancelled", "cancelled"]
        ends_well(made)

    run(main())
    assert not ran


def test_a_call_whose_storing_failed_does_not_run_and_is_not_left_open() -> None:
    ran: list[str] = []

    @tool
    async def effect() -> None:
        ran.append("effect")

    async def main() -> None:
        made = bench(effect)
        made.recorder.hold = asyncio.get_running_loop().create_future()
        made.recorder.hold.set_exception(StoreError("disk full"))
        with pytest.raises(StoreError):
            await made.ask(("effect", "{}"))
        ends_well(made)

    run(main())
    assert not ran


def test_code_that_is_cancelled_in_a_call_sees_it_told_and_the_cancellation_goes_on() -> None:
    @tool
    async def waits() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        made = bench(waits)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await made.dispatcher.call(waits)
        assert made.recorder.codes() == ["cancelled"]
        ends_well(made)

    run(main())


def test_a_tool_that_swallows_the_cancellation_is_told_as_cancelled() -> None:
    @tool
    async def swallows() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "completed after all"

    async def main() -> None:
        made = bench(swallows)
        asking = asyncio.ensure_future(made.ask(("swallows", "{}")))
        await until(lambda: len(made.recorder.executing()) == 1)
        for _ in range(5):
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert made.recorder.codes() == ["cancelled"]
        ends_well(made)

    run(main())


def test_a_tool_that_ignores_every_cancellation_does_not_hold_up_the_run() -> None:
    async def main() -> None:
        stop = asyncio.Event()

        @tool
        async def stubborn() -> None:
            while not stop.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await stop.wait()

        attempts = Attempts(grace_seconds=0.02)
        made = bench(stubborn, host=ToolHost(attempts=attempts))
        asking = asyncio.ensure_future(made.ask(("stubborn", "{}"), ("stubborn", "{}")))
        await until(lambda: attempts.running == 2)
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert made.recorder.codes() == ["cancelled", "cancelled"]
        ends_well(made)
        stop.set()
        await until(lambda: not attempts.running)

    run(main())


def test_a_cancel_wins_over_a_stream_that_cannot_be_told_any_more() -> None:
    @tool
    async def waits() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        made = bench(waits)
        asking = asyncio.ensure_future(made.ask(("waits", "{}")))
        await until(lambda: len(made.recorder.executing()) == 1)
        made.recorder.broken = StoreError("disk full")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run(main())


def test_a_cancel_before_anything_is_told_tells_nothing() -> None:
    async def main() -> None:
        @tool
        async def waits() -> None: ...

        made = bench(waits)

        async def think() -> None:
            await asyncio.Event().wait()

        made.dispatcher._hooks = replace(made.dispatcher._hooks, before_call=think)
        asking = asyncio.ensure_future(made.ask(("waits", "{}")))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not [event for event in made.recorder.events if not isinstance(event, AgentThinking)]

    run(main())
