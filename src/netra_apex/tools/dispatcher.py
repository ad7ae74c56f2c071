"""`ToolDispatcher`: every tool call of one run goes through it, be it the model's or the agent's own code's."""

import asyncio
import contextlib
import inspect
import traceback
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, cast

import structlog

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.events import ToolCompleted, ToolExecuting
from netra_apex.core.messages import ToolCall, ToolMessage, ToolSpec
from netra_apex.core.permissions import allows
from netra_apex.core.ports import Emitter
from netra_apex.core.scope import RunScope, ToolCalls
from netra_apex.errors import CallFailed, NetraError, ScopeClosed, ToolDefinitionError, sentence
from netra_apex.tools.attempts import OutOfTime, Raised, Returned
from netra_apex.tools.calls import CODES, SHOWN_NAME, Call, Done, Failed, clean, completed, for_model, parse
from netra_apex.tools.host import ToolHost
from netra_apex.tools.results import cut, tell, tellable
from netra_apex.tools.tool import Tool
from netra_apex.tools.underway import Underway

_log = structlog.get_logger(__name__)


class ToolDispatcher(ToolCalls):
    """The only way to a tool in a run: permission, then events, validation, time-out and the function.

    Why one per run: it is bound to one user's context and one run's emitter, so that no call can act for, or be told
    to, anybody else. `scope_for` makes the scope that a tool receives from the call's own context. `before_call` is
    awaited before anything is told of a call: the engine's chance to tell a thought first (G4).

    Every `tool_executing` gets its `tool_completed`, on every path (G3). A function runs once its `tool_executing` is
    stored. Ids on the wire are made here: the model's own are neither unique nor ours.

    Raises:
        ToolDefinitionError: two tools have one name.
    """

    def __init__(
        self,
        context: UserExecutionContext,
        emitter: Emitter,
        tools: Sequence[Tool],
        *,
        host: ToolHost,
        scope_for: Callable[[UserExecutionContext], RunScope],
        before_call: Callable[[], Awaitable[None] | None],
    ) -> None:
        self._context = context
        self._emitter = emitter
        self._host = host
        self._scope_for = scope_for
        self._before_call = before_call
        self._closed = False
        self.underway = Underway()
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            self._add(tool)

    def offered(self) -> tuple[ToolSpec, ...]:
        """The tools that the model may be shown: those that the user may use."""
        self._check_open()
        return tuple(tool.spec for tool in self._allowed())

    def offer(self, tools: Sequence[Callable[..., Any]]) -> tuple[ToolSpec, ...]:
        """Takes these tools in, so that the model may call them, and returns those that it may be shown.

        Raises:
            ToolDefinitionError: one of them is no tool, or has another one's name.
        """
        self._check_open()
        held = self._context.permissions
        return tuple(tool.spec for tool in [self._add(tool) for tool in tools] if allows(held, tool.requires))

    async def answer(self, calls: Sequence[ToolCall]) -> tuple[ToolMessage, ...]:
        """Carries out a model's calls at once, and answers each, in their order. What fails is answered as text.

        Raises:
            CancelledError: the run was cancelled; each open call has been told as `cancelled`.
            NetraError: the run's events cannot be told any more.
        """
        self._check_open()
        prepared = [self._from_model(call) for call in calls]
        await self._carry_out(prepared)
        return tuple(
            ToolMessage(call_id=asked.id, content=for_model(call)) for asked, call in zip(calls, prepared, strict=True)
        )

    async def call(self, tool: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls a tool for an agent's code, and returns what its function returned."""
        self._check_open()
        call = self._from_code(tool, args, kwargs)
        await self._carry_out([call])
        outcome = call.outcome
        if isinstance(outcome, Failed):
            raise CallFailed(outcome.code, outcome.message) from outcome.cause
        assert outcome is not None
        return outcome.value

    def close(self) -> None:
        """Ends its use: from now on every method raises `ScopeClosed`."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise ScopeClosed("dispatcher", self._context.run_id)

    def _add(self, tool: Callable[..., Any]) -> Tool:
        if not isinstance(tool, Tool):
            raise ToolDefinitionError(_name(tool), "it is not decorated with @tool")
        added = cast("Tool", tool)
        if self._tools.setdefault(added.name, added) is not added:
            raise ToolDefinitionError(added.name, "two tools have this name")
        return added

    def _allowed(self) -> list[Tool]:
        held = self._context.permissions
        return [tool for tool in self._tools.values() if allows(held, tool.requires)]

    def _from_model(self, asked: ToolCall) -> Call:
        text = clean(asked.arguments)
        if not text.strip():
            text = "{}"  # some models call a tool without parameters with nothing at all
        arguments, problem = parse(text)
        tool = self._tools.get(asked.name)
        if tool is None:
            offered = ", ".join(tool.name for tool in self._allowed()) or "none"
            name = self._host.redactor.text(clean(asked.name))[:SHOWN_NAME]
            refusal = Failed("unknown_tool", f"there is no tool {name!r}; there are: {offered}")
            return Call(name=name, arguments=arguments, outcome=refusal)
        refusal = self._denial(tool) or problem
        return Call(
            name=tool.name,
            arguments=arguments,
            tool=tool,
            read=partial(tool.signature.from_json, text),
            outcome=refusal,
        )

    def _from_code(self, tool: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        if not isinstance(tool, Tool):
            refusal = Failed("unknown_tool", f"{_name(tool)} is not a tool; decorate it with @tool")
            return Call(name=_name(tool), arguments={}, outcome=refusal)
        called = cast("Tool", tool)
        try:
            values = called.signature.bind(args, kwargs)
        except CallFailed as error:
            refusal = self._denial(called) or Failed(error.code, error.message)
            return Call(name=called.name, arguments=tellable(kwargs), tool=called, outcome=refusal)
        return Call(
            name=called.name,
            arguments=tellable(values),
            tool=called,
            read=partial(called.signature.from_values, values),
            outcome=self._denial(called),
        )

    def _denial(self, tool: Tool) -> Failed | None:
        if allows(self._context.permissions, tool.requires):
            return None
        context = self._context
        _log.warning(
            "tool denied", tool=tool.name, requires=tool.requires, user_id=context.user_id, run_id=context.run_id
        )
        return Failed("denied", f"{tool.name} needs the permission {tool.requires}, which this user does not have")

    async def _carry_out(self, calls: Sequence[Call]) -> None:
        """Tells the calls, runs those that are not refused, and tells their ends."""
        if not calls:
            return
        thought = self._before_call()
        if thought is not None:
            await thought
        events: list[ToolExecuting | ToolCompleted] = []
        for call in calls:
            events.append(ToolExecuting(call_id=call.call_id, tool=call.name, arguments=call.arguments))
            if call.outcome is not None:
                events.append(completed(call, call.outcome))
        stored = self._emitter.emit(*events)
        open_calls = [call for call in calls if call.outcome is None]
        try:
            with self.underway:
                # On disk before the function runs: after a crash nobody may find an effect without its call (G1).
                await stored
                await self._run_all(open_calls)
        except BaseException:
            # Told here and not in each call's own task: a task that is cancelled before it begins never gets there.
            self._tell_given_up(open_calls)
            raise

    async def _run_all(self, calls: Sequence[Call]) -> None:
        if len(calls) == 1:
            await self._run(calls[0])
            return
        try:
            async with asyncio.TaskGroup() as group:
                for call in calls:
                    group.create_task(self._run(call))
        except ExceptionGroup as failed:
            # No tool's failure comes so far: it is the emitter's, and any of them says why the run must end.
            raise failed.exceptions[0] from failed

    async def _run(self, call: Call) -> None:
        assert call.tool is not None
        seconds = self._host.timeout_seconds if call.tool.timeout is None else call.tool.timeout
        ended = await self._host.attempts.run(partial(self._work, call, call.tool), seconds)
        outcome = self._judge(call, ended)
        # Before it is told: a call whose end could not be told must not be told a second end.
        call.outcome = outcome
        # Not awaited: it has its place in the stream, and a failure to store it is raised by the next `emit`.
        self._emitter.emit(completed(call, outcome))

    async def _work(self, call: Call, tool: Tool) -> Done:
        """What an attempt does: all that runs an application's code is in here, validators and serialisers too."""
        arguments = call.read()
        if tool.signature.scope is not None:
            arguments[tool.signature.scope] = self._scope_for(self._context.for_call(call.call_id))
        if tool.is_async:
            value = await tool.function(**arguments)
        else:
            value = await self._host.threads.run(self._context.user_id, partial(tool.function, **arguments))
            if inspect.isawaitable(value):  # a decorator may hide that its function is async
                value = await value
        return Done(value, tell(value, self._host.result_bytes, self._host.redactor))

    def _judge(self, call: Call, ended: Returned[Done] | Raised | OutOfTime) -> Done | Failed:
        match ended:
            case Returned(value=done):
                return done
            case OutOfTime(seconds=seconds):
                return Failed("timeout", f"{call.name} took longer than {seconds:g} s")
            case Raised(error=CallFailed() as error):
                code = error.code if error.code in CODES else "error"
                return Failed(code, self._cut(error.message), error)
            case Raised(error=error):
                _log.warning(
                    "tool failed",
                    tool=call.name,
                    call_id=call.call_id,
                    user_id=self._context.user_id,
                    run_id=self._context.run_id,
                    # As text: a logger's own rendering may show the frames' variables, which are the arguments.
                    traceback=self._host.redactor.text("".join(traceback.format_exception(error))),
                )
                return Failed("error", self._cut(sentence(error)), error)

    def _cut(self, text: str) -> str:
        return cut(text, self._host.result_bytes, self._host.redactor)

    def _tell_given_up(self, calls: Sequence[Call]) -> None:
        given_up = [call for call in calls if call.outcome is None]
        for call in given_up:
            call.outcome = Failed("cancelled", f"{call.name} was cancelled")
        # Where the emitter is what failed, that failure is on its way to the engine already.
        with contextlib.suppress(NetraError):
            if given_up:
                self._emitter.emit(*[completed(call, call.outcome) for call in given_up if call.outcome])


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
