"""A follower: what must not be told is refused; the rest is the machine's business (test_telling)."""

import json

import pytest

from netra_apex.core.events import (
    AgentCompleted,
    AgentStarted,
    AgentThinking,
    DurableEvent,
    MessageCompleted,
    encode,
)
from netra_apex.core.messages import NO_USAGE
from netra_apex.errors import IllegalTransition
from netra_apex.stream.feed import LiveText
from netra_apex.stream.follower import Follower


def stored(*events: DurableEvent, first: int = 1) -> list[tuple[int, str]]:
    return [
        (seq, encode(type(event)(**{n: getattr(event, n) for n in event.__struct_fields__} | {"seq": seq})))
        for seq, event in enumerate(events, first)
    ]


STARTED, THOUGHT = AgentStarted(task="t"), AgentThinking(text="hm", step=1)
COMPLETED = AgentCompleted(output="o", usage=NO_USAGE, duration_ms=1)


def live(kind: str = "message", after_seq: int = 0, text: str = "") -> LiveText:
    return LiveText(
        kind=kind,
        run_id="run_a",
        message_id="msg_a",
        agent="helper",
        depth=0,
        parent_call_id=None,  # type: ignore[arg-type]
        after_seq=after_seq,
        pieces=[text] if text else [],
        length=len(text),
    )


def frames(told: list[tuple[int | None, str]]) -> list[dict[str, object]]:
    return [json.loads(body) for _, body in told]


def test_an_event_with_one_missing_before_it_is_never_told() -> None:
    follower = Follower("run_a", 0, None)
    with pytest.raises(IllegalTransition, match="events between are missing"):
        follower.stored([*stored(STARTED), *stored(THOUGHT, first=3)])
    assert follower.seq == 1
    with pytest.raises(IllegalTransition, match="told up to 5 cannot tell event 7"):
        Follower("run_a", 5, None).stored(stored(THOUGHT, first=7))


def test_events_that_it_has_been_told_are_told_no_second_time() -> None:
    follower = Follower("run_a", 1, None)
    events = stored(STARTED, THOUGHT, THOUGHT)
    assert [seq for seq, _ in follower.stored(events)] == [2, 3]
    assert follower.stored(events) == []


def test_nothing_is_told_after_the_ending_and_an_inner_ending_is_none() -> None:
    follower = Follower("run_a", 0, None)
    inner = AgentCompleted(output="o", usage=NO_USAGE, duration_ms=1, depth=1)
    told = follower.stored(stored(STARTED, inner, COMPLETED, THOUGHT))
    assert [seq for seq, _ in told] == [1, 2, 3]
    assert follower.ended


def test_a_text_is_not_shown_before_what_was_told_before_it() -> None:
    follower = Follower("run_a", 0, None)
    text = live(after_seq=2, text="hello")
    assert follower.passing([text]) == []
    follower.stored(stored(STARTED, THOUGHT))
    assert [frame["text"] for frame in frames(follower.passing([text]))] == ["hello"]
    assert follower.passing([text]) == []


def test_a_message_whose_text_it_was_never_shown_is_told_without_deltas() -> None:
    follower = Follower("run_a", 0, None)
    follower.passing([live(text="")])
    told = follower.stored(stored(STARTED, MessageCompleted(message_id="msg_a", content="hello")))
    assert [seq for seq, _ in told] == [1, 2]


def test_a_text_that_was_shown_whole_ends_without_another_delta() -> None:
    follower = Follower("run_a", 0, None)
    follower.passing([live(text="hello")])
    told = follower.stored(stored(STARTED, MessageCompleted(message_id="msg_a", content="hello")))
    assert [seq for seq, _ in told] == [1, 2]


