"""A run that another process left is taken up: what was done is not done again, and what cannot go on says why (G7)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run
from tests.support.stores import opened, raw

from netra_apex import AgentRegistry, BaseAgent, RunScope, Runtime, Settings, UserExecutionContext, tool
from netra_apex.core.conversations import Post
from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentThinking,
    DurableEvent,
    RunQueued,
    ToolCompleted,
    ToolExecuting,
    decode,
)
from netra_apex.core.messages import Usage
from netra_apex.core.runs import RunStatus
from netra_apex.durable.recovery import MAX_RECOVERIES
from netra_apex.testing import ScriptedModel


class World:
    """What outlives a runtime: how often the code came where, and where it is held up."""

    def __init__(self) -> None:
        self.life = 1
        self.did: list[str] = []
        self.held = asyncio.Event()
        self.open = asyncio.Event()

    async def gate(self) -> None:
        """Waits here in the first life."""
        if self.life == 1:
            self.held.set()
            await self.open.wait()


world: dict[str, World] = {}


@tool
async def act(what: str) -> str:
    """Do something."""
    world["is"].did.append(what)
    return f"did {what}"


@tool(requires="orders:read")
async def look(what: str) -> str:
    """Look at orders."""
    world["is"].did.append(what)
    return f"saw {what}"


@tool
async def think_aloud(what: str, *, scope: RunScope) -> str:
    """Think and ask inside a call."""
    await scope.think(f"inside {what}")
    return (await scope.model(what, show=False)).text


class Steady(BaseAgent):
    """Does the same twice: thinks, acts, thinks inside a call, takes a step, asks, and then the rest."""

    name = "steady"

    async def run(self, task: str, scope: RunScope) -> list[Any]:
        await scope.think("first")
        done = [await scope.tools.call(act, "one"), await scope.tools.call(think_aloud, "deep")]
        await scope.think("second")
        done.append(await scope.step("once", self.once))
        done.append((await scope.model("how?")).text)
        await world["is"].gate()
        await scope.think("third")
        done.append(await scope.tools.call(act, "two"))
        return done

    async def once(self) -> dict[str, tuple[int, int]]:
        world["is"].did.append("once")
        return {"pair": (1, 2)}


class Fickle(BaseAgent):
    """Does what the task says, which differs from life to life: `first|second`."""

    name = "fickle"

    async def run(self, task: str, scope: RunScope) -> str:
        words = task.split("|")[min(world["is"].life, 2) - 1].split()
        try:
            for word in words:
                match word.partition(":"):
                    case ("act", _, what):
                        await scope.tools.call(act, what)
                    case ("look", _, what):
                        await scope.tools.call(look, what)
                    case ("think", _, what):
                        await scope.think(what)
                    case _:
                        await scope.model(word)
        except Exception:  # noqa: BLE001 - what an agent's code makes of it must not matter
            world["is"].did.append("caught")
        await world["is"].gate()
        return "done"


class Waiting(BaseAgent):
    """Waits in its first life."""

    name = "waiting"

    async def run(self, task: str, scope: RunScope) -> str:
        await world["is"].gate()
        return task


def script() -> ScriptedModel:
    answers = {"deep": "deep answer", "how?": "like this", "ask1": "one", "ask2": "two"}
    return ScriptedModel({asked: [answer] for asked, answer in answers.items()})


@asynccontextmanager
async def runtime(home: Path, *agents: type[BaseAgent], **settings: Any) -> AsyncIterator[Runtime]:
    registry = AgentRegistry(agents or (Steady, Fickle, Waiting), default=None if agents else "steady")
    values: dict[str, Any] = {"drain_seconds": 0.01} | settings
    async with Runtime(registry, Settings(home=home, **values), model=script()) as made:
        yield made


async def leave(
    home: Path, agent: str, task: str = "go", permissions: tuple[str, ...] = (), posts: int = 1
) -> list[str]:
    """Posts, and ends the process's runtime once the first run is held up; the runs' ids."""
    world["is"] = World()
    async with runtime(home) as first:
        thread, runs = None, list[str]()
        for _ in range(posts):
            post = Post(content=task, agent=agent, thread_id=thread)
            accepted = await first.admission.post("ada", frozenset(permissions), post)
            thread = accepted.thread_id
            runs.append(accepted.run_id)
        await world["is"].held.wait()
    world["is"].life = 2
    return runs


async def told(runtime: Runtime, run_id: str) -> list[DurableEvent]:
    """The run's events, to its ending."""
    return [decode(body) async for seq, body in runtime.reader.follow("ada", run_id, 0) if seq is not None]


