"""A log as the events of Responses: whoever comes back, from any number, lacks nothing and is told nothing twice."""

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    AgentThinking,
    ApprovalRequested,
    DurableEvent,
    MessageCompleted,
    MessageDelta,
    MessageReset,
    RunQueued,
    ToolCompleted,
    ToolExecuting,
)
from netra_apex.core.messages import NO_USAGE
from netra_apex.server.protocols.following import Event
from netra_apex.server.protocols.openai_telling import PIECE, Head, Telling

HEAD = Head("run_1", "thr_1", "assistant", datetime(2026, 1, 1, tzinfo=UTC))
TEXT = "It is a truth universally acknowledged, that a single man in possession of a good fortune, …"
Told = dict[str, Any]


def log(text: str = TEXT, *between: DurableEvent) -> list[DurableEvent]:
    """A run with a call and an answer."""
    events: tuple[DurableEvent, ...] = (
        RunQueued(reason="busy"),
        AgentStarted(task="hi"),
        AgentThinking(text="hm", step=1),
        ToolExecuting(call_id="c1", tool="lookup", arguments={"query": "x"}),
        ToolCompleted(call_id="c1", tool="lookup", ok=True, result="found", duration_ms=1),
        *between,
        MessageCompleted(message_id="m1", content=text),
        AgentCompleted(output=text, usage=NO_USAGE, duration_ms=1),
    )
    return [replace(event, seq=seq, run_id="run_1", agent="assistant") for seq, event in enumerate(events, 1)]


def delta(text: str, offset: int = 0, message_id: str = "m1", depth: int = 0) -> MessageDelta:
    return MessageDelta(
        run_id="run_1", message_id=message_id, attempt=1, offset=offset, text=text, agent="assistant", depth=depth
    )


def reset(message_id: str = "m1") -> MessageReset:
    return MessageReset(run_id="run_1", message_id=message_id, attempt=2, agent="assistant", depth=0)


def told(events: list[Any], after: int | None = None) -> list[Told]:
    telling = Telling(HEAD, after)
    found = telling.begin()
    for event in events:
        found += telling.hear(event)
    return found


def live(text: str, cuts: list[int]) -> list[Event]:
    """The log as it is told while the text grows, in the pieces that these cuts make."""
    events: list[Event] = list(log(text))
    places = sorted({0, *(min(cut, len(text)) for cut in cuts), len(text)})
    deltas = [delta(text[start:end], start) for start, end in itertools.pairwise(places)]
    return [*events[:5], *deltas, *events[5:]]


def text_of(found: list[Told]) -> str:
    return "".join(each["delta"] for each in found if each["type"] == "response.output_text.delta")


def test_the_events_come_in_openais_order() -> None:
    kinds = [each["type"].removeprefix("response.") for each in told(log("short"))]
    assert kinds == [
        "created", "queued", "in_progress",
        "output_item.added", "mcp_call.in_progress", "mcp_call_arguments.done",
        "mcp_call.completed", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done",
        "completed",
    ]  # fmt: skip


