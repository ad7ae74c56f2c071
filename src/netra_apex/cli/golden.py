"""What the golden path must look like from outside (G2 to G4): events in, breaches out, without I/O.

Which events and what answer it takes is for `core.golden` to say. Beyond that a probe asks for what only a run can
be asked for that is to go well in every respect: its order, its headers, that no call fails, and no gap.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import UNSET

from netra_apex.client import Event, OtherEvent
from netra_apex.client.frames import kind_of
from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    ToolCompleted,
    ToolExecuting,
)
from netra_apex.core.golden import ANSWERED, DONE, FIVE, Telling


@dataclass(frozen=True, slots=True)
class Breach:
    """One thing that is not as promised; `missing` is the event that did not come, where that is what is wrong."""

    reason: str
    missing: str | None = None


def judge(events: Sequence[Event], *, without_tool: bool = False) -> tuple[Breach, ...]:
    """Everything that is wrong with the events of a run that should have gone well.

    `without_tool` does not ask for a tool call; one that comes all the same must end, and end well.
    """
    last = events[-1] if events else None
    if isinstance(last, AgentFailed) and not last.depth:
        return (Breach(f"the run ended in agent_failed {last.code}: {last.message}", "agent_completed"),)
    if isinstance(last, AgentCancelled) and not last.depth:
        return (Breach(f"the run was cancelled by {last.by}", "agent_completed"),)
    telling = Telling.of(event for event in events if not isinstance(event, OtherEvent))
    missing = telling.missing(with_tool=not without_tool)
    found = [
        Breach(f"no {kind} was told", kind)
        for kind in missing
        if not (kind == "tool_completed" and telling.calls_ended)
    ]
    if telling.ended_as == DONE and not telling.told & ANSWERED:
        found.append(Breach("the answer is empty"))
    return (*found, *_order(events), *_headers(events), *_calls(events), *_members(events))


def untold(told: Sequence[Event], log: Sequence[Event]) -> tuple[Breach, ...]:
    """What HTTP has of a run and the socket did not tell, and the other way round, and what they tell differently."""
    on_socket = {event.seq: event for event in told}
    stored = {event.seq: event for event in log}
    found: list[Breach] = []
    for seq in sorted(on_socket.keys() | stored.keys()):
        socket_event, stored_event = on_socket.get(seq), stored.get(seq)
        if socket_event is None and stored_event is not None:
            kind = kind_of(stored_event)
            found.append(Breach(f"{kind} with seq {seq} is in the log, and the socket did not tell it", kind))
        elif stored_event is None and socket_event is not None:
            kind = kind_of(socket_event)
            found.append(Breach(f"{kind} with seq {seq} was told by the socket, and is not in the log"))
        elif socket_event != stored_event:
            found.append(Breach(f"seq {seq} is one event on the socket and another in the log"))
    if not found and len(log) != len(stored):
        found.append(Breach("the log has a seq twice"))
    return tuple(found)


def _order(events: Sequence[Event]) -> list[Breach]:
    found: list[Breach] = []
    kinds = [kind_of(event) for event in events if not event.depth]
    present = [kind for kind in FIVE if kind in kinds]
    for before, after in itertools.pairwise(present):
        if kinds.index(before) > kinds.index(after):
            found.append(Breach(f"{after} came before {before}"))
    if kinds.count("agent_started") > 1:
        found.append(Breach(f"agent_started was told {kinds.count('agent_started')} times"))
    return found


def _headers(events: Sequence[Event]) -> list[Breach]:
    found: list[Breach] = []
    for event in events:
        if isinstance(event, OtherEvent):
            continue
        empty = [name for name in ("run_id", "thread_id", "agent", "at") if not getattr(event, name)]
        found += [Breach(f"{kind_of(event)} with seq {event.seq} has no {name}") for name in empty]
    threads = {event.thread_id for event in events if not isinstance(event, OtherEvent)}
    if len(threads) > 1:
        found.append(Breach(f"the events name {len(threads)} threads: {', '.join(sorted(threads))}"))
    return found


def _calls(events: Sequence[Event]) -> list[Breach]:
    open_calls: Counter[str] = Counter()
    found: list[Breach] = []
    for event in events:
        if isinstance(event, ToolExecuting):
            open_calls[event.call_id] += 1
        elif isinstance(event, ToolCompleted):
            open_calls[event.call_id] -= 1
            if open_calls[event.call_id] < 0:
                reason = f"call {event.call_id} of {event.tool} completed without a tool_executing"
                found.append(Breach(reason, "tool_executing"))
            if not event.ok:
                why = "" if event.error is UNSET else f": {event.error.message} ({event.error.code})"
                found.append(Breach(f"call {event.call_id} of {event.tool} failed{why}"))
    return found + [
        Breach(f"call {call_id} was executing and never completed", "tool_completed")
        for call_id, balance in open_calls.items()
        if balance > 0
    ]


def _members(events: Sequence[Event]) -> list[Breach]:
    """Every sub-agent that started has exactly one ending."""
    balance: Counter[tuple[str, str]] = Counter()
    for event in events:
        if isinstance(event, OtherEvent) or not event.depth:
            continue
        key = (event.agent, str(event.parent_call_id))
        if isinstance(event, AgentStarted):
            balance[key] += 1
        elif isinstance(event, AgentCompleted | AgentFailed | AgentCancelled):
            balance[key] -= 1
    return [
        Breach(f"{agent} {'started and has no ending' if count > 0 else 'ended more often than it started'}")
        for (agent, _), count in balance.items()
        if count
    ]
