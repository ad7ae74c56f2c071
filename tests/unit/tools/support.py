"""What the tests of the tools room share: a recording emitter that refuses what a run's stream may not tell."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from netra_apex.core.belongings import UserStore
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.events import AgentStarted, AgentThinking, DurableEvent, ToolCompleted, ToolExecuting, encode
from netra_apex.core.journal import Journal, Step
from netra_apex.core.messages import ModelMessage, Reply, ToolCall
from netra_apex.core.runs import Result, RunStream
from netra_apex.core.scope import RunScope, ToolCalls
from netra_apex.tools import Call, Hooks, Tool, ToolDispatcher, ToolHost

R = TypeVar("R")
LIMIT = 10.0


def run(main: Coroutine[Any, Any, R]) -> R:
    """Runs a test's coroutine, bounded."""

    async def bounded() -> R:
        async with asyncio.timeout(LIMIT):
            return await main

    return asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    """Gives the loop its turns until the condition holds; `run` bounds it."""
    while not condition():  # noqa: ASYNC110 - what is waited for happens in a thread, which sets no event
        await asyncio.sleep(0)


def at(*keys: str) -> Callable[[str, str, str], str]:
    """Places in a run's journal: these, one after another."""
    left = iter(keys)
    return lambda *_: next(left)


class Recorder:
    """An emitter that keeps what it is told. `stored` may be replaced by a future that the test resolves."""

    def __init__(self) -> None:
        self.stream = RunStream()
        self.events: list[DurableEvent] = []
        self.batches: list[tuple[DurableEvent, ...]] = []
        self.steps: list[Step] = []
        self.hold: asyncio.Future[None] | None = None
        self.broken: Exception | None = None

    def emit(self, *events: DurableEvent, steps: Sequence[Step] = ()) -> Awaitable[None]:
        if self.broken is not None:
            raise self.broken
        self.steps += steps
        for event in events:
            self.stream.admit(event)
            encode(event)
        self.events += events
        self.batches.append(events)
        if self.hold is not None:
            return asyncio.shield(self.hold)  # as the port says: a cancel of who awaits does not undo the storing
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def executing(self) -> list[ToolExecuting]:
        return [event for event in self.events if isinstance(event, ToolExecuting)]

    def completed(self) -> list[ToolCompleted]:
        return [event for event in self.events if isinstance(event, ToolCompleted)]

    def codes(self) -> list[str]:
        """How each call ended, in the order in which they were told: `ok` or the error's code."""
        return ["ok" if not event.error else event.error.code for event in self.completed()]

    def end_of(self, executing: ToolExecuting) -> ToolCompleted:
        (end,) = [event for event in self.completed() if event.call_id == executing.call_id]
        return end


class CallScope(RunScope):
    """A call's scope of which only the context is used."""

    def __init__(self, context: UserExecutionContext) -> None:
        self._context = context

    @property
    def context(self) -> UserExecutionContext:
        return self._context

    @property
    def history(self) -> tuple[ModelMessage, ...]:
        raise NotImplementedError

    @property
    def tools(self) -> ToolCalls:
        raise NotImplementedError

    @property
    def store(self) -> UserStore:
        raise NotImplementedError

    async def think(self, text: str) -> None:
        raise NotImplementedError

    async def model(
        self,
        messages: str | Sequence[ModelMessage],
        *,
        tools: Sequence[Callable[..., Any]] = (),
        output_type: Any = None,
        show: bool = True,
    ) -> Reply:
        raise NotImplementedError

    async def delegate(self, member: type[Any], task: Any, *, share: Sequence[str] = ()) -> Result:
        raise NotImplementedError

    async def step(self, name: str, function: Callable[..., Awaitable[R]], *args: Any) -> R:
        raise NotImplementedError


@dataclass
class Bench:
    """One run's dispatcher with what it tells."""

    dispatcher: ToolDispatcher
    recorder: Recorder
    context: UserExecutionContext
    tools: tuple[Tool, ...]
    contexts: list[UserExecutionContext] = field(default_factory=list)

    async def ask(self, *calls: tuple[str, str]) -> list[str]:
        """A model's calls, as (tool, arguments), and the texts that answer them."""
        asked = [ToolCall(f"model-{number}", name, arguments) for number, (name, arguments) in enumerate(calls)]
        answers = await self.dispatcher.answer(asked)
        assert [answer.call_id for answer in answers] == [call.id for call in asked]
        return [answer.content for answer in answers]


def bench(
    *tools: Tool,
    user: str = "ada",
    permissions: Sequence[str] = (),
    host: ToolHost | None = None,
    journal: Journal | None = None,
) -> Bench:
    """A started run with these tools."""
    recorder = Recorder()
    context = UserExecutionContext.new(user, permissions=permissions)
    recorder.stream.admit(AgentStarted(task="test"))
    contexts: list[UserExecutionContext] = []

    def scope_for(call: UserExecutionContext, _: Call) -> RunScope:
        contexts.append(call)
        return CallScope(call)

    def think_first() -> None:
        if not recorder.stream.thoughts(AgentThinking(text="", step=1)):
            recorder.emit(AgentThinking(text="using a tool", step=1))

    made = ToolDispatcher(
        context,
        recorder,
        tools,
        host=host or ToolHost(),
        journal=journal or Journal(),
        hooks=Hooks(scope_for=scope_for, before_call=think_first),
    )
    return Bench(made, recorder, context, tools, contexts)


def kept(steps: Sequence[Step]) -> list[Step]:
    """The journal as another process finds it."""
    last = {step.key: step for step in steps}
    return [msgspec.json.decode(msgspec.json.encode(step), type=Step) for step in last.values()]


def taken_up(
    before: Bench,
    steps: Sequence[Step],
    events: Sequence[DurableEvent],
    *,
    permissions: Sequence[str] = (),
    host: ToolHost | None = None,
) -> Bench:
    """The run, which had done and told this much when it was taken up."""
    made = bench(*before.tools, journal=Journal(kept(steps)), permissions=permissions, host=host)
    for event in events:
        made.recorder.stream.admit(event)
    return made


def after(before: Bench, *, permissions: Sequence[str] = (), host: ToolHost | None = None) -> Bench:
    """The run, taken up after all that it had done."""
    return taken_up(before, before.recorder.steps, before.recorder.events, permissions=permissions, host=host)


def is_as_before(before: Bench, again: Bench) -> None:
    """Nothing was told or written anew, and the agent has come to all that it had done."""
    assert again.recorder.events == []
    assert again.recorder.steps == []
    assert again.recorder.stream.last_seq == before.recorder.stream.last_seq


@asynccontextmanager
async def hosting(**values: Any) -> AsyncIterator[ToolHost]:
    """A host that is closed at the end."""
    host = ToolHost(**values)
    try:
        yield host
    finally:
        await host.aclose()
