"""What a frame means to somebody who follows a run."""

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_apex.client.errors import StreamBroken
from netra_apex.client.following import Following
from netra_apex.client.frames import Event, OtherEvent, read
from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentStarted,
    AgentThinking,
    MessageCompleted,
    MessageDelta,
    MessageReset,
    PassingFrame,
    ThinkingDelta,
)
from netra_apex.core.messages import NO_USAGE


def thought(seq: int, **more: Any) -> AgentThinking:
    return AgentThinking(seq=seq, run_id="r", text="hm", step=1, **more)


def completed(seq: int, depth: int = 0) -> AgentCompleted:
    return AgentCompleted(seq=seq, run_id="r", depth=depth, output="x", usage=NO_USAGE, duration_ms=1)


def whole(seq: int, content: str, message_id: str = "m") -> MessageCompleted:
    return MessageCompleted(seq=seq, run_id="r", message_id=message_id, content=content)


def delta(offset: int, text: str, attempt: int = 1, message_id: str = "m") -> MessageDelta:
    return MessageDelta(
        run_id="r", message_id=message_id, attempt=attempt, offset=offset, text=text, agent="a", depth=0
    )


def aloud(offset: int, text: str, attempt: int = 1) -> ThinkingDelta:
    return ThinkingDelta(run_id="r", message_id="m", attempt=attempt, offset=offset, text=text, agent="a", depth=0)


def reset(attempt: int) -> MessageReset:
    return MessageReset(run_id="r", message_id="m", attempt=attempt, agent="a", depth=0)


def texts(frames: tuple[Event | PassingFrame, ...]) -> list[str]:
    return [frame.text if isinstance(frame, MessageDelta) else type(frame).__name__ for frame in frames]


def test_events_in_order_are_given_once_and_the_ending_is_kept() -> None:
    run = Following("r")
    events = [AgentStarted(seq=1, run_id="r", task="t"), thought(2), completed(3)]
    assert [run.take(event) for event in events] == [(event,) for event in events]
    assert run.last_seq == 3
    assert run.ending == events[2]
    assert run.faults == []


@pytest.mark.parametrize(("got", "expected"), [(4, 3), (2, 3), (1, 3), (0, 3)])
def test_a_gap_and_a_duplicate_break_the_stream_and_name_what_was_expected(got: int, expected: int) -> None:
    run = Following("r")
    run.take(thought(1))
    run.take(thought(2))
    with pytest.raises(StreamBroken) as broken:
        run.take(thought(got))
    assert (broken.value.run_id, broken.value.expected, broken.value.got) == ("r", expected, got)
    assert str(broken.value) == f"run r told agent_thinking with seq {got} where seq {expected} was expected"
    assert run.last_seq == 2


@pytest.mark.parametrize("frame", [completed(2), thought(2), delta(0, "late"), reset(2)])
def test_nothing_may_follow_the_ending(frame: Event | PassingFrame) -> None:
    run = Following("r")
    run.take(completed(1))
    with pytest.raises(StreamBroken, match="had ended, and then came") as broken:
        run.take(frame)
    assert broken.value.expected is None


def test_the_ending_of_a_sub_agent_does_not_end_the_run() -> None:
    run = Following("r")
    run.take(completed(1, depth=1))
    assert run.ending is None
    assert run.take(thought(2)) == (thought(2),)


def test_a_cancelled_run_may_leave_a_text_unfinished() -> None:
    run = Following("r")
    run.take(delta(0, "Hel"))
    run.take(AgentCancelled(seq=1, run_id="r", by="ada"))
    assert isinstance(run.ending, AgentCancelled)
    assert run.faults == []


def test_a_replay_from_an_earlier_point_gives_only_what_is_new() -> None:
    run = Following("r")
    run.take(thought(1))
    run.take(thought(2))
    run.begin(0)
    assert run.take(thought(1)) == ()
    assert run.take(thought(2)) == ()
    assert run.take(thought(3)) == (thought(3),)
    run.begin(2)
    assert run.take(thought(3)) == ()
    assert run.take(completed(4)) == (completed(4),)
    run.begin(3)
    assert run.take(completed(4)) == ()


def test_following_begins_after_the_event_that_it_was_told() -> None:
    run = Following("r", last_seq=5)
    with pytest.raises(StreamBroken, match="where seq 6 was expected"):
        run.take(thought(7))
    assert run.take(thought(6)) == (thought(6),)


def test_an_event_of_an_unknown_kind_counts_and_is_passed_on() -> None:
    run = Following("r")
    other = OtherEvent("approval_requested", 1, "r", "a", 0, {"type": "approval_requested"})
    assert run.take(other) == (other,)
    with pytest.raises(StreamBroken, match="told approval_requested with seq 1"):
        run.take(other)


def test_deltas_make_the_text_and_must_agree_with_the_completed_message() -> None:
    run = Following("r")
    assert texts(run.take(delta(0, "Grüße, "))) == ["Grüße, "]
    assert texts(run.take(delta(7, "🌍"))) == ["🌍"]
    assert run.text("m") == "Grüße, 🌍"
    run.take(whole(1, "Grüße, 🌍"))
    assert run.faults == []
    assert run.text("m") == "Grüße, 🌍"
    assert run.text("other") == ""


