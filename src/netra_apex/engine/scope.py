"""`EngineScope`: what the engine lends one agent of a run, and takes back when the agent has ended."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.events import AgentThinking, MessageCompleted
from netra_apex.core.messages import (
    NO_USAGE,
    AssistantMessage,
    ModelMessage,
    ModelRequest,
    Reply,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from netra_apex.core.ports import Deltas, Model, Voice
from netra_apex.core.scope import RunScope, ToolCalls
from netra_apex.errors import OutputInvalid, ScopeClosed, TurnsExhausted
from netra_apex.tools import ToolDispatcher
from netra_apex.tools.underway import Underway

CLOSED_SECONDS = 0.05  # how long a closed scope takes to say so

log = structlog.get_logger()


@dataclass(slots=True)
class Lent:
    """What one agent of a run works with, shared by its own scope and those of its tool calls."""

    voice: Voice
    model: Callable[[], Model]
    max_turns: int
    history: tuple[ModelMessage, ...]
    transcript: list[ModelMessage]
    dispatcher: ToolDispatcher | None = None
    thoughts: int = 0
    turns: int = 0
    usage: Usage = NO_USAGE
    closed: bool = False
    steps: dict[str, Any] = field(default_factory=dict[str, Any])
    step_locks: dict[str, asyncio.Lock] = field(default_factory=dict[str, asyncio.Lock])
    asking: Underway = field(default_factory=Underway)
    outlived: bool = False
    given_up: list[Deltas] = field(default_factory=list[Deltas])

    def think(self, text: str) -> Awaitable[None]:
        """Tells a thought."""
        self.thoughts += 1
        return self.voice.emit(AgentThinking(text=text, step=self.thoughts))

    def think_first(self, text: str) -> None:
        """Tells this thought if the agent has told none yet (G4)."""
        if not self.thoughts:
            self.think(text)

    def void_given_up(self) -> None:
        """Takes back the text of answers that broke off: the agent has gone on without them."""
        for writer in self.given_up:
            writer.reset()
        self.given_up.clear()

    def close(self) -> None:
        """Nothing more begins: the scope's methods raise `ScopeClosed`."""
        self.closed = True
        if self.dispatcher is not None:
            self.dispatcher.close()

    @property
    def underway(self) -> tuple[Underway, ...]:
        """Where requests and calls that have begun still are."""
        return (self.asking,) if self.dispatcher is None else (self.asking, self.dispatcher.underway)


class EngineScope(RunScope):
    """See `core.scope.RunScope`. Each tool call has a scope of its own over what its agent was lent."""

    def __init__(self, context: UserExecutionContext, lent: Lent) -> None:
        self._context = context
        self._lent = lent

    @property
    def context(self) -> UserExecutionContext:
        """Who this acts for."""
        return self._context

    @property
    def history(self) -> tuple[ModelMessage, ...]:
        """What was said in this thread before."""
        return self._lent.history

    @property
    def tools(self) -> ToolCalls:
        """Tool calls from code."""
        return RecordedCalls(self._context, self._lent)

    async def think(self, text: str) -> None:
        """Tells the user what the agent is about.

        Raises:
            TypeError: it is no text.
        """
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - an agent's code need not be typed
            raise TypeError(f"a thought is text, not {type(text).__name__}")
        await (await _opened(self._context, self._lent)).think(text)

    async def model(
        self,
        messages: str | Sequence[ModelMessage],
        *,
        tools: Sequence[Callable[..., Any]] = (),
        output_type: Any = None,
        show: bool = True,
    ) -> Reply:
        """See `RunScope.model`."""
        lent = await _opened(self._context, self._lent)
        if lent.turns >= lent.max_turns:
            raise TurnsExhausted(f"the model gave no final answer in {lent.max_turns} turns")
        lent.turns += 1
        model = lent.model()
        lent.think_first(f"Asking {model.name}.")
        assert lent.dispatcher is not None
        adapter = None if output_type is None else _adapter(output_type)
        request = ModelRequest(
            messages=(UserMessage(messages),) if isinstance(messages, str) else tuple(messages),
            tools=lent.dispatcher.offer(tools),
            output_schema=None if adapter is None else adapter.json_schema(),
        )
        lent.void_given_up()
        writer = lent.voice.writer(show=show)
        try:
            with lent.asking:
                reply = await model.complete(request, writer)
        except BaseException:
            # Not taken back yet: what a user has cancelled stays as he saw it.
            lent.given_up.append(writer)
            raise
        await _opened(self._context, lent)
        lent.usage += reply.usage
        message_id = writer.finish()
        if show:
            if reply.thinking:
                lent.think(reply.thinking)
            if reply.text:
                lent.voice.emit(MessageCompleted(message_id=message_id, content=reply.text))
            lent.transcript.append(AssistantMessage(reply.text, reply.tool_calls))
        if adapter is None or reply.tool_calls:
            return reply
        return _with_output(reply, adapter, model.name)

    async def step(self, name: str, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """See `RunScope.step`."""
        lent = await _opened(self._context, self._lent)
        async with lent.step_locks.setdefault(name, asyncio.Lock()):
            if name not in lent.steps:
                lent.steps[name] = await function(*args)
        return lent.steps[name]


class RecordedCalls(ToolCalls):
    """Tool calls through the run's dispatcher; a model's calls and their answers join the transcript."""

    def __init__(self, context: UserExecutionContext, lent: Lent) -> None:
        self._context = context
        self._lent = lent

    async def call(self, tool: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """See `ToolCalls.call`."""
        return await (await self._dispatcher()).call(tool, *args, **kwargs)

    async def answer(self, calls: Sequence[ToolCall]) -> tuple[ToolMessage, ...]:
        """See `ToolCalls.answer`."""
        answers = await (await self._dispatcher()).answer(calls)
        self._lent.transcript.extend(answers)
        return answers

    async def _dispatcher(self) -> ToolDispatcher:
        dispatcher = (await _opened(self._context, self._lent)).dispatcher
        assert dispatcher is not None
        return dispatcher


async def _opened(context: UserExecutionContext, lent: Lent) -> Lent:
    """What was lent, while it is.

    Raises:
        ScopeClosed: the run has ended.
    """
    if lent.closed:
        if not lent.outlived:
            lent.outlived = True
            log.warning("a task of a run goes on after its end", run_id=context.run_id, user_id=context.user_id)
        # It may try again and again: it must not take the loop from everybody else's runs.
        await asyncio.sleep(CLOSED_SECONDS)
        raise ScopeClosed("scope", context.run_id)
    return lent


@lru_cache(maxsize=256)
def _adapter(output_type: Any) -> TypeAdapter[Any]:
    # Keyed by the type alone, which is code and no user's: building one costs milliseconds.
    return TypeAdapter(output_type)


def _with_output(reply: Reply, adapter: TypeAdapter[Any], model: str) -> Reply:
    try:
        output = adapter.validate_json(reply.text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise OutputInvalid(
            f"{where}: {first['msg']}." if where else f"{first['msg']}.", model=model, text=reply.text
        ) from error
    return Reply(text=reply.text, thinking=reply.thinking, usage=reply.usage, output=output)
