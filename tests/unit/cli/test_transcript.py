"""What a run looks like: nothing is lost, and nothing is said twice."""

import io
from typing import Any

import pytest
from rich.console import Console

from netra_apex.cli.pens import PlainPen, TerminalPen
from netra_apex.cli.transcript import Transcript
from netra_apex.client import Frame, OtherEvent, Reconnected, Reconnecting
from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    AgentThinking,
    ApprovalDecided,
    ApprovalRequested,
    CallError,
    MessageCompleted,
    MessageDelta,
    MessageReset,
    RunQueued,
    ThinkingDelta,
    ToolCompleted,
    ToolExecuting,
)
from netra_apex.core.messages import NO_USAGE, Usage


def terminal(*frames: Frame) -> str:
    out = io.StringIO()
    transcript = Transcript(TerminalPen(Console(file=out, width=200, highlight=False)))
    for frame in frames:
        transcript.show(frame)
    return out.getvalue()


def plain(*frames: Frame) -> tuple[str, str]:
    out, about = io.StringIO(), io.StringIO()
    transcript = Transcript(PlainPen(out, about))
    for frame in frames:
        transcript.show(frame)
    return out.getvalue(), about.getvalue()


def delta(offset: int, text: str, attempt: int = 1, message_id: str = "m") -> MessageDelta:
    return MessageDelta(
        run_id="r", message_id=message_id, attempt=attempt, offset=offset, text=text, agent="a", depth=0
    )


def aloud(text: str, depth: int = 0) -> ThinkingDelta:
    return ThinkingDelta(run_id="r", message_id="m", attempt=1, offset=0, text=text, agent="a", depth=depth)


def whole(content: str, depth: int = 0, message_id: str = "m") -> MessageCompleted:
    return MessageCompleted(seq=1, message_id=message_id, content=content, depth=depth, agent="a")


def completed(output: Any, usage: Usage = NO_USAGE) -> AgentCompleted:
    return AgentCompleted(seq=9, output=output, usage=usage, duration_ms=1500)


def test_a_streamed_answer_is_written_once() -> None:
    said = terminal(delta(0, "Hel"), delta(3, "lo"), whole("Hello"), completed("Hello"))
    assert said == "Hello\n1.5 s\n"


def test_an_answer_that_was_not_streamed_is_written_when_it_is_whole() -> None:
    assert terminal(whole("Hello"), completed("Hello")) == "Hello\n1.5 s\n"


def test_an_output_of_an_agent_that_calls_no_model_is_written() -> None:
    assert terminal(completed("Hello ada")) == "Hello ada\n1.5 s\n"
    assert terminal(completed({"a": [1]})) == '{"a": [1]}\n1.5 s\n'
    assert terminal(completed(None)) == "1.5 s\n"


def test_an_output_that_says_more_than_the_answers_is_added_and_a_typed_one_is_not_repeated() -> None:
    assert terminal(whole("a draft"), completed("the end")) == "a draft\nthe end\n1.5 s\n"
    assert terminal(whole('{"a": 1}'), completed({"a": 1})) == '{"a": 1}\n1.5 s\n'
    assert terminal(whole("no json"), completed({"a": 1})) == 'no json\n{"a": 1}\n1.5 s\n'


def test_what_is_missing_of_a_streamed_answer_is_added_and_a_wrong_one_is_written_anew() -> None:
    assert terminal(delta(0, "Hel"), whole("Hello")) == "Hello\n"
    assert terminal(delta(0, "Hex"), whole("Hello")) == "Hex\nHello\n"


def test_an_answer_that_begins_anew_says_so() -> None:
    reset = MessageReset(run_id="r", message_id="m", attempt=2, agent="a", depth=0)
    said = terminal(delta(0, "Hel"), reset, delta(0, "Howdy", attempt=2), whole("Howdy"))
    assert said == "Hel\n(the answer begins anew)\nHowdy\n"
    assert terminal(reset, whole("Howdy")) == "Howdy\n"


def test_tool_calls_show_arguments_results_and_times() -> None:
    said = terminal(
        AgentThinking(seq=1, text="looking\nit up", step=1),
        ToolExecuting(seq=2, call_id="c", tool="lookup", arguments={"query": "x", "n": 2}),
        ToolCompleted(seq=3, call_id="c", tool="lookup", ok=True, result={"found": 1}, duration_ms=12),
        ToolExecuting(seq=4, call_id="d", tool="lookup", arguments="{ill"),
        ToolCompleted(
            seq=5, call_id="d", tool="lookup", ok=False, error=CallError("denied", "not you"), duration_ms=2000
        ),
    )
    assert said.splitlines() == [
        "· looking it up",
        '→ lookup(query="x", n=2)',
        '← lookup: {"found": 1} · 12 ms',
        "→ lookup({ill)",
        "✗ lookup: not you (denied) · 2.0 s",
    ]


def test_a_long_result_is_shortened() -> None:
    said = terminal(ToolCompleted(seq=3, call_id="c", tool="t", ok=True, result="x" * 500, duration_ms=1))
    assert len(said) < 200
    assert "…" in said


