"""However a run is stopped or breaks, it has one ending, and nothing that it began goes on after it (G3, G9)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run, until

from netra_apex import AgentRegistry, BaseAgent, ChatAgent, RunScope, Runtime, Settings, UserExecutionContext, tool
from netra_apex.core.conversations import Post
from netra_apex.core.events import AgentCancelled, AgentCompleted, AgentFailed, DurableEvent, decode, is_terminal
from netra_apex.core.messages import ModelRequest, Reply
from netra_apex.core.runs import Result
from netra_apex.core.voices import Deltas, Model
from netra_apex.durable.watch import watch
from netra_apex.errors import Invalid, ModelFailed, ScopeClosed


class HeldModel:
    """Answers once it is told to; it knows how many requests are open and how many there were."""

    name = "held:model"

    def __init__(self) -> None:
        self.open = 0
        self.asked = 0
        self.answer = asyncio.Event()

    async def complete(self, request: ModelRequest, deltas: Deltas) -> Reply:
        self.asked += 1
        self.open += 1
        try:
            deltas.text("half an ")
            await self.answer.wait()
            deltas.text("answer")
            return Reply(text="half an answer")
        finally:
            self.open -= 1

    async def check(self) -> str | None:
        return None

    async def aclose(self) -> None:
        return None


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Broken(BaseAgent):
    """Breaks in the way that its task names."""

    name = "broken"

    async def run(self, task: str, scope: RunScope) -> Any:
        match task:
            case "unspeakable":
                raise Unspeakable
            case "generator":
                return (1 // 0 for _ in range(3))
            case "exit":
                raise SystemExit(3)
            case "interrupt":
                raise KeyboardInterrupt
            case _:
                return object()


class Parted(BaseAgent):
    """Its process is told to stop just as it has something to tell."""

    name = "parted"

    async def run(self, task: str, scope: RunScope) -> str:
        inside["engine"].suspend()
        await scope.think("one more thing")
        return task


class Stubborn(BaseAgent):
    """Asks the model again when it is cancelled."""

    name = "stubborn"

    async def run(self, task: str, scope: RunScope) -> str:
        try:
            await scope.model("first")
        except asyncio.CancelledError:
            await scope.model("and again")
        return "done"


kept: list[RunScope] = []
left: dict[str, asyncio.Task[Any]] = {}
inside: dict[str, Any] = {}


@tool
async def linger(query: str) -> str:
    """Never answers."""
    inside["tool"].set()
    await asyncio.Event().wait()
    return query


class Leaving(ChatAgent):
    """Ends while tasks that it started are asking the model and calling a tool."""

    name = "leaving"
    tools = (linger,)

    async def run(self, task: str, scope: RunScope) -> str:
        left["model"] = asyncio.create_task(scope.model("left behind"))
        left["tool"] = asyncio.create_task(scope.tools.call(linger, "left behind"))
        await inside["tool"].wait()
        return "done"


class Patient(BaseAgent):
    """Asks the model, and asks no more."""

    name = "patient"

    async def run(self, task: str, scope: RunScope) -> str:
        return (await scope.model("hi")).text


class Retrying(BaseAgent):
    """Gives up the model's answer in the middle, and answers by itself."""

    name = "retrying"

    async def run(self, task: str, scope: RunScope) -> str:
        asking = asyncio.create_task(scope.model("slow"))
        await inside["told"].wait()
        asking.cancel()
        await asyncio.wait({asking})
        return "by myself"


class Stepping(BaseAgent):
    """Takes one step twice at once."""

    name = "stepping"

    async def run(self, task: str, scope: RunScope) -> list[int]:
        taken: list[int] = []

        async def take() -> int:
            taken.append(1)
            await asyncio.sleep(0)
            return len(taken)

        return list(await asyncio.gather(scope.step("once", take), scope.step("once", take)))


@asynccontextmanager
async def running(home: Path, model: Model | None = None, **settings: Any) -> AsyncIterator[Runtime]:
    registry = AgentRegistry([Patient, Broken, Stubborn, Leaving, Parted, Retrying, Stepping])
    async with Runtime(registry, Settings(home=home, **settings), model=model or HeldModel()) as runtime:
        yield runtime


async def events(runtime: Runtime, context: UserExecutionContext) -> list[DurableEvent]:
    return [decode(body) for _, body in await runtime.stores.runs.events(context.user_id, context.run_id, 0)]


