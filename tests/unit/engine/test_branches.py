"""The keys of a run's steps: the same however the things that an agent does at once overtake each other."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.support.bounded import run, turns, until

from netra_apex.core.journal import Journal, Step
from netra_apex.engine.branches import Branches

Steps = Callable[[str], Coroutine[Any, Any, None]]
Agent = Callable[[Steps], Coroutine[Any, Any, None]]


class Played:
    """An agent's steps, each of which ends when the test says so; `keys` are those that they were given."""

    def __init__(self, branches: Branches | None = None) -> None:
        self.keys: dict[str, str] = {}
        self._branches = branches or Branches()
        self._ends: dict[str, asyncio.Event] = {}

    async def step(self, name: str) -> None:
        """Takes a step, as a scope does: its key first, and then what it waits for."""
        self.keys[name] = self._branches.step()
        await self._ends.setdefault(name, asyncio.Event()).wait()

    async def end(self, name: str) -> None:
        """Lets a step end, which must be under way, and the agent do what it does then."""
        await until(lambda: name in self.keys)
        self._ends[name].set()
        await turns()


def keys(agent: Agent, *order: str) -> dict[str, str]:
    """The keys of an agent's steps, where these end in this order."""

    async def main() -> dict[str, str]:
        played = Played()
        running = asyncio.ensure_future(agent(played.step))
        for name in order:
            await played.end(name)
        await running
        assert sorted(played.keys) == sorted(order)
        return played.keys

    return run(main())


async def two(step: Steps, name: str) -> None:
    """A task with two steps, one after the other."""
    await step(f"{name}1")
    await step(f"{name}2")


def test_steps_one_after_the_other_are_counted() -> None:
    async def agent(step: Steps) -> None:
        for name in "abc":
            await step(name)

    assert keys(agent, "a", "b", "c") == {"a": "1", "b": "2", "c": "3"}


def test_the_keys_of_a_calls_own_scope_begin_with_the_calls_key() -> None:
    async def main() -> None:
        played = Played(Branches("f2.3/"))

        async def inside() -> None:
            await played.step("a")
            await asyncio.gather(played.step("b"), played.step("c"))
            await played.step("d")

        running = asyncio.ensure_future(inside())
        for name in "acbd":
            await played.end(name)
        await running
        assert played.keys == {"a": "f2.3/1", "b": "f2.3/f1.1", "c": "f2.3/f2.1", "d": "f2.3/2"}

    run(main())


async def gathered(step: Steps) -> None:
    await asyncio.gather(two(step, "a"), two(step, "b"))


async def grouped(step: Steps) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(two(step, "a"))
        group.create_task(two(step, "b"))


async def timed(step: Steps) -> None:
    # On Python 3.11 `wait_for` makes a task of its own, later it does not.
    await asyncio.gather(asyncio.wait_for(two(step, "a"), 20), asyncio.wait_for(two(step, "b"), 20))


async def timed_later(step: Steps) -> None:
    async def one(name: str) -> None:
        await step(f"{name}1")
        await asyncio.wait_for(step(f"{name}2"), 20)

    await asyncio.gather(one("a"), one("b"))


async def nested(step: Steps) -> None:
    async def one(name: str) -> None:
        await asyncio.create_task(two(step, name))

    async with asyncio.TaskGroup() as group:
        group.create_task(one("a"))
        group.create_task(one("b"))


@pytest.mark.parametrize("agent", [gathered, grouped, timed, timed_later, nested])
@pytest.mark.parametrize("first", [None, "before"], ids=["at once", "after a step"])
def test_keys_do_not_depend_on_which_of_two_tasks_is_quicker(agent: Agent, first: str | None) -> None:
    async def whole(step: Steps) -> None:
        if first:
            await step(first)
        await agent(step)
        await step("after")

    before = [first] if first else []
    orders = [
        ("a1", "a2", "b1", "b2"),
        ("b1", "b2", "a1", "a2"),
        ("a1", "b1", "b2", "a2"),
        ("b1", "a1", "a2", "b2"),
    ]
    made = [keys(whole, *before, *order, "after") for order in orders]
    assert made == [made[0]] * len(orders)
    assert len(set(made[0].values())) == len(made[0]), "no two steps have one key"