def test_a_thought_that_was_heard_aloud_is_not_repeated() -> None:
    thought = AgentThinking(seq=1, text="let me see", step=1)
    assert terminal(aloud("let me see"), thought, delta(0, "12"), whole("12")) == "let me see\n12\n"
    assert plain(aloud("let me see"), thought)[1] == "· let me see\n"


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (RunQueued(seq=1, reason="3 runs are under way"), "waiting: 3 runs are under way"),
        (AgentFailed(seq=1, code="model_error", message="down", retryable=True), "failed: down (model_error); trying"),
        (AgentFailed(seq=1, code="max_turns", message="20 turns", retryable=False), "failed: 20 turns (max_turns)\n"),
        (AgentCancelled(seq=1, by="ada"), "cancelled by ada"),
        (AgentStarted(seq=1, agent="b", depth=1, task={"t": 1}), '  ▸ b: {"t": 1}'),
        (whole("found it", depth=1), "  a: found it"),
        (AgentFailed(seq=1, agent="b", depth=1, code="x", message="y", retryable=False), "  ✗ b failed: y (x)"),
        (OtherEvent("approval_requested", 1, "r", "a", 0, {}), "approval requested"),
        (Reconnecting("it went away"), "connection lost (it went away); reconnecting…"),
        (Reconnected(1.25), "back after 1.2 s"),
    ],
)
def test_each_kind_of_notice_is_one_line(frame: Frame, said: str) -> None:
    assert terminal(frame).startswith(said)


@pytest.mark.parametrize(
    "frame",
    [
        AgentStarted(seq=1, task="t"),
        AgentCompleted(seq=1, depth=1, output="x", usage=NO_USAGE, duration_ms=1),
        aloud("hm", depth=1),
    ],
)
def test_what_says_nothing_new_is_left_out(frame: Frame) -> None:
    assert terminal(frame) == ""


def test_the_figures_tell_requests_tokens_and_cost() -> None:
    usage = Usage(input_tokens=12, output_tokens=34, requests=2, cost_usd=0.00123)
    assert terminal(completed("x", usage)) == "x\n1.5 s · 2 model requests · 12 tokens in, 34 out · $0.0012\n"


def test_a_notice_in_the_middle_of_an_answer_has_a_line_of_its_own() -> None:
    said = terminal(delta(0, "Hel"), Reconnecting("gone"), delta(3, "lo"), whole("Hello"), completed("Hello"))
    assert said == "Hel\nconnection lost (gone); reconnecting…\nlo\n1.5 s\n"


def test_a_pipe_gets_whole_answers_alone_and_without_colours() -> None:
    out, about = plain(
        RunQueued(seq=1, reason="busy"),
        delta(0, "Hel"),
        whole("Hello"),
        whole("World", message_id="n"),
        completed("World"),
    )
    assert out == "Hello\nWorld\n"
    assert about == "waiting: busy\n1.5 s\n"


def test_a_model_cannot_steer_the_terminal() -> None:
    said = terminal(delta(0, "\x1b[2J"), whole("\x1b[2J"), AgentThinking(seq=1, text="\x1b]0;x\x07", step=1))
    assert "\x1b" not in said
    assert "\x07" not in said


def test_a_call_that_waits_is_shown_with_its_arguments_and_what_was_decided_with_by_whom() -> None:
    until = "2030-01-02T03:04:05.678Z"
    asked = ApprovalRequested(approval_id="a", call_id="c", tool="pay", arguments={"to": "\x1b[2Jme"}, expires_at=until)
    said, about = plain(
        asked,
        ApprovalDecided(approval_id="a", decision="expired", by="system"),
        ApprovalRequested(approval_id="b", call_id="d", tool="pay", arguments={}, expires_at=until, depth=1),
        ApprovalDecided(approval_id="b", decision="reject", by="ada", depth=1),
    )
    assert said == ""
    assert "\x1b" not in about
    first, expired, second, rejected = about.splitlines()
    assert first.startswith('? pay(to="')
    assert first.endswith('me") needs your approval, until 2030-01-02 03:04 UTC')
    assert (expired, second) == ("expired by system", "  ? pay() needs your approval, until 2030-01-02 03:04 UTC")
    assert rejected == "  rejected by ada"


def test_what_waits_is_known_until_it_is_decided_or_its_call_has_ended() -> None:
    transcript = Transcript(PlainPen(io.StringIO(), io.StringIO()))
    for number in (1, 2, 3):
        transcript.show(
            ApprovalRequested(
                approval_id=f"a{number}", call_id=f"c{number}", tool="pay", arguments={}, expires_at="2030-01-02T03:04Z"
            )
        )
    assert list(transcript.asked) == ["a1", "a2", "a3"]
    transcript.show(ApprovalDecided(approval_id="a2", decision="approve", by="ada"))
    transcript.show(ToolCompleted(call_id="c1", tool="pay", ok=False, error=CallError("cancelled", ""), duration_ms=1))
    assert list(transcript.asked) == ["a3"]
