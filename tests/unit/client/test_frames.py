"""Reading what a server sends."""

import pytest

from netra_apex.client.errors import UnreadableFrame
from netra_apex.client.frames import ErrorFrame, MessageAccepted, OtherEvent, kind_of, read
from netra_apex.core.events import AgentThinking, ThinkingDelta


def test_answers_events_and_passing_frames_read_as_their_types() -> None:
    accepted = '{"type":"message_accepted","id":"1","thread_id":"t","run_id":"r","message_id":"m"}'
    assert read(accepted) == MessageAccepted("1", "t", "r", "m")
    assert read('{"type":"error","code":"invalid","message":"no"}') == ErrorFrame("invalid", "no")
    event = read('{"type":"agent_thinking","seq":1,"run_id":"r","text":"hm","step":1,"new_field":[1]}')
    assert isinstance(event, AgentThinking)
    assert kind_of(event) == "agent_thinking"
    frame = read(
        b'{"type":"thinking_delta","run_id":"r","message_id":"m","attempt":1,"offset":0,"text":"x","agent":"a","depth":0}'
    )
    assert isinstance(frame, ThinkingDelta)


def test_an_unknown_event_is_kept_whole_and_an_unknown_passing_frame_is_left_out() -> None:
    event = read('{"type":"mission_planned","seq":4,"run_id":"r","agent":"a","depth":0,"text":"?"}')
    assert isinstance(event, OtherEvent)
    assert (event.seq, event.run_id, event.body["text"], kind_of(event)) == (4, "r", "?", "mission_planned")
    assert read('{"type":"weather","text":"sunny"}') is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nonsense", "JSON"),
        ("[]", "Expected `object`"),
        ("{}", "type"),
        ('{"type":"agent_thinking","seq":1,"text":"hm"}', "step"),
        ('{"type":"message_delta","run_id":"r"}', "message_id"),
        (b'{"type":"ok","id":"\xff"}', "."),
    ],
)
def test_what_is_not_the_contract_is_refused_with_the_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(UnreadableFrame, match=reason):
        read(text)
