"""What a run tells, told by AG-UI: texts that are void, thoughts that were streamed, members, and ends."""

from typing import Any

from ag_ui.core import BaseEvent

from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    AgentThinking,
    ApprovalRequested,
    CallError,
    DurableEvent,
    MessageCompleted,
    MessageDelta,
    MessageReset,
    PassingFrame,
    ThinkingDelta,
    ToolCompleted,
    ToolExecuting,
)
from netra_apex.core.messages import NO_USAGE
from netra_apex.server.protocols.agui_events import Naming, Teller

NAMING = Naming(thread="t", run="r", thread_id="thr_1", run_id="run_1")


class Stream:
    """Hears events as a run tells them, and keeps what the client is told."""

    def __init__(self) -> None:
        self.teller = Teller(NAMING)
        self.told: list[dict[str, Any]] = []
        self.seq = 0

    def hear(self, *heard: DurableEvent | PassingFrame) -> list[str]:
        """The types of what is told of these."""
        count = len(self.told)
        for each in heard:
            passing = isinstance(each, MessageDelta | MessageReset)
            self.seq += not passing
            self.keep(self.teller.hear(None if passing else self.seq, each))
        return [each["type"] for each in self.told[count:]]

    def keep(self, events: list[BaseEvent]) -> None:
        self.told += [each.model_dump(mode="json", by_alias=True) for each in events]

    def text(self) -> str:
        return "".join(each["delta"] for each in self.told if each["type"] == "TEXT_MESSAGE_CONTENT")


def delta(text: str, offset: int, attempt: int = 1, kind: type[MessageDelta] = MessageDelta) -> MessageDelta:
    return kind(run_id="run_1", message_id="m", attempt=attempt, offset=offset, text=text, agent="a", depth=0)


def reset() -> MessageReset:
    return MessageReset(run_id="run_1", message_id="m", attempt=2, agent="a", depth=0)


def finished(output: Any) -> AgentCompleted:
    return AgentCompleted(output=output, usage=NO_USAGE, duration_ms=1)


def test_deltas_that_were_told_before_are_not_told_again_and_the_rest_comes_with_the_end() -> None:
    stream = Stream()
    assert stream.hear(delta("one ", 0)) == ["TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT"]
    assert stream.hear(delta("one two ", 0)) == ["TEXT_MESSAGE_CONTENT"]
    assert stream.hear(MessageCompleted(message_id="m", content="one two three")) == [
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
    ]
    assert stream.text() == "one two three"


def test_a_text_that_is_void_is_taken_back_by_a_snapshot_without_it() -> None:
    stream = Stream()
    stream.hear(MessageCompleted(message_id="before", content="kept"), delta("wrong", 0))
    assert stream.hear(reset()) == ["TEXT_MESSAGE_END", "MESSAGES_SNAPSHOT"]
    assert [each["id"] for each in stream.told[-1]["messages"]] == ["before"]
    assert stream.hear(reset()) == []
    assert stream.hear(delta("right", 0, attempt=2)) == ["TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT"]
    stream.hear(MessageCompleted(message_id="m", content="right"))
    assert stream.text() == "keptwrongright"
    assert stream.hear(finished("right")) == ["RUN_FINISHED"]


def test_a_thought_that_was_streamed_is_told_once() -> None:
    stream = Stream()
    thinking = delta("hm ", 0, kind=ThinkingDelta)
    assert stream.hear(thinking) == ["REASONING_START", "REASONING_MESSAGE_START", "REASONING_MESSAGE_CONTENT"]
    assert stream.hear(AgentThinking(text="hm ", step=1)) == ["REASONING_MESSAGE_END", "REASONING_END"]
    # What comes from the log alone is told whole.
    assert stream.hear(AgentThinking(text="more", step=2))[2] == "REASONING_MESSAGE_CONTENT"
    # Another thought than the one that was streamed ends that first.
    stream.hear(thinking)
    assert stream.hear(AgentThinking(text="other", step=3))[:3] == [
        "REASONING_MESSAGE_END",
        "REASONING_END",
        "REASONING_START",
    ]


