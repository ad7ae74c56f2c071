"""A call whose function may still be at work, or was killed amid it: told to its user, and unknown in the ledger."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run, turns
from tests.unit.tools import isolated_tools as tools
from tests.unit.tools.processes import begun
from tests.unit.tools.support import Bench, after, bench, hosting, is_as_before, until

from netra_apex.errors import CallFailed
from netra_apex.tools import ToolHost, tool
from netra_apex.tools.attempts import Attempts
from netra_apex.tools.threads import ToolThreads

ran: list[str] = []
release = threading.Event()


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    ran.clear()
    release.clear()
    yield
    release.set()


@tool(timeout=0.2)
def blocks(what: str) -> str:
    ran.append(what)
    if what != "quick":
        release.wait()
    return what


@tool(timeout=0.2)
async def waits() -> None:
    ran.append("waits")
    await asyncio.Event().wait()


@tool(timeout=0.2)
async def stubborn() -> None:
    ran.append("stubborn")
    while not release.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)


@tool
def says(code: str) -> None:
    if code == "of asyncio":
        raise asyncio.CancelledError
    raise CallFailed(code, "of its own")


async def given_up(made: Bench, calling: Any, *, when: Any) -> None:
    """The agent begins a call and gives it up itself, and its run goes on."""
    task = asyncio.create_task(calling)
    await when
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def states(made: Bench) -> list[tuple[str, Any]]:
    """How far each step came, and what is kept of its failure."""
    return [(step.state, (step.result or {}).get("failed")) for step in made.recorder.steps]


CANCELLED = {
    "a sync tool": (blocks, "unknown"),
    # A cancel reaches an async function, which then ends; it is as known as that of one that raises.
    "an async tool": (waits, "finished"),
    "an async tool that goes on": (stubborn, "unknown"),
}


@pytest.mark.parametrize("which", CANCELLED)
def test_what_a_call_that_was_given_up_has_done_is_unknown_where_its_function_may_go_on(which: str) -> None:
    made, state = CANCELLED[which]

    async def main() -> None:
        async with hosting(attempts=Attempts(grace_seconds=0.05)) as host:
            before = bench(made, says, host=host)
            args = ("long",) if made is blocks else ()
            await given_up(before, before.dispatcher.call(made, *args), when=until(lambda: bool(ran)))
            assert before.recorder.codes() == ["cancelled"]
            assert states(before) == [("started", None), (state, ["cancelled", f"{made.name} was cancelled"])]
            assert before.recorder.steps[-1].result["given_up"]
            # A run that goes on after it, and is taken up, gives it up again.
            again = after(before, host=host)
            await given_up(again, again.dispatcher.call(made, *args), when=turns())
            is_as_before(before, again)
            with pytest.raises(CallFailed, match="of its own"):
                await again.dispatcher.call(says, "error")
            assert len(ran) == 1
            release.set()

    run(main())


@pytest.mark.parametrize("which", CANCELLED)
def test_a_time_out_is_given_again_whatever_is_known_of_the_function(which: str) -> None:
    made, state = CANCELLED[which]

    async def main() -> None:
        async with hosting(attempts=Attempts(grace_seconds=0.05)) as host:
            before = bench(made, host=host)
            asked = (made.name, '{"what": "long"}' if made is blocks else "{}")
            answers = await before.ask(asked)
            assert answers == [f"Error (timeout): {made.name} took longer than 0.2 s"]
            assert states(before) == [("started", None), (state, ["timeout", f"{made.name} took longer than 0.2 s"])]
            for _ in range(2):
                again = after(before, host=host)
                assert await again.ask(asked) == answers
                is_as_before(before, again)
            assert len(ran) == 1
            release.set()

    run(main())


def test_an_isolated_call_that_was_killed_amid_its_work_is_unknown_and_given_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with hosting() as host:
            before = bench(tools.forever, tools.briefly, tools.add, host=host)
            path = tmp_path / "pid"
            await given_up(before, before.dispatcher.call(tools.forever, str(path), "sleeping"), when=begun(path))
            with pytest.raises(CallFailed) as first:
                await before.dispatcher.call(tools.briefly, str(tmp_path / "late"), "sleeping")
            assert await before.dispatcher.call(tools.add, 1) == 3
            assert before.recorder.codes() == ["cancelled", "timeout", "ok"]
            assert [state for state, _ in states(before)[1::2]] == ["unknown", "unknown", "finished"]
            again = after(before, host=host)
            path.unlink()
            await given_up(again, again.dispatcher.call(tools.forever, str(path), "sleeping"), when=turns())
            with pytest.raises(CallFailed) as second:
                await again.dispatcher.call(tools.briefly, str(tmp_path / "late"), "sleeping")
            assert (second.value.code, second.value.message) == (first.value.code, first.value.message)
            assert await again.dispatcher.call(tools.add, 1) == 3
            is_as_before(before, again)
            assert not path.exists()

    run(main())


def test_a_call_that_was_given_up_while_it_waited_for_its_turn_is_known_not_to_have_begun() -> None:
    async def main() -> None:
        host = ToolHost(threads=ToolThreads(size=1))
        made = bench(blocks, host=host)
        holding = asyncio.create_task(host.threads.run("bob", release.wait))
        await until(lambda: host.threads.running == 1)
        with pytest.raises(CallFailed, match="took longer"):
            await made.dispatcher.call(blocks, "long")
        await given_up(made, made.dispatcher.call(blocks, "long"), when=turns())
        assert [state for state, _ in states(made)] == ["started", "finished"] * 2
        release.set()
        await holding
        assert ran == []
        await host.aclose()

    run(main())


@pytest.mark.parametrize("code", ["cancelled", "timeout", "of asyncio"])
def test_a_function_that_came_back_is_finished_whatever_it_says(code: str) -> None:
    async def main() -> None:
        made = bench(says)
        with pytest.raises(CallFailed):
            await made.dispatcher.call(says, code)
        assert [state for state, _ in states(made)] == ["started", "finished"]

    run(main())


def test_of_calls_that_were_given_up_together_each_has_its_own_state() -> None:
    async def main() -> None:
        async with hosting() as host:
            made = bench(blocks, waits, host=host)
            asking = made.ask(("blocks", '{"what": "quick"}'), ("blocks", '{"what": "long"}'), ("waits", "{}"))
            await given_up(made, asking, when=until(lambda: len(ran) == 3 and len(made.recorder.completed()) == 1))
            last = {step.call_id: step.state for step in made.recorder.steps}
            assert list(last.values()) == ["finished", "unknown", "finished"]
            assert sorted(made.recorder.codes()) == ["cancelled", "cancelled", "ok"]
            release.set()

    run(main())
