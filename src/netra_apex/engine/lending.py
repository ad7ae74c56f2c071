"""`Lending`: gives the agents of one run what they work with, and has members do what they are handed."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog

from netra_apex.agents import BaseAgent, ChatAgent, SupervisorAgent
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.events import AgentCancelled, AgentCompleted, AgentFailed, AgentStarted, AgentThinking, Ending
from netra_apex.core.journal import Journal, Step, note
from netra_apex.core.messages import NO_USAGE, ModelMessage
from netra_apex.core.ports import Runs
from netra_apex.core.runs import RunStatus
from netra_apex.core.telemetry import Telemetry
from netra_apex.core.voices import Model, RunEmitter, Voice
from netra_apex.engine.acting import act, ending_of, let_go, made, outcome
from netra_apex.engine.budgets import Budgets, RunBudget
from netra_apex.engine.delegating import PREFIX, MemberTool, member_tool
from netra_apex.engine.lent import Asked, Belongings, Handed, Lent, NamedSteps
from netra_apex.engine.scope import EngineScope
from netra_apex.engine.steering import Steering
from netra_apex.errors import AgentFailed as AgentBroke
from netra_apex.errors import AgentTimedOut, CallFailed
from netra_apex.settings import Settings
from netra_apex.tools import Call, Hooks, Tool, ToolDispatcher, ToolHost
from netra_apex.tools.mcp import Servers
from netra_apex.tools.quiet import Quiet
from netra_apex.tools.results import as_json
from netra_apex.tools.underway import Underway, put_out

MEMBER_GRACE_SECONDS = 0.25  # a member lets go within the grace of the call that it is inside of
MEMBER_PUT_OUT_SECONDS = 0.2
# Of what its supervisor has left: who has waited for a member in vain can still say so.
MEMBER_SHARE = 0.8

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineParts:
    """What the process has and every engine uses: models by name, the store of runs, the host of tool calls, where
    users keep what is theirs, the process's MCP servers, its budgets, and whom it tells of runs.

    `executor` is the name that the process carries runs out by; `park` leaves a run that waits for a person.
    """

    model: Callable[[str | None], Model]
    runs: Runs
    tools: ToolHost
    belongings: Belongings
    settings: Settings
    servers: Servers
    park: Callable[[UserExecutionContext, int], Awaitable[None]]
    budgets: Budgets
    executor: str
    telemetry: Telemetry


class Lending:
    """Lends the parts of one run to its agents: to the run's own, and to those that it hands work to.

    What is the whole run's is shared: the journal, the emitter, the named steps, and who waits for a person. All else
    is each agent's own, so that a member sees its task and nothing of its supervisor's conversation.
    """

    def __init__(
        self, emitter: RunEmitter, journal: Journal, parts: EngineParts, steering: Steering, quiet: Quiet
    ) -> None:
        self._emitter = emitter
        self._journal = journal
        self._parts = parts
        self._steering = steering
        self._quiet = quiet
        self._named = NamedSteps()

    def lend(
        self,
        instance: BaseAgent | AgentBroke,
        context: UserExecutionContext,
        voice: Voice,
        asked: Asked,
        history: tuple[ModelMessage, ...],
    ) -> Lent:
        """What the run's own agent works with."""
        stream = self._emitter.stream
        began_before = stream.epoch > 1 and stream.status is not RunStatus.QUEUED and not self._journal.at_rest
        lent = Lent(
            line=(getattr(instance, "name", ""),),
            voice=voice,
            journal=self._journal,
            catching_up=began_before,
            thoughts=lambda: stream.thoughts(AgentThinking(text="", step=0)),
            model=lambda: self._parts.model(getattr(instance, "model", None)),
            budget=RunBudget(self._parts.budgets, context, stream.epoch),
            max_turns=getattr(instance, "max_turns", None) or self._parts.settings.max_turns,
            history=history,
            transcript=[asked.told],
            quiet=self._quiet,
            steering=self._steering,
            named=self._named,
            hand=self._hand,
            members=_members(instance),
            servers=self._parts.servers,
            belongings=self._parts.belongings,
            asked=asked,
        )
        return self._with_dispatcher(lent, instance, context)

    def _with_dispatcher(self, lent: Lent, instance: BaseAgent | AgentBroke, context: UserExecutionContext) -> Lent:
        own = instance.tools if isinstance(instance, ChatAgent) else ()
        tools: tuple[Tool[..., Any], ...] = (*own, *lent.members.values())
        lent.dispatcher = ToolDispatcher(
            context,
            lent.voice,
            tools,
            host=self._parts.tools,
            journal=self._journal,
            hooks=Hooks(
                scope_for=partial(_call_scope, lent),
                before_call=lambda: lent.think_first("Using a tool."),
                replay=lent.replay,
                went_on=lent.went_on,
                quiet=self._quiet,
            ),
        )
        return lent

    async def _hand(self, parent: Lent, handed: Handed) -> Any:
        """Has a member do its work in a context of its own, and returns its output.

        Raises:
            CallFailed: it did not end well.
            RunFailed: the run cannot go on.
        """
        self._check_line(parent, handed)
        ended = self._ended_before(parent, handed)
        if ended is None:
            ended = await self._employ(parent, handed)
        return _output(handed.member.name, ended)

    def _check_line(self, parent: Lent, handed: Handed) -> None:
        name = handed.member.name
        if name in parent.line:
            line = " → ".join((*parent.line, name))
            raise CallFailed("error", f"{name} is at work on this already ({line}), and cannot hand it to itself")
        limit = self._parts.settings.agent_depth
        if handed.context.depth >= limit:
            raise CallFailed("error", f"agents hand work down at most {limit} deep")

    def _ended_before(self, parent: Lent, handed: Handed) -> Ending | None:
        """How the member ended before the run was taken up, if it had, though its call had not."""
        known = self._journal.take(f"{handed.key}/end", "think", "end", "")
        if known is None:
            return None
        for step in self._journal.take_inside(handed.key):
            parent.count(step)
        kept: dict[str, Any] = known.result
        if "output" in kept:
            return AgentCompleted(output=kept["output"], usage=parent.usage, duration_ms=0)
        return AgentFailed(code=kept["code"], message=kept["message"], retryable=False)

    async def _employ(self, parent: Lent, handed: Handed) -> Ending:
        context = self._context_for(parent, handed)
        with self._parts.telemetry.agent(context, handed.member.name, handed.task) as span:
            ending = await self._carry(parent, handed, context)
            match ending:
                case AgentFailed(code=code):
                    span.ended(code)
                case AgentCompleted(output=output, usage=usage):
                    span.ended(result=output, usage=usage)
                case AgentCancelled():
                    span.ended("cancelled")
        return ending

    async def _carry(self, parent: Lent, handed: Handed, context: UserExecutionContext) -> Ending:
        instance = made(handed.member, _whose(context, handed))
        lent = self._lend_to_member(parent, handed, context, instance)
        parent.under.append(lent)
        try:
            ending = await self._work(instance, handed, context, lent)
        finally:
            lent.close()
            parent.under.remove(lent)
            parent.usage += lent.usage
        broken = self._journal.broken
        if broken is not None:
            ending = ending_of(broken)
        kept: dict[str, Any] = (
            {"code": ending.code, "message": ending.message} if isinstance(ending, AgentFailed) else {}
        )
        if isinstance(ending, AgentCompleted):
            lent.think_first("Answering.")
            lent.void_given_up()
            kept = {"output": ending.output}
        lent.voice.emit(ending, steps=(_mark(handed, "end", kept),))
        if broken is not None:
            raise broken
        return ending

    def _lend_to_member(
        self, parent: Lent, handed: Handed, context: UserExecutionContext, instance: BaseAgent | AgentBroke
    ) -> Lent:
        member = handed.member
        voice = self._emitter.voice(
            member.name, depth=context.depth, parent_agent=parent.line[-1], parent_call_id=handed.call_id
        )
        thought = AgentThinking(text="", step=0, depth=context.depth, parent_call_id=handed.call_id)
        begun = self._journal.take(f"{handed.key}/start", "think", "start", "") is not None
        lent = replace(
            parent,
            line=(*parent.line, member.name),
            voice=voice,
            catching_up=begun and parent.catching_up,
            thoughts=lambda: self._emitter.stream.thoughts(thought),
            model=lambda: self._parts.model(member.model),
            max_turns=member.max_turns or self._parts.settings.max_turns,
            history=handed.history,
            transcript=[],
            # What a user says to a run is for the agent that he talks to.
            steering=Steering.deaf(),
            members=_members(instance),
            ends_at=_loop_time() + self._seconds_for(parent, member),
            dispatcher=None,
            turns=0,
            usage=NO_USAGE,
            closed=False,
            asking=Underway(),
            outlived=False,
            given_up=[],
            under=[],
            delivered={},
            served={},
            asked=Asked(""),
        )
        if not begun:
            voice.emit(AgentStarted(task=as_json(handed.task)[0]), steps=(_mark(handed, "start"),))
        return self._with_dispatcher(lent, instance, context)

    def _context_for(self, parent: Lent, handed: Handed) -> UserExecutionContext:
        child = handed.context.child(f"{PREFIX}{handed.member.name}")
        seconds = self._seconds_for(parent, handed.member)
        return replace(child, deadline=datetime.now(UTC) + timedelta(seconds=seconds), idempotency_key=None)

    def _seconds_for(self, parent: Lent, member: type[BaseAgent]) -> float:
        own = member.timeout or self._parts.settings.agent_timeout_seconds
        return max(0.0, min(own, MEMBER_SHARE * (parent.ends_at - _loop_time())))

    async def _work(
        self, instance: BaseAgent | AgentBroke, handed: Handed, context: UserExecutionContext, lent: Lent
    ) -> Ending:
        """The member's run in a task of its own, and the ending that it comes to."""
        if isinstance(instance, AgentBroke):
            return ending_of(instance)
        began = time.perf_counter()
        running = asyncio.create_task(act(instance, handed.task, EngineScope(context, lent, at=handed.key)))
        seconds = lent.ends_at - _loop_time()
        try:
            await asyncio.wait({running}, timeout=seconds)
        finally:
            # Also where the call is cancelled: its member ends before it does.
            timed_out = not running.done()
            await let_go(running, lent, MEMBER_GRACE_SECONDS)
            await put_out(lent.underway, MEMBER_PUT_OUT_SECONDS)
        if timed_out:
            return ending_of(AgentTimedOut(f"{handed.member.name} was active for longer than {seconds:.3g} s"))
        return outcome(running, lent, began, _whose(context, handed))


def _call_scope(lent: Lent, context: UserExecutionContext, call: Call) -> EngineScope:
    scope = EngineScope(context, lent, at=call.key, call_id=call.call_id, again=call.attempt > 1)
    scope.adopt()  # this is called in the call's own task
    return scope


def _members(instance: BaseAgent | AgentBroke) -> dict[str, MemberTool]:
    if not isinstance(instance, SupervisorAgent):
        return {}
    return {member.name: member_tool(member, instance.share) for member in instance.members}


def _output(name: str, ending: Ending) -> Any:
    match ending:
        case AgentCompleted(output=output):
            return output
        case AgentFailed(code=code, message=message):
            said = f"{name} failed ({code}): {message}"
            raise CallFailed("timeout" if code == "agent_timeout" else "error", said, agent_code=code)
        case AgentCancelled():
            raise AssertionError("a member that is cancelled has its ending told with its call's")


def _whose(context: UserExecutionContext, handed: Handed) -> dict[str, str]:
    return {"run_id": context.run_id, "user_id": context.user_id, "agent": handed.member.name}


def _mark(handed: Handed, name: str, result: Any = None) -> Step:
    return note(f"{handed.key}/{name}", name, result)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