def test_what_is_open_is_ended_before_the_run_whatever_its_ending() -> None:
    for ending, last in (
        (AgentCancelled(by="ada"), "RUN_FINISHED"),
        (AgentFailed(code="agent_error", message="no", retryable=False), "RUN_ERROR"),
        (finished("other"), "RUN_FINISHED"),
    ):
        stream = Stream()
        stream.hear(delta("half", 0), delta("hm", 0, kind=ThinkingDelta))
        told = stream.hear(ending)
        assert told[-1] == last
        assert told.count("TEXT_MESSAGE_END") == 1 + (ending.__class__ is AgentCompleted)
        assert told.count("REASONING_END") == 1
        assert stream.teller.over


def test_a_failed_call_and_a_failed_run_have_our_codes_and_members_their_own_ends() -> None:
    stream = Stream()
    inside = {"depth": 1, "parent_call_id": "c1", "parent_agent": "boss", "agent": "member"}
    stream.hear(ToolExecuting(call_id="c1", tool="delegate_member", arguments={"task": "x"}))
    assert stream.hear(AgentStarted(task="x", **inside)) == ["SUBAGENT_STARTED"]
    deeper = inside | {"depth": 2, "parent_call_id": "c2", "parent_agent": "member"}
    stream.hear(ToolExecuting(call_id="c2", tool="delegate_other", arguments={}, **inside))
    stream.hear(AgentStarted(task="y", **deeper))
    assert (stream.told[-1]["subagentRunId"], stream.told[-1]["parentSubagentRunId"]) == ("c2", "c1")
    stream.hear(AgentFailed(code="max_turns", message="too long", retryable=False, **deeper))
    assert (stream.told[-1]["type"], stream.told[-1]["code"]) == ("SUBAGENT_ERROR", "max_turns")
    error = CallError("timeout", "took too long")
    stream.hear(ToolCompleted(call_id="c2", tool="delegate_other", ok=False, error=error, duration_ms=1, **inside))
    assert stream.told[-1]["content"] == '{"error":{"code":"timeout","message":"took too long"}}'
    stream.hear(AgentCancelled(by="system", **inside))
    assert (stream.told[-1]["type"], stream.told[-1]["code"]) == ("SUBAGENT_ERROR", "cancelled")
    assert stream.told[-1]["metadata"] == {"netra": {"seq": stream.seq}}


def test_a_stream_that_goes_on_opens_what_is_open_and_tells_the_messages_as_they_are() -> None:
    stream = Stream()
    inside = {"depth": 1, "parent_call_id": "c1", "parent_agent": "boss", "agent": "member"}
    stream.hear(
        ToolExecuting(call_id="c1", tool="delegate_member", arguments={}),
        AgentStarted(task="x", **inside),
        ToolExecuting(call_id="c2", tool="pay", arguments={"amount": 7}, **inside),
        ApprovalRequested(
            approval_id="apr_1",
            call_id="c2",
            tool="pay",
            arguments={"amount": 7},
            expires_at="2030-01-01",
            **inside,
        ),
    )
    stream.told.clear()
    stream.keep(stream.teller.begin(gap=True))
    assert [each["type"] for each in stream.told] == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "SUBAGENT_STARTED"]
    assert [each["toolCalls"][0]["id"] for each in stream.told[1]["messages"]] == ["c1", "c2"]
    stream.told.clear()
    stream.keep(stream.teller.interrupt(4, {}))
    suspended, finish = stream.told
    (interrupt,) = finish["outcome"]["interrupts"]
    assert suspended["outcome"] == {"type": "suspended", "interruptIds": [interrupt["id"]]}
    assert (interrupt["id"], interrupt["subagentRunId"]) == ("int-run_1-apr_1", "c1")
    assert "null" not in str(stream.told).replace("None", "null")