def test_deltas_that_make_another_text_are_a_fault() -> None:
    run = Following("r")
    run.take(delta(0, "Hello"))
    run.take(whole(1, "Hell" + "o" * 80))
    assert len(run.faults) == 1
    assert "make 'Hello'" in run.faults[0]
    assert "…" in run.faults[0]


@pytest.mark.parametrize("wrong", [delta(6, "gap"), delta(4, "over"), delta(0, "Hex")])
def test_a_delta_that_does_not_fit_is_a_fault_and_its_message_waits_for_the_whole_text(wrong: MessageDelta) -> None:
    run = Following("r")
    run.take(delta(0, "Hello"))
    assert run.take(wrong) == ()
    assert run.take(delta(5, " world")) == ()
    assert run.take(whole(1, "Hello world")) == (whole(1, "Hello world"),)
    assert run.faults == [f"a delta of message m at offset {wrong.offset} follows 5 characters"]


def test_one_who_comes_back_in_the_middle_of_a_message_gets_only_the_rest_of_it() -> None:
    run = Following("r")
    run.take(delta(0, "Hel"))
    run.begin(0)
    assert run.take(delta(0, "Hello w")) == (delta(3, "lo w"),)
    assert run.take(delta(0, "Hello w")) == ()
    assert run.take(delta(7, "orld")) == (delta(7, "orld"),)
    assert run.faults == []


def test_a_reset_voids_the_text_and_deltas_of_the_old_attempt() -> None:
    run = Following("r")
    run.take(delta(0, "Hel"))
    run.take(aloud(0, "hm"))
    assert run.take(reset(2)) == (reset(2),)
    assert run.text("m") == ""
    assert run.take(delta(3, "lo")) == ()
    assert run.take(reset(1)) == ()
    assert texts(run.take(delta(0, "Howdy", attempt=2))) == ["Howdy"]
    assert texts(run.take(aloud(0, "well", attempt=2))) == ["well"]
    run.take(whole(1, "Howdy"))
    assert run.faults == []


@pytest.mark.parametrize("first", [delta(0, "Hel"), aloud(0, "hm")])
def test_a_missed_reset_is_told_before_the_first_delta_of_the_new_attempt(first: MessageDelta) -> None:
    run = Following("r")
    run.take(first)
    second = msgspec.structs.replace(first, attempt=2, text="Howdy")
    assert run.take(second) == (reset(2), second)


def test_a_torn_message_is_whole_again_in_its_next_attempt() -> None:
    run = Following("r")
    run.take(delta(3, "torn"))
    run.take(reset(2))
    assert texts(run.take(delta(0, "Howdy", attempt=2))) == ["Howdy"]


def test_nothing_is_added_to_a_message_that_is_complete() -> None:
    run = Following("r")
    run.take(whole(1, "Hello"))
    assert run.take(delta(5, "!")) == ()
    assert run.take(reset(2)) == ()
    assert run.text("m") == "Hello"


def test_a_streamed_message_without_its_completion_is_a_fault() -> None:
    run = Following("r")
    run.take(delta(0, "Hello"))
    run.take(delta(0, "", message_id="empty"))
    run.take(aloud(0, "hm"))
    run.take(completed(1))
    assert run.faults == ["message m was streamed and has no message_completed"]


@given(st.lists(st.text(max_size=5), max_size=12), st.data())
def test_whatever_is_told_again_after_a_lost_socket_the_consumer_reads_each_character_and_event_once(
    pieces: list[str], data: st.DataObject
) -> None:
    """The server tells a thought and a piece of one message in turn; the socket is lost at random moments."""
    run = Following("r")
    got: list[Event | PassingFrame] = []
    log: list[AgentThinking] = []
    text = ""
    for piece in pieces:
        log.append(thought(len(log) + 1))
        got += run.take(log[-1])
        got += run.take(delta(len(text), piece))
        text += piece
        if data.draw(st.booleans()):
            after = data.draw(st.integers(0, run.last_seq))
            run.begin(after)
            for event in log[after:]:
                got += run.take(event)
            got += run.take(delta(0, text))
    got += run.take(whole(len(log) + 1, text))
    assert [event.seq for event in got if not isinstance(event, PassingFrame)] == list(range(1, len(log) + 2))
    assert "".join(frame.text for frame in got if isinstance(frame, MessageDelta)) == text
    assert run.faults == []


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_whatever_seqs_arrive_the_consumer_never_has_a_gap_or_a_duplicate(seqs: list[int]) -> None:
    run = Following("r")
    got: list[int] = []
    for seq in seqs:
        with contextlib.suppress(StreamBroken):
            got += [event.seq for event in run.take(thought(seq)) if not isinstance(event, PassingFrame)]
    assert got == list(range(1, len(got) + 1))
    assert run.last_seq == len(got)


def test_a_frame_on_the_wire_reads_as_the_machine_takes_it() -> None:
    assert read(msgspec.json.encode(delta(0, "x"))) == delta(0, "x")
