"""A message that steers: it goes to the run that the thread has, at its next model request, and is never lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run

from netra_apex import AgentRegistry, BaseAgent, ChatAgent, RunScope, Runtime, Settings, tool
from netra_apex.core.conversations import Accepted, Post
from netra_apex.core.events import AgentCompleted, DurableEvent, decode
from netra_apex.core.messages import ModelRequest, Reply, ToolCall, ToolMessage, UserMessage
from netra_apex.errors import IdempotencyConflict
from netra_apex.testing import ScriptedModel


class World:
    """Where a tool is held, and what the model was asked."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self.open = asyncio.Event()
        self.requests: list[list[str]] = []


world: dict[str, World] = {}


@tool(idempotent=True)
async def hold() -> str:
    """Wait."""
    world["is"].held.set()
    await world["is"].open.wait()
    return "held"


class Talker(ChatAgent):
    """Calls a tool, and then answers."""

    name = "talker"
    instructions = "Talk."
    tools = (hold,)


class Waiter(BaseAgent):
    """Asks no model."""

    name = "waiter"

    async def run(self, task: str, scope: RunScope) -> str:
        await scope.tools.call(hold)
        return "done"


def asked(request: ModelRequest) -> list[str]:
    said: list[str] = []
    for message in request.messages:
        match message:
            case UserMessage(content=content):
                said.append(f"user: {content}")
            case ToolMessage(content=content):
                said.append(f"tool: {content}")
            case _:
                said.append(type(message).__name__.removesuffix("Message").lower())
    world["is"].requests.append(said)
    return said


def script() -> ScriptedModel:
    def answer(request: ModelRequest) -> Reply | str:
        said = asked(request)
        if said[-1] == "user: go":
            return Reply(text="", tool_calls=(ToolCall("1", "hold", "{}"),))
        return f"heard {len([each for each in said if each.startswith('user')])}"

    return ScriptedModel([answer] * 4)


@asynccontextmanager
async def runtime(home: Path, **settings: Any) -> AsyncIterator[Runtime]:
    values: dict[str, Any] = {"drain_seconds": 0.01} | settings
    registry = AgentRegistry([Talker, Waiter], default="talker")
    async with Runtime(registry, Settings(home=home, **values), model=script()) as made:
        yield made


async def post(made: Runtime, content: str, thread_id: str | None = None, **values: Any) -> Accepted:
    return await made.admission.post("ada", frozenset(), Post(content=content, thread_id=thread_id, **values))


async def told(made: Runtime, run_id: str) -> list[DurableEvent]:
    return [decode(body) async for seq, body in made.reader.follow("ada", run_id, 0) if seq is not None]


async def said(made: Runtime, thread_id: str) -> list[tuple[str, str]]:
    page = await made.stores.conversations.messages("ada", thread_id)
    assert page
    return [(message.role, message.content) for message in page.items]


def test_a_message_that_steers_is_told_to_the_model_at_its_next_request(tmp_path: Path) -> None:
    async def main() -> None:
        world["is"] = World()
        async with runtime(tmp_path) as made:
            first = await post(made, "go")
            await world["is"].held.wait()
            steer = await post(made, "rather left", first.thread_id, if_busy="steer")
            assert (steer.run_id, steer.thread_id, steer.status) == (first.run_id, first.thread_id, "running")
            assert steer.message_id != first.message_id
            world["is"].open.set()
            ending = (await told(made, first.run_id))[-1]
            assert isinstance(ending, AgentCompleted)
            assert ending.output == "heard 2"
            assert world["is"].requests == [
                ["system", "user: go"],
                ["system", "user: go", "assistant", "tool: held", "user: rather left"],
            ]
            assert await said(made, first.thread_id) == [
                ("user", "go"),
                ("user", "rather left"),
                ("assistant", "heard 2"),
            ]
            runs = await made.stores.runs.all_runs()
            assert [each.run_id for each in runs] == [first.run_id]

    run(main())


def test_a_later_run_of_the_thread_knows_what_steered_the_one_before(tmp_path: Path) -> None:
    async def main() -> None:
        world["is"] = World()
        async with runtime(tmp_path) as made:
            first = await post(made, "go")
            await world["is"].held.wait()
            await post(made, "rather left", first.thread_id, if_busy="steer")
            world["is"].open.set()
            await told(made, first.run_id)
            after = await post(made, "and now?", first.thread_id)
            await told(made, after.run_id)
            history = world["is"].requests[-1]
            assert [each for each in history if each.startswith("user")] == [
                "user: go",
                "user: rather left",
                "user: and now?",
            ]

    run(main())


def test_what_steered_a_run_before_a_restart_is_told_again_after_it(tmp_path: Path) -> None:
    async def main() -> None:
        world["is"] = World()
        async with runtime(tmp_path) as made:
            first = await post(made, "go")
            await world["is"].held.wait()
            await post(made, "rather left", first.thread_id, if_busy="steer")
        world["is"].open.set()
        async with runtime(tmp_path) as again:
            ending = (await told(again, first.run_id))[-1]
            assert isinstance(ending, AgentCompleted)
            assert world["is"].requests[-1][-1] == "user: rather left"

    run(main())


@pytest.mark.parametrize("agent", ["waiter", "talker"])
def test_what_comes_too_late_for_a_run_gets_one_of_its_own(tmp_path: Path, agent: str) -> None:
    async def main() -> None:
        world["is"] = World()
        async with runtime(tmp_path) as made:
            first = await post(made, "go", agent="waiter")
            await world["is"].held.wait()
            steer = await post(made, "too late", first.thread_id, if_busy="steer", agent=agent)
            assert steer.run_id == first.run_id
            world["is"].open.set()
            await told(made, first.run_id)
            runs = [each for each in await made.stores.runs.all_runs() if each.run_id != first.run_id]
            assert len(runs) == 1
            assert (runs[0].message_id, runs[0].thread_id) == (steer.message_id, first.thread_id)
            assert isinstance((await told(made, runs[0].run_id))[-1], AgentCompleted)
            assert ("user", "too late") in await said(made, first.thread_id)

    run(main())


def test_in_a_thread_that_has_no_run_it_makes_one(tmp_path: Path) -> None:
    async def main() -> None:
        world["is"] = World()
        world["is"].open.set()
        async with runtime(tmp_path) as made:
            first = await post(made, "go", if_busy="steer")
            await told(made, first.run_id)
            second = await post(made, "more", first.thread_id, if_busy="steer")
            assert second.run_id != first.run_id
            assert isinstance((await told(made, second.run_id))[-1], AgentCompleted)

    run(main())


def test_the_same_key_again_has_the_same_answer_and_steers_once(tmp_path: Path) -> None:
    async def main() -> None:
        world["is"] = World()
        async with runtime(tmp_path) as made:
            first = await post(made, "go")
            await world["is"].held.wait()
            values = {"if_busy": "steer", "idempotency_key": "k"}
            one = await post(made, "left", first.thread_id, **values)
            two = await post(made, "left", first.thread_id, **values)
            assert (two.run_id, two.message_id, two.repeated) == (first.run_id, one.message_id, True)
            with pytest.raises(IdempotencyConflict):
                await post(made, "right", first.thread_id, **values)
            world["is"].open.set()
            await told(made, first.run_id)
            assert [content for role, content in await said(made, first.thread_id) if role == "user"] == ["go", "left"]

    run(main())
