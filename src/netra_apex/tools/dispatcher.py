"""`ToolDispatcher`: every tool call of one run goes through it, be it the model's or the agent's own code's."""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import structlog

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.events import DurableEvent, ToolExecuting
from netra_apex.core.journal import Journal, Step, StepKind
from netra_apex.core.messages import ToolCall, ToolMessage, ToolSpec, clean
from netra_apex.core.permissions import allows
from netra_apex.core.scope import RunScope, ToolCalls
from netra_apex.core.voices import Emitter
from netra_apex.errors import CallFailed, NetraError, ScopeClosed, ToolDefinitionError
from netra_apex.tools.asking import Asking
from netra_apex.tools.attempts import OutOfTime, Raised, Returned
from netra_apex.tools.calls import (
    CODES,
    SHOWN_NAME,
    Call,
    Done,
    Failed,
    called,
    completed,
    for_model,
    parse,
    tell_span,
)
from netra_apex.tools.host import ToolHost
from netra_apex.tools.ledger import Came, Ledger, Place, digest, ended, lost, started
from netra_apex.tools.performing import perform
from netra_apex.tools.processes import described
from netra_apex.tools.quiet import Quiet
from netra_apex.tools.results import Told, can_be_shown, cut, tellable
from netra_apex.tools.tool import Tool
from netra_apex.tools.underway import Underway

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the engine does for a dispatcher.

    `scope_for` makes the scope that a tool receives from the call's own context and the call.
    `before_call` is awaited before anything is told of a call: the engine's chance to tell a thought first (G4).
    `replay` is given the steps inside a call that had finished before the run was taken up; `went_on` is told of each
    call that ended in this process. `quiet` notices when a run does nothing but wait for a person.
    """

    scope_for: Callable[[UserExecutionContext, Call], RunScope]
    before_call: Callable[[], Awaitable[None] | None]
    replay: Callable[[Call, Sequence[Step]], None] = lambda _call, _steps: None
    went_on: Callable[[], None] = lambda: None
    quiet: Quiet = field(default_factory=Quiet)


class ToolDispatcher(ToolCalls):
    """The only way to a tool in a run: permission, then events, validation, time-out and the function.

    Why one per run: it is bound to one user's context and one run's emitter, so that no call can act for, or be told
    to, anybody else. What a call did before its run was taken up is in the `journal`, and is not done again (G7).

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
        journal: Journal,
        hooks: "Hooks",
    ) -> None:
        self._context = context
        self._emitter = emitter
        self._host = host
        self._ledger = Ledger(journal)
        self._asking = Asking(context.user_id, host, self._ledger, hooks.quiet)
        self._keys = itertools.count(1)
        self._hooks = hooks
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
        return await self.answer_at(self._anywhere, calls)

    async def answer_at(self, place: Place, calls: Sequence[ToolCall]) -> tuple[ToolMessage, ...]:
        """As `answer`; `place` says where in the run's journal each call stands."""
        self._check_open()
        prepared = [self._from_model(call) for call in calls]
        for call in prepared:
            call.key = place("call", call.name, digest(call))
        await self._carry_out(prepared)
        return tuple(
            ToolMessage(call_id=asked.id, content=for_model(call)) for asked, call in zip(calls, prepared, strict=True)
        )

    async def call(self, tool: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls a tool for an agent's code, and returns what its function returned."""
        return await self.call_at(self._anywhere, tool, args, kwargs)

    async def call_at(
        self, place: Place, tool: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """As `call`; `place` says where in the run's journal it stands."""
        self._check_open()
        call = self._from_code(tool, args, kwargs)
        call.key = place("call", call.name, digest(call))
        await self._carry_out([call])
        outcome = call.outcome
        if isinstance(outcome, Failed):
            raise CallFailed(outcome.code, outcome.message, agent_code=outcome.agent_code) from outcome.cause
        assert outcome is not None
        return outcome.value

    def close(self) -> None:
        """Ends its use: from now on every method raises `ScopeClosed`."""
        self._closed = True

    def _anywhere(self, kind: StepKind, name: str, digest: str) -> str:
        """For calls that come from no scope."""
        return f"{kind}.{next(self._keys)}"

    def _check_open(self) -> None:
        if self._closed:
            raise ScopeClosed("dispatcher", self._context.run_id)

    def _add(self, tool: Callable[..., Any]) -> Tool:
        if not isinstance(tool, Tool):
            raise ToolDefinitionError(_name(tool), "it is not decorated with @tool")
        added = cast("Tool", tool)
        if self._tools.setdefault(added.name, added) is not added:
            raise ToolDefinitionError(added.name, "two tools have this name")
        if added.isolated:
            self._host.processes.prepare(added)
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
            return Call(name=_name(tool), arguments={}, outcome=refusal, by_code=True)
        known = cast("Tool", tool)
        try:
            values = known.signature.bind(args, kwargs)
        except CallFailed as error:
            refusal = self._denial(known) or Failed(error.code, error.message)
            return Call(name=known.name, arguments=tellable(kwargs), tool=known, outcome=refusal, by_code=True)
        refusal = self._denial(known)
        if refusal is None and known.waits and not can_be_shown(values):
            refusal = Failed(
                "invalid_arguments", f"{known.name} waits for a person, and its arguments are no JSON to show"
            )
        return Call(
            by_code=True,
            name=known.name,
            arguments=tellable(values),
            tool=known,
            read=partial(known.signature.from_values, values),
            outcome=refusal,
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
        with self._hooks.quiet.busy(repeatable=True):
            thought = self._hooks.before_call()
            if thought is not None:
                await thought
            await self._check_first(calls)
            stored = self._tell_begun(calls)
        # One that the agent gave up before it was taken up is given up again, by whoever did so then.
        open_calls = [call for call in calls if call.outcome is None or call.given_up]
        try:
            with self.underway:
                # On disk before the function runs: after a crash nobody may find an effect without its call (G1).
                with self._hooks.quiet.busy(repeatable=True):
                    await stored
                await self._run_all(open_calls)
        except BaseException:
            # Told here and not in each call's own task: a task that is cancelled before it begins never gets there.
            self._tell_given_up(open_calls)
            raise

    async def _check_first(self, calls: Sequence[Call]) -> None:
        """Refuses calls whose arguments are wrong before a person is asked about them."""
        for call in calls:
            if call.outcome is None and call.tool is not None and call.tool.waits:
                call.outcome = self._asking.refusal(call)
            if call.outcome is None and call.tool is not None and call.tool.waits:
                read = await self._host.attempts.run(partial(_read, call), self._host.timeout_seconds)
                if not isinstance(read, Returned):
                    call.outcome = _failed(self._judge(call, read))

    def _tell_begun(self, calls: Sequence[Call]) -> Awaitable[None]:
        """Tells the calls that begin, with the ends of those that are refused; nothing that was told before a crash.

        Raises:
            RunFailed: the outcome of one that was begun before is unknown, or the agent is not doing what it did.
        """
        came: list[Came] = [self._ledger.recall(call) for call in calls]
        for call, how in zip(calls, came, strict=True):
            if how == "done":
                self._hooks.replay(call, self._ledger.inside(call))
        unknown = [call for call, how in zip(calls, came, strict=True) if how == "lost"]
        if not all(self._asking.may_ask_again(call) for call in unknown):
            # What would have begun beside it, or been asked, has not: the run ends here.
            ends = [completed(call, call.outcome) for call in unknown if call.outcome]
            self._emitter.emit(*ends, steps=[lost(call) for call in unknown])
            raise self._ledger.give_up(unknown[0])
        events: list[DurableEvent] = []
        steps: list[Step] = []
        for call, how in zip(calls, came, strict=True):
            if how == "done":
                continue
            if how == "new":
                events.append(ToolExecuting(call_id=call.call_id, tool=call.name, arguments=call.arguments))
            told = self._asking.told(call, how)
            if call.asked is not None and not told:
                continue  # it was asked before, and nobody has decided yet
            events += told
            if call.outcome is not None:
                events.append(completed(call, call.outcome))
                with self._host.telemetry.call(self._context, called(call)) as span:
                    tell_span(span, call.outcome)
            steps.append(started(call) if call.outcome is None else ended(call, call.outcome))
        return self._emitter.emit(*events, steps=steps)

    async def _run_all(self, calls: Sequence[Call]) -> None:
        if not calls:
            return
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
        if call.given_up:
            await asyncio.get_running_loop().create_future()
        if call.asked is not None:
            await self._hooks.quiet.wait()  # and does not come back: who is told the decision begins anew
        assert call.tool is not None
        seconds = self._host.timeout_seconds if call.tool.timeout is None else call.tool.timeout
        with self._hooks.quiet.busy(repeatable=call.tool.idempotent):
            with self._host.telemetry.call(self._context, called(call)) as span:
                came = await self._host.attempts.run(partial(self._work, call, call.tool), seconds)
                outcome = self._judge(call, came)
                tell_span(span, outcome)
            self._hooks.went_on()
            # Before it is told: a call whose end could not be told must not be told a second end.
            call.outcome = outcome
            # On disk before the agent knows of it: what it does next may rest on this, which no crash must undo.
            await self._emitter.emit(completed(call, outcome), steps=(ended(call, outcome),))

    async def _work(self, call: Call, tool: Tool) -> Done:
        """What an attempt does: all that runs an application's code is in here, validators and serialisers too."""
        arguments = call.read()
        if tool.signature.scope is not None:
            arguments[tool.signature.scope] = self._hooks.scope_for(self._context.for_call(call.call_id), call)
        return await perform(self._host, self._context.user_id, call, tool, arguments)

    def _judge(self, call: Call, ended: Returned[Done] | Raised | OutOfTime) -> Done | Failed:
        match ended:
            case Returned(value=done):
                return done
            case OutOfTime(seconds=seconds):
                return Failed("timeout", f"{call.name} took longer than {seconds:g} s")
            case Raised(error=CallFailed() as error):
                code = error.code if error.code in CODES else "error"
                return Failed(code, self._cut(error.message), error, error.agent_code)
            case Raised(error=error):
                said, trace = described(error)
                _log.warning(
                    "tool failed",
                    tool=call.name,
                    call_id=call.call_id,
                    user_id=self._context.user_id,
                    run_id=self._context.run_id,
                    # As text: a logger's own rendering may show the frames' variables, which are the arguments.
                    traceback=self._host.redactor.text(trace),
                )
                return Failed("error", self._cut(said), error)

    def _cut(self, text: str) -> str:
        return cut(text, self._host.result_bytes, self._host.redactor)

    def _tell_given_up(self, calls: Sequence[Call]) -> None:
        given_up = [call for call in calls if call.outcome is None]
        for call in given_up:
            call.given_up = True
            # What one that was begun before a crash has done is as unknown as it was.
            call.at_work = call.at_work or (call.asked is not None and call.asked.again)
            call.outcome = Failed("cancelled", f"{call.name} was cancelled")
        # Where the emitter is what failed, that failure is on its way to the engine already.
        with contextlib.suppress(NetraError):
            if given_up:
                self._emitter.emit(
                    *[completed(call, call.outcome) for call in given_up if call.outcome],
                    steps=[ended(call, call.outcome) for call in given_up if call.outcome],
                )


async def _read(call: Call) -> Done:
    call.read()
    return Done(None, Told(None, ""))


def _failed(outcome: Done | Failed) -> Failed:
    assert isinstance(outcome, Failed)
    return outcome


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
