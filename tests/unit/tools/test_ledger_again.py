"""Calls of runs that were taken up more than once, or left by their agents: they end once, and always alike."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import turns
from tests.unit.tools.support import Bench, after, at, bench, is_as_before, run, taken_up, until

from netra_apex.core.events import ToolCompleted
from netra_apex.errors import CallFailed, Nondeterministic, ToolOutcomeUnknown
from netra_apex.tools import tool

ROOT = Path(__file__).parents[3]
ran: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


@tool
async def pay(amount: int) -> str:
    ran.append(f"pay {amount}")
    return f"paid {amount}"


@tool
async def gateway() -> str:
    ran.append("gateway")
    raise CallFailed("unknown_outcome", "the gateway did not answer")


@tool(idempotent=True)
async def safe_gateway() -> str:
    ran.append("gateway")
    raise CallFailed("unknown_outcome", "the gateway did not answer")


@tool
async def slow() -> str:
    ran.append("slow")
    await asyncio.Event().wait()
    return "never"


@tool
async def tag(tags: set[str] | set[int], more: dict[str, frozenset[int]] | None = None) -> None:
    ran.append("tag")


Way = Callable[[Bench], Awaitable[object]]
WAYS: dict[str, Way] = {
    "from code": lambda made: made.dispatcher.call(pay, 1),
    "from a model": lambda made: made.ask(("pay", '{"amount": 1}'), ("pay", '{"amount": 2}')),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_lost_call_is_told_in_one_life_and_ends_the_run_in_each(way: str) -> None:
    async def main() -> None:
        first = bench(pay)
        await WAYS[way](first)
        done = ran.copy()
        told = [event for event in first.recorder.events if not isinstance(event, ToolCompleted)]
        begun = [step for step in first.recorder.steps if step.state == "started"]
        second = taken_up(first, begun, told)
        with pytest.raises(ToolOutcomeUnknown) as unknown:
            await WAYS[way](second)
        assert second.recorder.codes() == ["unknown_outcome"] * len(done)
        # That process ends too, before the run's own ending is stored.
        for _ in range(2):
            third = taken_up(first, second.recorder.steps, [*told, *second.recorder.events])
            with pytest.raises(ToolOutcomeUnknown) as again:
                await WAYS[way](third)
            assert str(again.value) == str(unknown.value)
            assert third.recorder.events == third.recorder.steps == []
            with pytest.raises(ToolOutcomeUnknown):
                await third.dispatcher.call(pay, 3)
        assert ran == done

    run(main())


@pytest.mark.parametrize("made", [gateway, safe_gateway], ids=lambda made: made.name)
def test_a_tool_that_says_itself_that_it_does_not_know_has_ended(made: Any) -> None:
    async def main() -> None:
        before = bench(made, pay)
        with pytest.raises(CallFailed) as first:
            await before.dispatcher.call(made)
        answers = await before.ask((made.name, "{}"))
        again = after(before)
        with pytest.raises(CallFailed) as second:
            await again.dispatcher.call(made)
        said = ("unknown_outcome", "the gateway did not answer")
        assert (second.value.code, second.value.message) == (first.value.code, first.value.message) == said
        assert await again.ask((made.name, "{}")) == answers
        is_as_before(before, again)
        assert await again.dispatcher.call(pay, 1) == "paid 1", "the run goes on"
        assert ran == ["gateway", "gateway", "pay 1"]

    run(main())


DIGEST = """
import asyncio
from tests.unit.tools.support import bench
from tests.unit.tools.test_ledger_again import tag

async def main():
    made = bench(tag)
    await made.dispatcher.call(tag, set("abcde"), more={"of": frozenset(range(0, 99, 7))})
    print(made.recorder.steps[0].digest, made.recorder.executing()[0].arguments)

asyncio.run(main())
"""


def test_a_call_with_a_set_is_known_by_the_same_digest_in_every_process() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1


def test_a_call_with_a_set_is_known_by_what_is_in_it() -> None:
    one, other = {0, 8}, {8, 0}
    assert list(one) != list(other), "each is walked through in its own order"

    async def main() -> None:
        before = bench(tag)
        await before.dispatcher.call(tag, one, more={"of": frozenset(one)})
        again = after(before)
        assert await again.dispatcher.call(tag, other, more={"of": frozenset(other)}) is None
        is_as_before(before, again)
        with pytest.raises(Nondeterministic):
            await after(before).dispatcher.call(tag, {0, 9}, more={"of": frozenset(other)})
        assert ran == ["tag"]

    run(main())


async def in_time(call: Awaitable[Any]) -> str:
    try:
        async with asyncio.timeout(0.1):
            await call
    except TimeoutError:
        return "gave up"
    return "had it"


def test_a_call_that_the_agent_gave_up_is_given_up_again() -> None:
    async def main() -> None:
        before = bench(slow, pay)
        assert await in_time(before.dispatcher.call(slow)) == "gave up"
        assert await before.dispatcher.call(pay, 1) == "paid 1"
        for _ in range(2):
            again = after(before)
            assert await in_time(again.dispatcher.call(slow)) == "gave up"
            assert await again.dispatcher.call(pay, 1) == "paid 1"
            is_as_before(before, again)
        assert ran == ["slow", "pay 1"]
        assert before.recorder.codes() == ["cancelled", "ok"]

    run(main())


def test_a_call_that_was_given_up_waits_for_who_gives_it_up_again() -> None:
    async def one_life(made: Bench) -> None:
        giving_up = asyncio.create_task(made.dispatcher.call_at(at("f1.1"), slow, (), {}))
        await turns()
        await until(lambda: "slow" in ran)
        assert await made.dispatcher.call(pay, 1) == "paid 1"
        assert not giving_up.done()
        giving_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await giving_up

    async def main() -> None:
        before = bench(slow, pay)
        await one_life(before)
        again = after(before)
        await one_life(again)
        is_as_before(before, again)
        assert ran == ["slow", "pay 1"]

    run(main())


def test_an_answer_that_was_given_up_amid_its_calls_is_given_up_again() -> None:
    async def main() -> None:
        before = bench(slow, pay)
        asked = [("pay", '{"amount": 1}'), ("slow", "{}"), ("nope", "{}")]
        assert await in_time(before.ask(*asked)) == "gave up"
        assert ran == ["pay 1", "slow"]
        assert sorted(before.recorder.codes()) == ["cancelled", "ok", "unknown_tool"]
        again = after(before)
        assert await in_time(again.ask(*asked)) == "gave up"
        is_as_before(before, again)
        assert ran == ["pay 1", "slow"]

    run(main())
