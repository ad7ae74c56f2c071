"""`EngineScope`: what the engine lends one agent of a run, and takes back when the agent has ended."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from netra_apex.agents import FILES, HISTORY, BaseAgent
from netra_apex.agents.base import AgentType
from netra_apex.core.belongings import UserStore
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.events import AgentThinking, CallError, MessageCompleted
from netra_apex.core.journal import Step
from netra_apex.core.messages import (
    ModelMessage,
    ModelRequest,
    Reply,
    ToolCall,
    ToolMessage,
    UserMessage,
    told_with,
)
from netra_apex.core.runs import Result
from netra_apex.core.scope import ToolCalls
from netra_apex.core.voices import Model
from netra_apex.engine import mcp
from netra_apex.engine.belongings import store_of
from netra_apex.engine.branches import Branches
from netra_apex.engine.delegating import Delegating, member_tool, typed
from netra_apex.engine.forms import form_of
from netra_apex.engine.lent import Handed, Lent
from netra_apex.engine.replies import (
    asking,
    cleaned,
    failed,
    given_up_again,
    replied,
    reply_of,
    was_given_up,
)
from netra_apex.engine.seeing import with_files
from netra_apex.errors import (
    BudgetExceeded,
    CallFailed,
    ModelFailed,
    NetraError,
    ScopeClosed,
    TurnsExhausted,
)
from netra_apex.tools import ToolDispatcher
from netra_apex.tools.mcp import MCPServer, Reaching
from netra_apex.tools.validation import problem_of

CLOSED_SECONDS = 0.05  # how long a closed scope takes to say so

log = structlog.get_logger()


class EngineScope(Delegating, Reaching):
    """See `core.scope.RunScope`. Each tool call has a scope of its own over what its agent was lent."""

    def __init__(
        self, context: UserExecutionContext, lent: Lent, *, at: str = "", call_id: str = "", again: bool = False
    ) -> None:
        self._context = context
        self._lent = lent
        self._key = at
        self._call_id = call_id
        self._again = again
        self._branches = Branches(f"{at}/" if at else "", journal=lent.journal)

    def adopt(self) -> None:
        """The task that calls is the agent's, or the call's, own."""
        self._branches.adopt()

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
        return RecordedCalls(self._context, self._lent, self._branches)

    @property
    def store(self) -> UserStore:
        """What this run's user keeps."""
        return store_of(self._context, partial(_opened, self._context, self._lent), self._branches)

    async def think(self, text: str) -> None:
        """Tells the user what the agent is about.

        Raises:
            TypeError: it is no text.
        """
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - an agent's code need not be typed
            raise TypeError(f"a thought is text, not {type(text).__name__}")
        lent = await _opened(self._context, self._lent)
        await lent.think(text, self._branches.step("think", "think"))

    async def model(
        self,
        messages: str | Sequence[ModelMessage],
        *,
        tools: Sequence[Any] = (),
        output_type: Any = None,
        show: bool = True,
    ) -> Reply:
        """See `RunScope.model`."""
        lent = await _opened(self._context, self._lent)
        if lent.turns >= lent.max_turns:
            raise TurnsExhausted(f"the model gave no final answer in {lent.max_turns} turns")
        lent.turns += 1
        offered = [each for one in tools for each in await self._offered(lent, one)]
        model = lent.model()
        lent.think_first(f"Asking {model.name}.")
        assert lent.dispatcher is not None
        form = None if output_type is None else form_of(output_type)
        request = ModelRequest(
            messages=(UserMessage(messages),) if isinstance(messages, str) else tuple(messages),
            tools=lent.dispatcher.offer(offered),
            output_schema=None if form is None else form.schema,
        )
        lent.void_given_up()
        # By what the agent asks, and not by what its user has added, which is the step's own to remember.
        asked = asking(request)
        asked = replace(asked, key=self._branches.step(asked.kind, asked.name, asked.digest))
        known = lent.journal.take(asked.key, asked.kind, asked.name, asked.digest)
        if known is not None:
            lent.steering.remember(known.result)
        if known is None:
            heard = await lent.steering.hear(len(request.messages))
            lent.transcript += heard
            messages = await with_files(lent.steering.into(request.messages), self._context, lent)
            request = dataclasses.replace(request, messages=messages)
            reply = await self._ask(lent, model, request, asked, show=show)
        elif was_given_up(known):
            with lent.asking:
                reply = await given_up_again()
        else:
            reply = reply_of(known)
        lent.said(reply, shown=show)
        return reply if form is None or reply.tool_calls else form.of(reply, model.name)

    async def step(self, name: str, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """See `RunScope.step`."""
        lent = await _opened(self._context, self._lent)
        key = self._branches.step("step", name)
        named = lent.named
        async with named.locks.setdefault(name, asyncio.Lock()):
            if name not in named.done:
                named.done[name] = await self._take_step(lent, key, name, partial(function, *args))
        # Each caller its own: what one of them changes is not another's result.
        return msgspec.json.decode(named.done[name])

    async def delegate(self, member: type[BaseAgent], task: Any, *, share: Sequence[str] = ()) -> Result:
        """See `RunScope.delegate`."""
        lent = await _opened(self._context, self._lent)
        if getattr(member, "name", None) not in lent.members or lent.members[member.name].member is not member:
            raise TypeError(f"{getattr(member, '__qualname__', member)!s} is no member of {lent.line[-1]}")
        _shared(lent, tuple(share))
        tool = member_tool(member, tuple(share))
        try:
            output = await self.tools.call(tool, **tool.arguments(task))
        except CallFailed as error:
            return Result(ok=False, error=CallError(error.agent_code or error.code, error.message))
        try:
            result = Result(ok=True, output=typed(member, output))
        except ValidationError as error:
            # The member's own code did not keep to what its class says.
            said = f"{member.name}'s output is not of its output_type: {problem_of(error)}."
            return Result(ok=False, error=CallError("agent_error", said))
        lent.delivered[member.name] = output
        return result

    async def hand(self, member: type[BaseAgent], task: Any, share: tuple[str, ...]) -> Any:
        """See `Delegating.hand`."""
        lent = await _opened(self._context, self._lent)
        history = _shared(lent, share)
        return await lent.hand(lent, Handed(member, task, history, self._context, self._key, self._call_id))

    async def reach(self, server: MCPServer, tool: str, arguments: Mapping[str, Any]) -> Any:
        """See `Reaching.reach`."""
        lent = await _opened(self._context, self._lent)
        call = mcp.Reached(self._key, self._call_id, self._again)
        return await mcp.reach(self, lent, call, (server, tool), arguments)

    async def _offered(self, lent: Lent, offered: Callable[..., Any] | MCPServer | str) -> Sequence[Callable[..., Any]]:
        if isinstance(offered, MCPServer | str):
            return await mcp.tools_of(self, lent, offered)
        return [_as_tool(lent, offered)]

    async def _take_step(self, lent: Lent, key: str, name: str, function: Callable[[], Awaitable[Any]]) -> bytes:
        known = lent.journal.take_named(key, name)
        if known is not None:
            return msgspec.json.encode(known.result["value"])
        # Where a call inside it waits for a person, it is begun anew, as after a crash.
        with lent.quiet.busy(repeatable=True):
            value = await function()
        try:
            encoded = msgspec.json.encode(to_jsonable_python(value, inf_nan_mode="null"))
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            raise TypeError(
                f"step {name} gave a {type(value).__name__}, which the journal cannot keep: {error}"
            ) from error
        result = {"value": msgspec.Raw(encoded)}
        step = Step(key=key, kind="step", name=name, digest="", state="finished", result=result)
        # On disk before the agent goes on: what the function did must not be done twice.
        await lent.voice.emit(steps=(step,))
        return encoded

    async def _ask(self, lent: Lent, model: Model, request: ModelRequest, asked: Step, *, show: bool) -> Reply:
        """Asks the model; what it answered, or that it failed, is in the journal with what is told of it."""
        writer = lent.voice.writer(show=show, key=asked.key, anew=lent.catching_up)
        asking = lent.budget.asking(model.name, request, asked.key)
        try:
            with lent.asking, lent.quiet.busy():
                reply = cleaned(await asking.ask(model, writer))
        except BaseException as error:
            # Not taken back yet: what a user has cancelled stays as he saw it.
            lent.given_up.append(writer)
            if isinstance(error, ModelFailed | BudgetExceeded | asyncio.CancelledError) and not lent.closed:
                with contextlib.suppress(NetraError):  # what went wrong with the model is on its way already
                    lent.budget.settling = lent.voice.emit(steps=(asking.settled(failed(asked, error)),))
            raise
        await _opened(self._context, lent)
        lent.went_on()
        message_id = writer.finish()
        told: list[AgentThinking | MessageCompleted] = []
        if show and reply.thinking:
            told.append(lent.thought(reply.thinking))
        if show and reply.text:
            told.append(MessageCompleted(message_id=message_id, content=reply.text))
        step = asking.settled(lent.steering.noted(replied(asked, reply, shown=show)))
        lent.budget.settling = lent.voice.emit(*told, steps=(step,))
        return reply


class RecordedCalls(ToolCalls):
    """Tool calls through the run's dispatcher; a model's calls and their answers join the transcript."""

    def __init__(self, context: UserExecutionContext, lent: Lent, branches: Branches) -> None:
        self._context = context
        self._lent = lent
        self._branches = branches

    async def call(self, tool: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """See `ToolCalls.call`."""
        return await (await self._dispatcher()).call_at(self._branches.step, tool, args, kwargs)

    async def answer(self, calls: Sequence[ToolCall]) -> tuple[ToolMessage, ...]:
        """See `ToolCalls.answer`."""
        answers = await (await self._dispatcher()).answer_at(self._branches.step, calls)
        self._lent.transcript.extend(answers)
        return answers

    async def _dispatcher(self) -> ToolDispatcher:
        dispatcher = (await _opened(self._context, self._lent)).dispatcher
        assert dispatcher is not None
        return dispatcher


def _as_tool(lent: Lent, offered: Callable[..., Any]) -> Callable[..., Any]:
    """A member that is offered to the model, as the tool that hands work to it."""
    if not isinstance(offered, AgentType) or not issubclass(offered, BaseAgent):
        return offered
    if offered.name not in lent.members:
        raise TypeError(f"{offered.__qualname__} is no member of {lent.line[-1]}")
    return lent.members[offered.name]


def _shared(lent: Lent, share: tuple[str, ...]) -> tuple[ModelMessage, ...]:
    """What a member is shown besides its task, as messages before it.

    Raises:
        ValueError: there is nothing of that name.
    """
    shown: list[ModelMessage] = []
    for name in share:
        if name == HISTORY:
            shown += lent.history
        elif name == FILES:
            shown += [told_with("", lent.asked.files)] if lent.asked.files else []
        elif name in lent.delivered:
            delivered = lent.delivered[name]
            text = delivered if isinstance(delivered, str) else msgspec.json.encode(delivered).decode()
            shown.append(UserMessage(f"From {name}:\n{text}"))
        else:
            raise ValueError(
                f"share names {name!r}, which is neither {HISTORY!r} nor {FILES!r} nor a member that has answered"
            )
    return tuple(shown)


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
