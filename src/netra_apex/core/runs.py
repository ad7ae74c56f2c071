"""A run's life as pure machines: its status, and what its stream may tell next."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from operator import itemgetter
from typing import Any

from msgspec.structs import replace

from netra_apex.core.events import (
    ENDINGS,
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    AgentThinking,
    ApprovalDecided,
    ApprovalRequested,
    CallError,
    DurableEvent,
    QuestionAnswered,
    QuestionAsked,
    RunQueued,
    ToolCompleted,
    ToolExecuting,
    is_terminal,
)
from netra_apex.core.messages import Attachment
from netra_apex.errors import IllegalTransition


class RunStatus(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self in _ENDED


_ENDED = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
_CUT_OFF = CallError("cancelled", "the run ended")
_UNDECIDED = CallError("cancelled", "the run ended while the call waited for a person")


def after(status: RunStatus, event: DurableEvent) -> RunStatus:
    """The status of a run that was `status` once `event` is told.

    Raises:
        IllegalTransition: the event may not follow: anything after an ending, a second start, work before a start.
    """
    told = type(event).__name__
    if status.ended:
        raise IllegalTransition(status, told, "nothing follows an ending")
    if event.depth:
        if status is not RunStatus.RUNNING:
            raise IllegalTransition(status, told, "the run's own agent has not started")
        return status
    match event:
        case RunQueued():
            if status is not RunStatus.QUEUED:
                raise IllegalTransition(status, told, "it has started already")
            return status
        case AgentStarted():
            if status is not RunStatus.QUEUED:
                raise IllegalTransition(status, told, "it has started already")
            return RunStatus.RUNNING
        case AgentFailed():
            return RunStatus.FAILED
        case AgentCancelled():
            return RunStatus.CANCELLED
        case _ if status is not RunStatus.RUNNING:
            raise IllegalTransition(status, told, "it has not started")
        case AgentCompleted():
            return RunStatus.COMPLETED
        case _:
            return status


@dataclass(slots=True)
class RunStream:
    """What a run has told so far, and so what it may tell next: G3 and G4 as a machine without I/O.

    `admit` is asked with each event before it is stored. It is the only place that decides whether a stream is well
    formed, so no agent, engine or dispatcher can tell a stream that is not. `epoch` counts who has told it: the first
    process, the one that took the run up after it, and so on. `asked` has the approvals that nobody has decided, and
    the questions that nobody has answered, each with its call; `open_agents` the sub-agents that have not ended, by the
    call that handed them their work. What is still open where a run ends is told as `cut_off`, and its agents as
    stopped by `stopped_by`.
    """

    status: RunStatus = RunStatus.QUEUED
    last_seq: int = 0
    open_calls: dict[str, ToolExecuting] = field(default_factory=dict[str, ToolExecuting])
    epoch: int = 1
    asked: dict[str, str] = field(default_factory=dict[str, str])
    open_agents: dict[str, AgentStarted] = field(default_factory=dict[str, AgentStarted])
    cut_off: CallError = _CUT_OFF
    stopped_by: str = "system"
    _thoughts: dict[tuple[str | None, int], int] = field(default_factory=dict[tuple[str | None, int], int])

    def admit(self, event: DurableEvent) -> int:
        """The `seq` of this event, which is the run's next.

        Raises:
            IllegalTransition: the event may not come now; nothing has changed.
        """
        status = after(self.status, event)
        told = type(event).__name__
        if event.depth:
            self._check_agent(event)
        match event:
            case AgentStarted() if event.depth:
                self.open_agents[event.parent_call_id or ""] = event
            case ToolExecuting(call_id=call_id) if call_id in self.open_calls:
                raise IllegalTransition(self.status, told, f"call {call_id} is open")
            case ToolExecuting(call_id=call_id):
                if not self.thoughts(event):
                    raise IllegalTransition(self.status, told, "no thought came before it (G4)")
                self.open_calls[call_id] = event
            case ToolCompleted(call_id=call_id):
                if call_id not in self.open_calls or call_id in self.open_agents:
                    raise IllegalTransition(
                        self.status, told, f"call {call_id} is not open, or its agent has not ended"
                    )
                del self.open_calls[call_id]
                self.asked = {approval: call for approval, call in self.asked.items() if call != call_id}
            case ApprovalRequested(call_id=call, approval_id=ident) | QuestionAsked(call_id=call, question_id=ident):
                if call not in self.open_calls or call in self.asked.values():
                    raise IllegalTransition(self.status, told, f"call {call} is not open, or waits already")
                self.asked[ident] = call
            case ApprovalDecided(approval_id=ident) | QuestionAnswered(question_id=ident):
                if ident not in self.asked:
                    raise IllegalTransition(self.status, told, f"{ident} is not asked for")
                del self.asked[ident]
            case AgentThinking():
                key = (event.parent_call_id or None, event.depth)
                self._thoughts[key] = self._thoughts.get(key, 0) + 1
            case AgentCompleted() if not self.thoughts(event):
                raise IllegalTransition(self.status, told, "no thought came before it (G4)")
            case _:
                pass
        if is_terminal(event) and self.open_calls:
            raise IllegalTransition(self.status, told, f"calls are open: {sorted(self.open_calls)}")
        if event.depth and isinstance(event, ENDINGS):
            del self.open_agents[event.parent_call_id or ""]
        self.status = status
        self.last_seq += 1
        return self.last_seq

    def admit_all(self, events: Sequence[DurableEvent]) -> int:
        """The `seq` of the first of these events, which come in one moment: all of them, or none.

        Raises:
            IllegalTransition: one of them may not come; nothing has changed.
        """
        if len(events) == 1:
            return self.admit(events[0])
        before = (self.status, self.last_seq, dict(self.open_calls), dict(self.asked), dict(self.open_agents))
        thoughts = dict(self._thoughts)
        first = self.last_seq + 1
        try:
            for event in events:
                self.admit(event)
        except IllegalTransition:
            self.status, self.last_seq, self.open_calls, self.asked, self.open_agents = before
            self._thoughts = thoughts
            raise
        return first

    def rounded(self, events: Sequence[DurableEvent]) -> Sequence[DurableEvent]:
        """The events, each ending after the ends of what is still open inside of it (G3)."""
        if not self.open_agents and not (events and is_terminal(events[-1])):
            return events
        whole: list[DurableEvent] = []
        for event in events:
            inside: list[DurableEvent] = []
            if isinstance(event, ToolCompleted):
                inside = self.closing(inside=event.call_id)
            elif isinstance(event, ENDINGS):
                inside = self.closing(inside=event.parent_call_id or None)
            ended = {_ended(each) for each in (*whole, event)}
            whole += [each for each in inside if _ended(each) not in ended]
            whole.append(event)
        return whole

    def closing(self, *, inside: str | None = None) -> list[DurableEvent]:
        """The ends of what is open, inside this call or anywhere, the innermost first, each as its own agent's.

        Calls that wait for a person have not begun.
        """
        ends: list[tuple[int, int, DurableEvent]] = []
        for call_id, call in self.open_calls.items():
            if self._is_inside(call, inside):
                why = _UNDECIDED if call_id in self.asked.values() else self.cut_off
                ended = ToolCompleted(call_id=call_id, tool=call.tool, ok=False, error=why, duration_ms=0)
                ends.append((-call.depth, 0, replace(ended, **_header(call))))
        for agent in self.open_agents.values():
            if self._is_inside(agent, inside):
                stopped = AgentCancelled(by=self.stopped_by, **_header(agent))
                ends.append((-agent.depth, 1, stopped))
        return [event for _, _, event in sorted(ends, key=itemgetter(0, 1))]

    def _is_inside(self, event: DurableEvent, call_id: str | None) -> bool:
        """Whether a sub-agent that this call has started tells it, or one further in."""
        parent = event.parent_call_id
        while parent and parent != call_id:
            parent = self.open_calls[parent].parent_call_id
        return call_id is None or bool(parent)

    def _check_agent(self, event: DurableEvent) -> None:
        call_id = event.parent_call_id or ""
        if isinstance(event, AgentStarted):
            if call_id not in self.open_calls or call_id in self.open_agents:
                reason = f"call {call_id!r} is not open, or has an agent"
                raise IllegalTransition(self.status, type(event).__name__, reason)
        elif call_id not in self.open_agents:
            raise IllegalTransition(self.status, type(event).__name__, f"call {call_id!r} has no agent that goes on")
        elif isinstance(event, ENDINGS) and any(call.parent_call_id == call_id for call in self.open_calls.values()):
            raise IllegalTransition(self.status, type(event).__name__, "a call of this agent is open")

    def thoughts(self, event: DurableEvent) -> int:
        """How many thoughts the agent of this event has told (an agent is one call of its parent, at one depth)."""
        return self._thoughts.get((event.parent_call_id or None, event.depth), 0)


def _ended(event: DurableEvent) -> tuple[type[DurableEvent], object]:
    """What this event ends: a call by its id, an agent by that of the call that it is for."""
    if isinstance(event, ToolCompleted):
        return ToolCompleted, event.call_id
    return AgentStarted, event.parent_call_id or None


def _header(event: DurableEvent) -> dict[str, Any]:
    """Who tells an event: the fields that an emitter does not stamp."""
    return {
        "agent": event.agent,
        "depth": event.depth,
        "parent_agent": event.parent_agent,
        "parent_call_id": event.parent_call_id,
    }


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended, for the program that ran it: `output` where `ok`, else the error's code and sentence."""

    ok: bool
    output: Any = None
    error: CallError | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run as it is stored: ids, state and times. `message_id` is the user's message that it answers."""

    run_id: str
    user_id: str
    thread_id: str
    message_id: str
    agent: str
    status: RunStatus
    last_seq: int
    created_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Traced:
    """Where a run that is taken up stands in its trace, as W3C `traceparent` values.

    `parent` is what all its segments are under, `last` the segment before.
    """

    parent: str
    last: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What who takes a run up is told of it. `recoveries` is how often in a row it was taken up without a step done.

    `task` is what it was asked, `files` what came with that, `permissions` what its user had then. A run that was not
    `posted` is a program's own. One that `waited` did so for a person: nothing of it was under way.
    """

    epoch: int
    recoveries: int
    posted: bool
    permissions: frozenset[str]
    task: str
    run: Run = field(compare=False)
    waited: bool = False
    files: tuple[Attachment, ...] = ()
    traced: Traced | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Seat:
    """What the process that accepts a run could give it: its own `executor`, if it has `room`; and the user's limits.

    An `executor` of None is a process that executes no runs: others do. `trace` is the W3C `traceparent` in which the
    run is asked for, if there is one.
    """

    executor: str | None = None
    room: bool = True
    per_user: int = 1_000_000
    queued_per_user: int = 1_000_000
    trace: str | None = None
