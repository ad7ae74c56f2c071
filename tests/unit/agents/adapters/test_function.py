"""A plain async function as an agent: what it is, what it may not be, and that it is played again like any other."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from tests.support.bounded import run

from netra_apex import AgentRegistry, RunScope, Runtime, Settings, from_function, tool
from netra_apex.core.conversations import Post
from netra_apex.core.events import AgentCompleted, AgentFailed, decode
from netra_apex.errors import RegistryError
from netra_apex.testing import Outcome, ScriptedModel, harness


class World:
    """What outlives a process: what was done, and where the function rests."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.resting = asyncio.Event()
        self.last = False


world: dict[str, World] = {}


@tool
async def note(text: str) -> str:
    """Note something."""
    world["is"].did.append(text)
    return f"noted {text}"


async def greeter(task: str, scope: RunScope) -> dict[str, str]:
    """Greets whoever asks.

    The rest is for developers.
    """
    noted = await scope.tools.call(note, task)
    said = (await scope.model(f"Greet {scope.context.user_id}")).text
    if not world["is"].last:
        world["is"].resting.set()
        await asyncio.Event().wait()
    return {"said": said, "noted": noted}


async def echo(task: str) -> str:
    return task


class Order(BaseModel):
    number: int


async def ordered(order: Order) -> int:
    return order.number + 1


@pytest.fixture(autouse=True)
def new_world() -> None:
    world["is"] = World()


def ask(registry: AgentRegistry, content: str, **asked: Any) -> Outcome:
    async def main() -> Outcome:
        async with ScriptedModel() as model, harness(registry, model=model) as app:
            return await app.ask(content, **asked)

    return run(main())


def test_a_function_is_an_agent_by_one_line() -> None:
    registry = AgentRegistry([from_function(greeter, name="greeter"), from_function(echo, name="echo", requires="x:y")])
    assert registry.describe(frozenset()) == (("greeter", "Greets whoever asks."),)
    assert registry.describe(frozenset({"x:y"}))[1] == ("echo", "")
    outcome = ask(registry, "hi", agent="echo", permissions=("x:y",))
    assert outcome.types == ("agent_started", "agent_thinking", "agent_completed")
    assert outcome.output == "hi"


def test_its_task_is_of_the_type_that_is_said() -> None:
    registry = AgentRegistry([from_function(ordered, name="ordered", input_type=Order)])
    assert ask(registry, '{"number": 41}').output == 42
    failed = ask(registry, "41").of(AgentFailed)
    assert failed[0].message.startswith("ordered takes Order as JSON")


def test_taken_up_again_it_repeats_nothing_that_had_ended(tmp_path: Path) -> None:
    registry = AgentRegistry([from_function(greeter, name="greeter")])

    async def main() -> Any:
        async with ScriptedModel(["Hello."]) as model:
            settings = Settings(home=tmp_path, drain_seconds=0.01)
            async with Runtime(registry, settings, model=model) as first:
                accepted = await first.admission.post("ada", frozenset(), Post(content="hi"))
                await world["is"].resting.wait()
            world["is"].last = True
            async with Runtime(registry, settings, model=model) as second:
                told = [decode(body) async for seq, body in second.reader.follow("ada", accepted.run_id, 0) if seq]
        return told[-1]

    ending = run(main())
    assert isinstance(ending, AgentCompleted)
    assert ending.output == {"said": "Hello.", "noted": "noted hi"}
    assert world["is"].did == ["hi"]


def closing() -> Callable[..., Any]:
    seen: list[str] = []

    async def remembers(task: str) -> str:
        seen.append(task)
        return ", ".join(seen)

    return remembers


async def defaulting(task: str, scope: RunScope, seen: list[str] = []) -> str:  # noqa: B006 - the point of the test
    del scope
    seen.append(task)
    return ", ".join(seen)


class Counting:
    async def count(self, task: str) -> str:
        return task

    async def __call__(self, task: str) -> str:
        return task


def plain(task: str) -> str:
    return task


async def three(task: str, scope: RunScope, other: str) -> None: ...


async def named(task: str, *, other: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (closing(), "its function closes over seen, which is a list, which every run would share"),
        (defaulting, "its function has a default that could change (seen is a list), which every run would share"),
        (Counting().count, "only a function can be an agent by itself"),
        (Counting(), "only a function can be an agent by itself"),
        (plain, "it is not async"),
        (three, "it must take the task, or the task and the scope"),
        (named, "it must take the task, or the task and the scope"),
    ],
)
def test_what_is_no_function_of_a_task_or_would_be_shared_is_refused(function: Any, reason: str) -> None:
    with pytest.raises(RegistryError) as refused:
        AgentRegistry([from_function(function, name="odd")])
    assert refused.value.reason.startswith(reason)