def ending_after(home: Path, change: Callable[[Runtime], Awaitable[Any]] | None, **left: Any) -> DurableEvent:
    """The ending of a run that was left, once a runtime has taken it up."""

    async def main() -> DurableEvent:
        (run_id,) = await leave(home, **left)
        if change is not None:
            world["is"].life = 1
            async with runtime(home) as between:
                await change(between)
            world["is"].life = 2
        async with runtime(home) as second:
            return (await told(second, run_id))[-1]

    return run(main())


def test_a_run_that_is_taken_up_repeats_nothing_and_leaves_the_log_of_an_undisturbed_one(tmp_path: Path) -> None:
    async def main() -> None:
        world["is"] = World()
        world["is"].life = 2
        async with runtime(tmp_path / "calm") as calm:
            accepted = await calm.admission.post("ada", frozenset(), Post(content="go", agent="steady"))
            wanted = await told(calm, accepted.run_id)
        (run_id,) = await leave(tmp_path / "left", "steady")
        async with runtime(tmp_path / "left") as second:
            events = await told(second, run_id)
            usage = [event.usage for event in (wanted[-1], events[-1]) if isinstance(event, AgentCompleted)]
            assert usage[0] == usage[1] != Usage()
            messages = await second.stores.conversations.messages("ada", events[0].thread_id, limit=9, cursor=None)
            assert messages is not None
            assert [message.content for message in messages.items][:2] == ["go", "like this"]
        assert world["is"].did == ["one", "once", "two"]
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert [plain(event) for event in events] == [plain(event) for event in wanted]
        thoughts = [event.step for event in events if isinstance(event, AgentThinking)]
        assert thoughts == list(range(1, len(thoughts) + 1))

    run(main())


def plain(event: DurableEvent) -> tuple[Any, ...]:
    """What an event says, without ids and times."""
    match event:
        case AgentThinking(text=text, step=step):
            return (text, step)
        case ToolExecuting(tool=tool, arguments=arguments):
            return (tool, arguments)
        case ToolCompleted(tool=tool, result=result):
            return (tool, result)
        case AgentCompleted(output=output):
            return (output,)
        case _:
            return (type(event).__name__,)


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("act:a|act:b", "step 1"),
        ("act:a|look:a", "look"),
        ("act:a act:b|act:a", "step 2"),
        ("act:a|think:a", "think"),
        ("think:a act:a|act:a", "step 1"),
        ("ask1|ask2", "other content"),
    ],
)
def test_an_agent_that_does_not_do_the_same_twice_fails_with_the_step_whatever_it_catches(
    tmp_path: Path, task: str, names: str
) -> None:
    ending = ending_after(tmp_path, None, agent="fickle", task=task, permissions=("orders:read",))
    assert isinstance(ending, AgentFailed)
    assert ending.code == "nondeterministic"
    assert names in ending.message
    assert [did for did in world["is"].did if did not in ("a", "b")] in ([], ["caught"])


def test_what_a_user_may_no_more_he_may_not_in_a_run_that_is_taken_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with runtime(tmp_path) as first:
            await first.stores.accounts.add_user("ada", "hash", frozenset())
        (run_id,) = await leave(tmp_path, "fickle", "think:a|think:a look:late", ("orders:read",))
        async with runtime(tmp_path) as second:
            events = await told(second, run_id)
            assert [event.error.code for event in events if isinstance(event, ToolCompleted) and event.error] == [
                "denied"
            ]
        assert "late" not in world["is"].did

    run(main())