def test_text_that_became_void_is_taken_back_before_the_ending() -> None:
    follower = Follower("run_a", 0, None)
    given_up, kept = live(text="wrong"), live("thinking", text="hm")
    kept.message_id = "msg_b"
    follower.passing([given_up, kept])
    given_up.attempt, given_up.pieces, given_up.length = 2, [], 0
    told = follower.stored(stored(STARTED, COMPLETED))
    assert [(frame["type"], frame.get("message_id")) for frame in frames(told)] == [
        ("agent_started", None),
        ("message_reset", "msg_a"),
        ("agent_completed", None),
    ]


def test_another_messages_end_is_not_the_end_of_the_text_that_it_was_shown() -> None:
    follower = Follower("run_a", 0, None)
    text = live(text="hel")
    follower.passing([text])
    told = follower.stored(stored(STARTED, MessageCompleted(message_id="msg_other", content="x")))
    assert [seq for seq, _ in told] == [1, 2]
    told = follower.stored(stored(MessageCompleted(message_id="msg_a", content="hello"), first=3))
    assert [(frame["type"], frame.get("text")) for frame in frames(told)] == [
        ("message_delta", "lo"),
        ("message_completed", None),
    ]


def test_a_text_that_was_begun_anew_and_finished_while_it_looked_away_is_reset_first() -> None:
    follower = Follower("run_a", 0, None)
    text = live(text="wrong")
    follower.passing([text])
    text.attempt, text.pieces, text.length, text.done = 2, [], 0, True
    told = follower.stored(stored(STARTED, MessageCompleted(message_id="msg_a", content="right")))
    assert [(f["type"], f.get("attempt"), f.get("offset")) for f in frames(told)] == [
        ("agent_started", None, None),
        ("message_reset", 2, None),
        ("message_delta", 2, 0),
        ("message_completed", None, None),
    ]


def test_offsets_count_code_points() -> None:
    follower = Follower("run_a", 0, None)
    text = live("thinking", text="😀é")
    (first,) = frames(follower.passing([text]))
    text.pieces.append("x")
    text.length += 1
    (second,) = frames(follower.passing([text]))
    assert (first["type"], first["offset"], second["offset"], second["text"]) == ("thinking_delta", 0, 2, "x")


def test_a_reset_is_told_even_before_there_is_new_text() -> None:
    follower = Follower("run_a", 0, None)
    text = live(text="wrong")
    follower.passing([text])
    text.attempt, text.pieces, text.length = 2, [], 0
    assert [frame["type"] for frame in frames(follower.passing([text]))] == ["message_reset"]
    assert follower.passing([text]) == []


def test_a_text_that_another_process_may_have_begun_is_reset_before_it_is_told() -> None:
    text = live(text="again")
    text.anew, text.attempt = True, 101
    follower = Follower("run_a", 0, None)
    assert frames(follower.passing([live()])) == [], "nothing of it has come yet"
    reset, delta = frames(follower.passing([text]))
    assert (reset["type"], reset["message_id"], reset["attempt"]) == ("message_reset", "msg_a", 101)
    assert (delta["type"], delta["offset"], delta["text"], delta["attempt"]) == ("message_delta", 0, "again", 101)
    assert follower.passing([text]) == []


def test_a_message_that_another_process_writes_by_now_is_told_on_from_where_its_reader_stands() -> None:
    follower = Follower("run_a", 0, None)
    (first,) = frames(follower.passing([live(text="hel")]))
    assert (first["offset"], first["text"]) == (0, "hel")
    (more,) = frames(follower.passing([live(text="hello")]))
    assert (more["offset"], more["text"]) == (3, "lo")


def test_a_completed_message_that_does_not_go_on_from_what_was_shown_takes_that_back() -> None:
    follower = Follower("run_a", 0, None)
    follower.passing([live(text="one way")])
    told = frames(follower.stored(stored(MessageCompleted(message_id="msg_a", content="another"))))
    assert [frame["type"] for frame in told] == ["message_reset", "message_delta", "message_completed"]
    assert (told[1]["offset"], told[1]["text"], told[1]["attempt"]) == (0, "another", told[0]["attempt"])