def test_two_tasks_side_by_side_count_each_for_itself() -> None:
    async def agent(step: Steps) -> None:
        await step("first")
        await gathered(step)
        await step("last")

    assert keys(agent, "first", "b1", "a1", "b2", "a2", "last") == {
        "first": "1",
        "a1": "f1.1",
        "a2": "f1.2",
        "b1": "f2.1",
        "b2": "f2.2",
        "last": "2",
    }


def test_tasks_that_tasks_have_started_are_branches_of_these() -> None:
    async def one(step: Steps, name: str) -> None:
        await step(name)
        await asyncio.gather(step(f"{name}x"), step(f"{name}y"))

    async def agent(step: Steps) -> None:
        await step("first")
        await asyncio.gather(one(step, "a"), one(step, "b"))

    wanted = {
        "first": "1",
        "a": "f1.1",
        "ax": "f1.f1.1",
        "ay": "f1.f2.1",
        "b": "f2.1",
        "bx": "f2.f1.1",
        "by": "f2.f2.1",
    }
    assert keys(agent, "first", "a", "ax", "ay", "b", "bx", "by") == wanted
    assert keys(agent, "first", "b", "by", "bx", "a", "ay", "ax") == wanted


def test_a_task_that_is_over_leaves_its_key_to_nobody() -> None:
    async def agent(step: Steps) -> None:
        await step("first")
        for name in "abc":
            await asyncio.create_task(step(name))

    assert keys(agent, "first", "a", "b", "c") == {"first": "1", "a": "f1.1", "b": "f2.1", "c": "f3.1"}


def test_a_task_that_was_cancelled_in_its_step_keeps_its_place() -> None:
    async def agent(step: Steps) -> None:
        await step("first")
        given_up = asyncio.create_task(step("a"))
        beside = asyncio.create_task(step("b"))
        await turns()
        given_up.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await given_up
        await beside
        await asyncio.create_task(step("c"))

    async def main() -> None:
        played = Played()
        running = asyncio.ensure_future(agent(played.step))
        for name in ("first", "b", "c"):
            await played.end(name)
        await running
        assert played.keys == {"first": "1", "a": "f1.1", "b": "f2.1", "c": "f3.1"}

    run(main())


def test_scopes_in_one_task_count_each_for_itself() -> None:
    async def main() -> None:
        agents, calls = Branches(), Branches("2/")
        assert [agents.step(), agents.step(), calls.step(), agents.step(), calls.step()] == [
            "1",
            "2",
            "2/1",
            "3",
            "2/2",
        ]

        async def inside() -> list[str]:
            # The scope of the last new step is the one that the task knows it comes from; the other is at its root.
            return [calls.step(), agents.step(), calls.step()]

        assert await asyncio.create_task(inside()) == ["2/f1.1", "f1.1", "2/f1.2"]

    run(main())


def test_runs_side_by_side_have_the_keys_that_each_would_have_alone() -> None:
    async def main() -> None:
        everybody = asyncio.Barrier(3)

        async def one() -> list[str]:
            branches = Branches()
            made = [branches.step()]
            await everybody.wait()
            made.append(branches.step())

            async def inside() -> None:
                await everybody.wait()
                made.append(branches.step())

            await asyncio.create_task(inside())
            await everybody.wait()
            return [*made, branches.step()]

        assert await asyncio.gather(one(), one(), one()) == [["1", "2", "f1.1", "3"]] * 3

    run(main())


def test_a_task_that_had_not_come_to_a_step_before_a_crash_takes_no_other_tasks_place() -> None:
    done = [
        Step(key=f"f{number}.1", kind="call", name=name, digest="", state="finished")
        for number, name in ((1, "a"), (2, "b"))
    ]

    async def main() -> None:
        branches = Branches(journal=Journal(done))
        branches.adopt()

        async def task(name: str) -> str:
            return branches.step("call", name)

        # Before the crash `a` and `b` had begun; now `late` is there first.
        keys = [await asyncio.create_task(task(name)) for name in ("late", "b", "a", "later")]
        assert keys == ["f3.1", "f2.1", "f1.1", "f4.1"]

    run(main())
