"""A run's life as pure machines: its status, and what its stream may tell next."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    AgentThinking,
    ApprovalDecided,
    ApprovalRequested,
    CallError,
    DurableEvent,
    RunQueued,
    ToolCompleted,
    ToolExecuting,
    is_terminal,
)
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
    process, the one that took the run up after it, and so on. `asked` has the approvals that nobody has decided, each
    with its call.
    """

    status: RunStatus = RunStatus.QUEUED
    last_seq: int = 0
    open_calls: dict[str, ToolExecuting] = field(default_factory=dict[str, ToolExecuting])
    epoch: int = 1
    asked: dict[str, str] = field(default_factory=dict[str, str])
    _thoughts: dict[tuple[str | None, int], int] = field(default_factory=dict[tuple[str | None, int], int])

    def admit(self, event: DurableEvent) -> int:
        """The `seq` of this event, which is the run's next.

        Raises:
            IllegalTransition: the event may not come now; nothing has changed.
        """
        status = after(self.status, event)
        told = type(event).__name__
        match event:
            case ToolExecuting(call_id=call_id) if call_id in self.open_calls:
                raise IllegalTransition(self.status, told, f"call {call_id} is open")
            case ToolExecuting(call_id=call_id):
                if not self.thoughts(event):
                    raise IllegalTransition(self.status, told, "no thought came before it (G4)")
                self.open_calls[call_id] = event
            case ToolCompleted(call_id=call_id):
                if call_id not in self.open_calls:
                    raise IllegalTransition(self.status, told, f"call {call_id} is not open")
                del self.open_calls[call_id]
                self.asked = {approval: call for approval, call in self.asked.items() if call != call_id}
            case ApprovalRequested(call_id=call_id, approval_id=approval_id):
                if call_id not in self.open_calls or call_id in self.asked.values():
                    raise IllegalTransition(self.status, told, f"call {call_id} is not open, or waits already")
                self.asked[approval_id] = call_id
            case ApprovalDecided(approval_id=approval_id):
                if approval_id not in self.asked:
                    raise IllegalTransition(self.status, told, f"approval {approval_id} is not asked for")
                del self.asked[approval_id]
            case AgentThinking():
                key = (event.parent_call_id or None, event.depth)
                self._thoughts[key] = self._thoughts.get(key, 0) + 1
            case AgentCompleted() if not self.thoughts(event):
                raise IllegalTransition(self.status, told, "no thought came before it (G4)")
            case _:
                pass
        if is_terminal(event) and self.open_calls:
            raise IllegalTransition(self.status, told, f"calls are open: {sorted(self.open_calls)}")
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
        before = (self.status, self.last_seq, dict(self.open_calls), dict(self.asked), dict(self._thoughts))
        first = self.last_seq + 1
        try:
            for event in events:
                self.admit(event)
        except IllegalTransition:
            self.status, self.last_seq, self.open_calls, self.asked, self._thoughts = before
            raise
        return first

    def thoughts(self, event: DurableEvent) -> int:
        """How many thoughts the agent of this event has told (an agent is one call of its parent, at one depth)."""
        return self._thoughts.get((event.parent_call_id or None, event.depth), 0)


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What who takes a run up is told of it. `recoveries` is how often in a row it was taken up without a step done.

    `task` is what it was asked, `permissions` what its user had then. A run that was not `posted` is a program's own.
    One that `waited` did so for a person: nothing of it was under way.
    """

    epoch: int
    recoveries: int
    posted: bool
    permissions: frozenset[str]
    task: str
    run: Run = field(compare=False)
    waited: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Seat:
    """What the process that accepts a run could give it: its own `executor`, if it has `room`; and the user's limits.

    An `executor` of None is a process that executes no runs: others do.
    """

    executor: str | None = None
    room: bool = True
    per_user: int = 1_000_000
    queued_per_user: int = 1_000_000