@given(st.text(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_however_a_text_grew_it_is_told_as_it_is_told_from_the_log_alone(text: str, cuts: list[int]) -> None:
    assert told(live(text, cuts)) == told(log(text))
    numbers = [each["sequence_number"] for each in told(log(text))]
    assert numbers == sorted(set(numbers))
    assert max(numbers) < 2**53


@given(st.text(max_size=100), st.lists(st.integers(0, 100), max_size=4), st.data())
def test_who_comes_back_from_any_number_is_told_the_rest_and_no_more(text: str, cuts: list[int], data: Any) -> None:
    whole = told(log(text))
    place = data.draw(st.integers(0, len(whole) - 1))
    after = whole[place]["sequence_number"]
    assert told(log(text), after) == whole[place + 1 :]
    assert told(live(text, cuts), after) == whole[place + 1 :]


def test_a_text_that_was_written_anew_is_told_from_its_beginning() -> None:
    grown: list[Any] = [*log()[:5], delta(TEXT[:40])]
    before = told(grown)
    after = before[-1]["sequence_number"]
    other = "Call me Ishmael. Some years ago, never mind how long precisely, I went to sea."
    # The server died, and the model has written another text: told in the same place, from the first piece.
    found = told(log(other), after)
    assert [each["type"] for each in found[:2]] == ["response.output_item.added", "response.content_part.added"]
    assert text_of(found) == other
    assert found[0]["output_index"] == before[-1]["output_index"]
    # The same text goes on where it was.
    assert text_of(before) + text_of(told(log(), after)) == TEXT
    # And a reader who saw it happen is told the same.
    seen = told([*grown, reset(), delta(other[:50]), *log(other)[5:]])
    assert seen[len(before) :] == found


def test_a_text_that_comes_again_the_same_is_not_told_twice() -> None:
    grown: list[Any] = [*log()[:5], delta(TEXT[:40]), reset(), delta(TEXT[:5]), delta(TEXT[5:60], 5), *log()[5:]]
    assert told(grown) == told(log())


def test_what_overtakes_a_text_comes_before_it_as_in_the_log() -> None:
    call = ToolExecuting(call_id="c2", tool="other", arguments={})
    done = ToolCompleted(call_id="c2", tool="other", ok=True, result=1, duration_ms=1)
    events = log(TEXT, call, done)
    found = told([*events[:5], delta(TEXT[:40]), *events[5:7], delta(TEXT[40:60], 40), *events[7:]])
    whole = told(events)
    numbers = [each["sequence_number"] for each in found]
    assert numbers == sorted(set(numbers))
    # What was told of it before is told again after it, as whoever reads the log is told; nothing else twice.
    early = [each for each in found if each not in whole]
    assert text_of(early)
    assert TEXT.startswith(text_of(early))
    assert [each for each in found if each not in early] == whole
    for each in found:
        after = each["sequence_number"]
        assert told(events, after) == [other for other in whole if other["sequence_number"] > after]


@pytest.mark.parametrize(
    ("ending", "kind", "status"),
    [
        (AgentFailed(code="model_error", message="it broke", retryable=False), "failed", "failed"),
        (AgentCancelled(by="ada"), "incomplete", "cancelled"),
    ],
)
def test_an_ending_comes_after_every_piece_of_a_text_that_will_never_be_whole(
    ending: DurableEvent, kind: str, status: str
) -> None:
    events: list[Any] = [*log()[:5], delta(TEXT[:40]), replace(ending, seq=6, run_id="run_1")]
    found = told(events)
    numbers = [each["sequence_number"] for each in found]
    assert numbers == sorted(set(numbers))
    assert (found[-1]["type"], found[-1]["response"]["status"]) == (f"response.{kind}", status)
    for each in found[:-1]:
        assert told([*events[:5], events[6]], each["sequence_number"])[-1] == found[-1]


def test_what_members_say_is_not_told_and_what_they_ask_is() -> None:
    asked = ApprovalRequested(
        approval_id="a1", call_id="c9", tool="pay", arguments={}, expires_at="2100-01-01T00:00:00.000Z", depth=1
    )
    member = MessageCompleted(message_id="m9", content="between us", depth=1)
    events = log(TEXT, asked, member)
    found = told([*events[:5], delta("between us", message_id="m9", depth=1), *events[5:]])
    assert found == told(events)
    items = [each["item"]["type"] for each in found if each["type"] == "response.output_item.done"]
    assert items == ["mcp_call", "mcp_approval_request", "message"]


def test_an_output_that_no_model_said_is_a_message_too() -> None:
    events = [AgentStarted(task="x"), AgentCompleted(output={"sum": 3}, usage=NO_USAGE, duration_ms=1)]
    found = told([replace(event, seq=seq, run_id="run_1") for seq, event in enumerate(events, 1)])
    assert text_of(found) == '{"sum": 3}'
    assert found[-1]["response"]["output"][0]["content"][0]["text"] == '{"sum": 3}'
    assert all(len(each["delta"]) <= PIECE for each in found if "delta" in each)