def start(runtime: Runtime, agent: str, context: UserExecutionContext, engines: list[Any]) -> asyncio.Task[Result]:
    async def carry_out() -> Result:
        async with runtime.engines.for_user(context) as engine:
            engines.append(engine)
            return await engine.run(agent, "go")

    return asyncio.create_task(carry_out())


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("unspeakable", "Unspeakable"),
        ("generator", "an iterator"),
        ("exit", "asked the process to exit"),
        ("interrupt", "asked the process to exit"),
        ("object", "cannot be told"),
    ],
)
def test_an_agent_that_breaks_in_any_way_ends_its_run_as_failed(tmp_path: Path, way: str, says: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as runtime:
            context = UserExecutionContext.new("ada")
            async with runtime.engines.for_user(context) as engine:
                result = await engine.run("broken", way)
            assert result.error is not None
            assert (result.ok, result.error.code) == (False, "agent_error")
            told = await events(runtime, context)
            assert isinstance(told[-1], AgentFailed)
            assert says in told[-1].message
            assert sum(map(is_terminal, told)) == 1
            assert len(runtime.hub) == 0

    run(main())


def test_an_agent_that_is_being_cancelled_cannot_ask_the_model_again(tmp_path: Path) -> None:
    async def main() -> None:
        model = HeldModel()
        async with running(tmp_path, model) as runtime:
            context, engines = UserExecutionContext.new("ada"), list[Any]()
            asked = start(runtime, "stubborn", context, engines)
            await until(lambda: model.open == 1)
            engines[0].cancel("ada")
            assert not (await asked).ok
            assert isinstance((await events(runtime, context))[-1], AgentCancelled)
            assert (model.open, model.asked) == (0, 1)

    run(main())


def test_what_an_agents_own_tasks_ask_and_call_ends_with_its_run(tmp_path: Path) -> None:
    async def main() -> None:
        inside["tool"] = asyncio.Event()
        model = HeldModel()
        async with running(tmp_path, model) as runtime:
            context = UserExecutionContext.new("ada")
            assert (await start(runtime, "leaving", context, [])).ok
            assert model.open == 0
            assert all(task.done() for task in left.values())
            told = await events(runtime, context)
            assert isinstance(told[-1], AgentCompleted)
            ends = [event for event in told if event.__struct_config__.tag == "tool_completed"]
            assert [getattr(event, "error").code for event in ends] == ["cancelled"]  # noqa: B009 - a union's field
        left.clear()
        inside.clear()

    run(main())


def test_text_that_an_agent_gave_up_is_taken_back_before_the_run_completes(tmp_path: Path) -> None:
    async def main() -> None:
        inside["told"] = asyncio.Event()
        model = HeldModel()
        async with running(tmp_path, model) as runtime:
            context = UserExecutionContext.new("ada")
            asked = start(runtime, "retrying", context, [])
            await until(lambda: model.open == 1)
            kinds: list[str] = []
            async for _, body in runtime.reader.follow("ada", context.run_id, 0):
                kinds.append(json.loads(body)["type"])
                if kinds[-1] == "message_delta":
                    inside["told"].set()
            assert (await asked).output == "by myself"
            assert kinds[-3:] == ["message_delta", "message_reset", "agent_completed"]
        inside.clear()

    run(main())


def test_an_agent_that_breaks_on_what_the_stop_has_closed_leaves_its_run_to_the_next_process(tmp_path: Path) -> None:
    async def main() -> None:
        context = UserExecutionContext.new("ada")
        async with running(tmp_path) as runtime:
            async with runtime.engines.for_user(context) as engine:
                inside["engine"] = engine
                result = await engine.run("parted", "go")
            inside.clear()
            assert result.error is not None
            assert result.error.code == "interrupted"
            stored = await runtime.stores.runs.events("ada", context.run_id, 0, 10)
            assert not any(is_terminal(decode(body)) for _, body in stored)

    run(main())


def test_a_step_that_is_taken_twice_at_once_is_taken_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as runtime:
            result = await start(runtime, "stepping", UserExecutionContext.new("ada"), [])
            assert result.output == [1, 1]

    run(main())


def test_a_message_that_was_being_accepted_when_the_drain_began_is_not_begun(tmp_path: Path) -> None:
    async def main() -> None:
        model = HeldModel()
        async with running(tmp_path, model, drain_seconds=0.2, runs_per_user=1) as runtime:
            first = await runtime.admission.post("ada", frozenset(), Post(content="first"))
            await until(lambda: model.open == 1)
            late = [
                asyncio.create_task(runtime.admission.post(user, frozenset(), Post(content="late")))
                for user in ("ada", "bob")
            ]
            await asyncio.sleep(0)
            await runtime.drain()
            accepted = [first, *[await each for each in late]]
            assert model.asked == 1
        async with running(tmp_path, model) as again:
            await until(lambda: model.asked == 4)
            model.answer.set()
            for owner, one in zip(("ada", "ada", "bob"), accepted, strict=True):
                told = [body async for _, body in again.reader.follow(owner, one.run_id, 0)]
                assert '"agent_completed"' in told[-1]

    run(main())


def test_a_fault_in_looking_at_other_processes_ends_no_run(tmp_path: Path) -> None:
    async def main() -> None:
        looks = 0

        async def changed() -> bool:
            nonlocal looks
            looks += 1
            if looks == 1:
                raise KeyError("a bug")
            return True

        async def close() -> None:
            seen.set()

        seen = asyncio.Event()
        async with running(tmp_path) as runtime:
            runner: Any = None
            recovery: Any = _Settled()
            looking = asyncio.create_task(watch(changed, close, runtime.stores.runs, runner, recovery))
            await seen.wait()
            looking.cancel()

    run(main())


class _Settled:
    """Owes no ending."""

    async def retry(self) -> None:
        return None


def test_a_model_that_fails_leaves_the_scope_open_and_a_closed_one_raises(tmp_path: Path) -> None:
    async def main() -> None:
        class Failing(HeldModel):
            async def complete(self, request: ModelRequest, deltas: Deltas) -> Reply:
                raise ModelFailed("no", model=self.name)

        class Keeping(BaseAgent):
            name = "keeping"

            async def run(self, task: str, scope: RunScope) -> str:
                kept.append(scope)
                for _ in range(2):
                    with pytest.raises(ModelFailed):
                        await scope.model("hi")
                return "done"

        async with Runtime(AgentRegistry([Keeping]), Settings(home=tmp_path), model=Failing()) as runtime:
            async with runtime.engines.for_user(UserExecutionContext.new("ada")) as engine:
                assert (await engine.run("keeping", "hi")).ok
            with pytest.raises(ScopeClosed):
                await kept.pop().model("late")

    run(main())


def test_a_program_that_is_cancelled_twice_while_its_run_ends_still_ends_it(tmp_path: Path) -> None:
    async def main() -> None:
        model = HeldModel()
        async with running(tmp_path, model) as runtime:
            context = UserExecutionContext.new("ada")
            asked = start(runtime, "stubborn", context, [])
            await until(lambda: model.open == 1)
            for _ in range(3):
                asked.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert isinstance((await events(runtime, context))[-1], AgentCancelled)

    run(main())


@pytest.mark.parametrize("turns", range(6))
def test_a_program_that_is_cancelled_while_its_run_begins_leaves_none_unfinished(tmp_path: Path, turns: int) -> None:
    async def main() -> None:
        async with running(tmp_path) as runtime:
            asked = start(runtime, "patient", UserExecutionContext.new("ada"), [])
            for _ in range(turns):
                await asyncio.sleep(0)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert all(each.status.ended for each in await runtime.stores.runs.all_runs())

    run(main())


def test_a_programs_task_is_checked_and_redacted_before_it_is_stored(tmp_path: Path) -> None:
    key = "sk-proj-" + "a1B2" * 10

    async def main() -> None:
        async with running(tmp_path) as runtime:
            async with runtime.engines.for_user(UserExecutionContext.new("ada")) as engine:
                with pytest.raises(Invalid, match="the task"):
                    await engine.run("broken", "half \ud800")
            async with runtime.engines.for_user(UserExecutionContext.new("ada")) as engine:
                await engine.run("broken", f"my key is {key}")

    run(main())
    assert not [path for path in tmp_path.iterdir() if key.encode() in path.read_bytes()]


class Answering(BaseAgent):
    """Answers without a model, and then tells what it knows of before."""

    name = "answering"

    async def run(self, task: str, scope: RunScope) -> list[str]:
        return [f"answer to {task}", *(message.content for message in scope.history)]


class Careless(BaseAgent):
    """Thinks something that cannot be told."""

    name = "careless"

    async def run(self, task: str, scope: RunScope) -> str:
        nothing: Any = None
        with pytest.raises(TypeError):
            await scope.think(nothing)
        await scope.think("well")
        return "done"


def test_a_later_run_is_told_what_an_agent_answered_without_a_model(tmp_path: Path) -> None:
    async def main() -> None:
        async with Runtime(AgentRegistry([Answering]), Settings(home=tmp_path), model=HeldModel()) as runtime:
            thread_id = ""
            for task in ("one", "two"):
                context = UserExecutionContext.new("ada", thread_id=thread_id or None)
                thread_id = context.thread_id
                async with runtime.engines.for_user(context) as engine:
                    result = await engine.run("answering", task)
            assert result.output == ["answer to two", "one", '["answer to one"]']

    run(main())


def test_a_thought_that_cannot_be_told_takes_no_number(tmp_path: Path) -> None:
    async def main() -> None:
        async with Runtime(AgentRegistry([Careless]), Settings(home=tmp_path), model=HeldModel()) as runtime:
            context = UserExecutionContext.new("ada")
            async with runtime.engines.for_user(context) as engine:
                assert (await engine.run("careless", "go")).ok
            assert [event.seq for event in await events(runtime, context)] == [1, 2, 3]

    run(main())