def test_the_run_of_a_user_who_was_disabled_is_cancelled(tmp_path: Path) -> None:
    async def disable(between: Runtime) -> None:
        await between.stores.accounts.add_user("ada", "hash", frozenset())
        await between.stores.accounts.set_disabled("ada", disabled=True)

    ending = ending_after(tmp_path, disable, agent="waiting")
    assert isinstance(ending, AgentCancelled)
    assert ending.by == "system"


def test_a_run_whose_agent_is_gone_ends_as_interrupted(tmp_path: Path) -> None:
    async def main() -> None:
        (run_id,) = await leave(tmp_path, "waiting")
        async with runtime(tmp_path, Steady) as second:
            ending = (await told(second, run_id))[-1]
        assert isinstance(ending, AgentFailed)
        assert (ending.code, "waiting" in ending.message) == ("interrupted", True)

    run(main())


def test_a_journal_that_was_sealed_with_another_secret_ends_its_run_as_interrupted(tmp_path: Path) -> None:
    async def main() -> None:
        (run_id,) = await leave(tmp_path, "steady")
        async with runtime(tmp_path, secret_key="another secret of more than thirty-two characters") as second:
            ending = (await told(second, run_id))[-1]
        assert isinstance(ending, AgentFailed)
        assert (ending.code, "NETRA_SECRET_KEY" in ending.message) == ("interrupted", True)
        assert world["is"].did == ["one", "once"]

    run(main())


@pytest.mark.parametrize("in_order", [False, True])
def test_a_run_that_gets_nowhere_in_life_after_life_is_ended_unless_they_ended_in_order(
    tmp_path: Path, in_order: bool
) -> None:
    async def died() -> None:
        if not in_order:
            async with opened(tmp_path) as stores:
                await raw(stores, "update runs set recoveries = recoveries + 1")

    async def main() -> None:
        (run_id,) = await leave(tmp_path, "waiting")
        await died()
        world["is"].life = 1
        for _ in range(MAX_RECOVERIES):
            world["is"].held.clear()
            async with runtime(tmp_path):
                await world["is"].held.wait()
            await died()
        async with runtime(tmp_path) as last:
            ending = (await told(last, run_id))[-1] if not in_order else None
            run_now = await last.stores.runs.operator_run(run_id)
        if ending is not None:
            assert isinstance(ending, AgentFailed)
            assert ending.code == "recovered_too_often"
        else:
            assert run_now is not None
            assert not run_now.status.ended

    run(main())


def test_runs_of_a_thread_keep_their_order_over_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        runs = await leave(tmp_path, "waiting", posts=4)
        async with runtime(tmp_path, runs_per_user=1, queued_per_user=1) as second:
            logs = [await told(second, run_id) for run_id in runs]
        assert [type(log[-1]) for log in logs] == [AgentCompleted] * 4
        assert [sum(isinstance(event, RunQueued) for event in log) for log in logs] == [0, 1, 1, 1]
        begun = [log[-1].at for log in logs]
        assert begun == sorted(begun)

    run(main())


def test_a_run_that_a_stopping_server_has_left_can_be_cancelled_there_and_then(tmp_path: Path) -> None:
    async def main() -> None:
        world["is"] = World()
        async with runtime(tmp_path) as first:
            accepted = await first.admission.post("ada", frozenset(), Post(content="go", agent="waiting"))
            await world["is"].held.wait()
            await first.drain()
            left = await first.admission.cancel("ada", accepted.run_id)
            assert left.status is RunStatus.CANCELLED
            ending = (await told(first, accepted.run_id))[-1]
        assert isinstance(ending, AgentCancelled)
        assert ending.by == "ada"

    run(main())


def test_a_programs_own_run_ends_with_its_program(tmp_path: Path) -> None:
    async def main() -> None:
        world["is"] = World()
        async with runtime(tmp_path) as first:
            await first.stores.runs.begin(context := UserExecutionContext.new("ada"), "waiting", "go")
        async with runtime(tmp_path) as second:
            ending = (await told(second, context.run_id))[-1]
        assert isinstance(ending, AgentFailed)
        assert (ending.code, ending.retryable) == ("interrupted", True)

    run(main())
