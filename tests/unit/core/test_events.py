"""Events: their shape on the wire is the contract (docs/reference/socket.md), and they come back as they went."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    MessageCompleted,
    MessageDelta,
    MessageReset,
    PassingFrame,
    QuestionAnswered,
    QuestionAsked,
    RunQueued,
    ThinkingDelta,
    ToolCompleted,
    ToolExecuting,
    as_told,
    decode,
    encode,
    is_terminal,
    told_now,
)
from netra_apex.core.messages import Usage

AT = "2025-01-02T03:04:05.678Z"
STAMP: dict[str, Any] = {"seq": 7, "run_id": "run_a", "thread_id": "thr_a", "agent": "helper", "at": AT}
SHAPES: list[tuple[DurableEvent, dict[str, Any]]] = [
    (RunQueued(reason="busy", **STAMP), {"type": "run_queued", "reason": "busy"}),
    (AgentStarted(task={"q": 1}, **STAMP), {"type": "agent_started", "task": {"q": 1}}),
    (AgentThinking(text="hm", step=2, **STAMP), {"type": "agent_thinking", "text": "hm", "step": 2}),
    (
        ToolExecuting(call_id="call_a", tool="book", arguments={"day": 1}, **STAMP),
        {"type": "tool_executing", "call_id": "call_a", "tool": "book", "arguments": {"day": 1}},
    ),
    (
        ToolCompleted(call_id="call_a", tool="book", ok=True, result=[1, None], duration_ms=3, **STAMP),
        {"type": "tool_completed", "call_id": "call_a", "tool": "book", "ok": True, "result": [1, None],
         "duration_ms": 3},
    ),
    (
        ToolCompleted(call_id="call_a", tool="book", ok=True, result=None, duration_ms=3, **STAMP),
        {"type": "tool_completed", "call_id": "call_a", "tool": "book", "ok": True, "result": None, "duration_ms": 3},
    ),
    (
        ToolCompleted(call_id="c", tool="book", ok=False, error=CallError("denied", "no"), duration_ms=0, **STAMP),
        {"type": "tool_completed", "call_id": "c", "tool": "book", "ok": False,
         "error": {"code": "denied", "message": "no"}, "duration_ms": 0},
    ),
    (
        ApprovalRequested(approval_id="a", call_id="c", tool="pay", arguments={"sum": 1}, expires_at=AT, **STAMP),
        {"type": "approval_requested", "approval_id": "a", "call_id": "c", "tool": "pay", "arguments": {"sum": 1},
         "expires_at": AT},
    ),
    (
        ApprovalDecided(approval_id="a", decision="reject", by="ada", **STAMP),
        {"type": "approval_decided", "approval_id": "a", "decision": "reject", "by": "ada"},
    ),
    (
        QuestionAsked(question_id="q", call_id="c", text="Which month?", **STAMP),
        {"type": "question_asked", "question_id": "q", "call_id": "c", "text": "Which month?"},
    ),
    (
        QuestionAnswered(question_id="q", content="May", **STAMP),
        {"type": "question_answered", "question_id": "q", "content": "May"},
    ),
    (
        MessageCompleted(message_id="msg_a", content="häh\n", **STAMP),
        {"type": "message_completed", "message_id": "msg_a", "content": "häh\n"},
    ),
    (
        AgentCompleted(output="done", usage=Usage(1, 2, 3), duration_ms=4, **STAMP),
        {"type": "agent_completed", "output": "done", "duration_ms": 4,
         "usage": {"input_tokens": 1, "output_tokens": 2, "requests": 3, "cost_usd": None}},
    ),
    (
        AgentFailed(code="model_error", message="no", retryable=True, **STAMP),
        {"type": "agent_failed", "code": "model_error", "message": "no", "retryable": True},
    ),
    (AgentCancelled(by="ada", **STAMP), {"type": "agent_cancelled", "by": "ada"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("event", "own"), SHAPES, ids=lambda value: value.get("type") if isinstance(value, dict) else ""
)
def test_an_event_on_the_wire_has_these_fields_and_no_others(event: DurableEvent, own: dict[str, Any]) -> None:
    assert json.loads(encode(event)) == STAMP | {"depth": 0} | own
    assert encode(event).startswith(f'{{"type":"{own["type"]}"')
    assert decode(encode(event)) == event


def test_every_event_of_the_union_has_its_shape_tested() -> None:
    assert {type(event) for event, _ in SHAPES} == set(get_args(DurableEvent))


@pytest.mark.parametrize("event", [event for event, _ in SHAPES])
def test_a_sub_agents_event_names_its_parent_and_the_runs_own_agents_does_not(event: DurableEvent) -> None:
    assert not json.loads(encode(event)).keys() & {"parent_agent", "parent_call_id"}
    deeper = msgspec.structs.replace(event, depth=1, parent_agent="lead", parent_call_id="call_p")
    wire = json.loads(encode(deeper))
    assert (wire["depth"], wire["parent_agent"], wire["parent_call_id"]) == (1, "lead", "call_p")
    assert decode(encode(deeper)) == deeper


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)


@given(JSON, TEXTS)
def test_whatever_an_event_says_comes_back(value: Any, text: str) -> None:
    for event in (
        AgentStarted(task=value, **STAMP),
        ToolExecuting(call_id=text, tool=text, arguments=value, **STAMP),
        ApprovalRequested(approval_id=text, call_id=text, tool=text, arguments=value, expires_at=AT, **STAMP),
        ToolCompleted(call_id=text, tool=text, ok=True, result=value, duration_ms=1, **STAMP),
        AgentCompleted(output=value, usage=Usage(cost_usd=0.5), duration_ms=1, **STAMP),
        MessageCompleted(message_id="m", content=text, **STAMP),
        QuestionAsked(question_id="q", call_id="c", text=text, **STAMP),
        QuestionAnswered(question_id="q", content=text, **STAMP),
    ):
        assert decode(encode(event)) == event
        assert "\n" not in encode(event)  # one line, as SSE needs it


def test_a_field_that_a_newer_server_added_is_left_out() -> None:
    known = SHAPES[0][0]
    newer = json.dumps(json.loads(encode(known)) | {"added_later": {"x": 1}})
    assert decode(newer) == known
    with pytest.raises(msgspec.ValidationError):
        decode('{"type":"agent_promoted","seq":1}')


def test_a_time_is_told_in_utc_with_milliseconds_wherever_it_was_taken() -> None:
    far = timezone(timedelta(hours=5, minutes=30))
    assert as_told(datetime(2025, 1, 2, 8, 34, 5, 678_999, tzinfo=far)) == AT
    before, now, after = as_told(datetime.now(UTC)), told_now(), as_told(datetime.now(UTC))
    assert before <= now <= after


def test_events_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        SHAPES[0][0].seq = 9  # type: ignore[misc]


@pytest.mark.parametrize("event", [event for event, _ in SHAPES])
def test_a_run_ends_with_an_ending_of_its_own_agent_and_with_nothing_else(event: DurableEvent) -> None:
    assert is_terminal(event) == (event.__struct_config__.tag in {"agent_completed", "agent_failed", "agent_cancelled"})
    assert is_terminal(event) == isinstance(event, ENDINGS)
    assert not is_terminal(msgspec.structs.replace(event, depth=1))


def test_passing_frames_have_no_seq_and_always_say_whose_they_are() -> None:
    whose = {"run_id": "run_a", "message_id": "msg_a", "attempt": 2, "agent": "helper", "depth": 0}
    own: list[tuple[PassingFrame, dict[str, Any]]] = [
        (MessageDelta(offset=3, text="lo", **whose), {"type": "message_delta", "offset": 3, "text": "lo"}),
        (ThinkingDelta(offset=3, text="hm", **whose), {"type": "thinking_delta", "offset": 3, "text": "hm"}),
        (MessageReset(**whose), {"type": "message_reset"}),
    ]
    for frame, extra in own:
        assert json.loads(encode(frame)) == whose | extra | {"parent_call_id": None}
        deeper = msgspec.structs.replace(frame, depth=1, parent_call_id="call_p")
        assert json.loads(encode(deeper))["parent_call_id"] == "call_p"
    assert {type(frame) for frame, _ in own} == set(get_args(PassingFrame))
