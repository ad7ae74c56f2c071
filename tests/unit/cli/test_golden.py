"""What the golden path must look like."""

from typing import Any

import pytest

from netra_apex.cli.golden import Breach, judge, untold
from netra_apex.cli.probe import percentile
from netra_apex.client import Event, OtherEvent
from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    AgentThinking,
    CallError,
    MessageCompleted,
    ToolCompleted,
    ToolExecuting,
)
from netra_apex.core.messages import NO_USAGE

HEAD: dict[str, Any] = {"run_id": "r", "thread_id": "t", "agent": "a", "at": "now"}


def path() -> list[Event]:
    return [
        AgentStarted(seq=1, task="t", **HEAD),
        AgentThinking(seq=2, text="hm", step=1, **HEAD),
        ToolExecuting(seq=3, call_id="c", tool="clock", arguments={}, **HEAD),
        ToolCompleted(seq=4, call_id="c", tool="clock", ok=True, result="12", duration_ms=1, **HEAD),
        MessageCompleted(seq=5, message_id="m", content="noon", **HEAD),
        AgentCompleted(seq=6, output="noon", usage=NO_USAGE, duration_ms=1, **HEAD),
    ]


def without(*indices: int) -> list[Event]:
    return [event for index, event in enumerate(path()) if index not in indices]


def reasons(found: tuple[Breach, ...]) -> str:
    return "; ".join(breach.reason for breach in found)


def test_the_golden_path_has_no_breach() -> None:
    assert judge(path()) == ()
    assert judge(without(2, 3), without_tool=True) == ()


@pytest.mark.parametrize(
    ("index", "kind"),
    [(0, "agent_started"), (1, "agent_thinking"), (2, "tool_executing"), (3, "tool_completed"), (5, "agent_completed")],
)
def test_each_of_the_five_events_is_missed_by_name(index: int, kind: str) -> None:
    assert Breach(f"no {kind} was told", kind) in judge(without(index))


def test_no_events_at_all_miss_all_five() -> None:
    assert [breach.missing for breach in judge([])] == [
        "agent_started",
        "agent_thinking",
        "tool_executing",
        "tool_completed",
        "agent_completed",
    ]


def test_events_out_of_order_and_a_second_start_are_breaches() -> None:
    events = path()
    events[1], events[2] = events[2], events[1]
    assert "tool_executing came before agent_thinking" in reasons(judge(events))
    assert "agent_started was told 2 times" in reasons(judge([path()[0], *path()]))


def test_calls_must_pair() -> None:
    assert "call c was executing and never completed" in reasons(judge(without(3)))
    assert "call c of clock completed without a tool_executing" in reasons(judge(without(2)))


@pytest.mark.parametrize("without_tool", [False, True])
def test_a_call_that_fails_is_a_breach_with_its_reason(without_tool: bool) -> None:
    events = path()
    error = CallError(code="denied", message="you may not")
    events[3] = ToolCompleted(seq=4, call_id="c", tool="clock", ok=False, error=error, duration_ms=1, **HEAD)
    assert judge(events, without_tool=without_tool) == (Breach("call c of clock failed: you may not (denied)"),)


def test_a_failed_or_cancelled_run_says_why_and_nothing_else() -> None:
    failed = AgentFailed(seq=2, code="model_error", message="it is down", retryable=True, **HEAD)
    assert judge([path()[0], failed]) == (
        Breach("the run ended in agent_failed model_error: it is down", "agent_completed"),
    )
    cancelled = AgentCancelled(seq=2, by="root", **HEAD)
    assert judge([path()[0], cancelled]) == (Breach("the run was cancelled by root", "agent_completed"),)


def test_an_empty_answer_and_empty_headers_are_breaches() -> None:
    events = without(4)
    events[-1] = AgentCompleted(seq=5, output="", usage=NO_USAGE, duration_ms=1, **HEAD)
    assert "the answer is empty" in reasons(judge(events))
    events[-1] = AgentCompleted(seq=5, output="x", usage=NO_USAGE, duration_ms=1, **{**HEAD, "at": ""})
    assert "agent_completed with seq 5 has no at" in reasons(judge(events))
    events[-1] = AgentCompleted(seq=5, output="x", usage=NO_USAGE, duration_ms=1, **{**HEAD, "thread_id": "t2"})
    assert "the events name 2 threads: t, t2" in reasons(judge(events))


def test_every_member_that_started_has_one_ending() -> None:
    inner: dict[str, Any] = {**HEAD, "agent": "b", "depth": 1, "parent_agent": "a", "parent_call_id": "c"}
    started = AgentStarted(seq=4, task="t", **inner)
    done = AgentCompleted(seq=5, output="x", usage=NO_USAGE, duration_ms=1, **inner)
    assert judge([*path()[:3], started, done, *path()[3:]]) == ()
    assert "b started and has no ending" in reasons(judge([*path()[:3], started, *path()[3:]]))
    assert "b ended more often than it started" in reasons(judge([*path()[:3], started, done, done, *path()[3:]]))


def test_events_of_a_newer_server_are_no_breach() -> None:
    assert judge([*path()[:3], OtherEvent("approval_requested", 4, "r", "a", 0, {}), *path()[3:]]) == ()


def test_the_socket_and_the_log_must_tell_the_same() -> None:
    assert untold(path(), path()) == ()
    found = untold(without(1), path())
    assert found == (
        Breach("agent_thinking with seq 2 is in the log, and the socket did not tell it", "agent_thinking"),
    )
    assert "agent_thinking with seq 2 was told by the socket, and is not in the log" in reasons(
        untold(path(), without(1))
    )
    other = [*path()[:1], AgentThinking(seq=2, text="else", step=1, **HEAD), *path()[2:]]
    assert "seq 2 is one event on the socket and another in the log" in reasons(untold(path(), other))
    assert "the log has a seq twice" in reasons(untold(path(), [*path(), path()[-1]]))


@pytest.mark.parametrize(("percent", "value"), [(50, 5), (95, 10), (99, 10), (10, 1), (1, 1)])
def test_percentiles_are_of_the_nearest_rank(percent: int, value: float) -> None:
    assert percentile([float(n) for n in range(10, 0, -1)], percent) == value
