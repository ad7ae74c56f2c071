"""A run's stream as a machine: what it admits is well formed (G2, G3, G4), whatever is asked of it."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

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
    MessageCompleted,
    QuestionAnswered,
    QuestionAsked,
    RunQueued,
    ToolCompleted,
    ToolExecuting,
    is_terminal,
)
from netra_apex.core.messages import NO_USAGE
from netra_apex.core.runs import RunStatus, RunStream, after
from netra_apex.errors import IllegalTransition

SUB: dict[str, Any] = {"depth": 1, "parent_agent": "lead", "parent_call_id": "call_p"}
STARTED = AgentStarted(task="t")
THOUGHT = AgentThinking(text="hm", step=1)
QUEUED = RunQueued(reason="busy")
MESSAGE = MessageCompleted(message_id="m", content="c")
COMPLETED = AgentCompleted(output="o", usage=NO_USAGE, duration_ms=1)
FAILED = AgentFailed(code="agent_error", message="m", retryable=False)
CANCELLED = AgentCancelled(by="ada")
CANCELLED_SUB = AgentCancelled(by="ada", **SUB)


def call(ident: str = "c", **header: Any) -> ToolExecuting:
    return ToolExecuting(call_id=ident, tool="t", arguments={}, **header)


def done(ident: str = "c", **header: Any) -> ToolCompleted:
    return ToolCompleted(call_id=ident, tool="t", ok=True, result=1, duration_ms=1, **header)


def ask(ident: str = "a", of: str = "c", **header: Any) -> ApprovalRequested:
    return ApprovalRequested(
        approval_id=ident, call_id=of, tool="t", arguments={}, expires_at="2030-01-01T00:00:00.000Z", **header
    )


def decided(ident: str = "a") -> ApprovalDecided:
    return ApprovalDecided(approval_id=ident, decision="approve", by="ada")


def question(ident: str = "q", of: str = "c", **header: Any) -> QuestionAsked:
    return QuestionAsked(question_id=ident, call_id=of, text="which?", **header)


def answered(ident: str = "q") -> QuestionAnswered:
    return QuestionAnswered(question_id=ident, content="that")


ALL = (
    QUEUED,
    STARTED,
    THOUGHT,
    call(),
    ask(),
    decided(),
    question(),
    answered(),
    done(),
    MESSAGE,
    COMPLETED,
    FAILED,
    CANCELLED,
)
Q, R, W = RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING
FOLLOWS: dict[tuple[RunStatus, type[DurableEvent]], RunStatus] = {
    (Q, RunQueued): Q, (Q, AgentStarted): R,
    (R, AgentThinking): R, (R, ToolExecuting): R, (R, ToolCompleted): R, (R, MessageCompleted): R,
    (R, ApprovalRequested): R, (R, ApprovalDecided): R, (R, QuestionAsked): R, (R, QuestionAnswered): R,
    (R, AgentCompleted): RunStatus.COMPLETED,
    **{(status, AgentFailed): RunStatus.FAILED for status in (Q, R, W)},
    **{(status, AgentCancelled): RunStatus.CANCELLED for status in (Q, R, W)},
}  # fmt: skip


def test_events_of_one_moment_come_all_or_none() -> None:
    made = stream(STARTED)
    for refused in ([THOUGHT, done()], [call()], [THOUGHT, call(), COMPLETED], [FAILED, THOUGHT]):
        with pytest.raises(IllegalTransition):
            made.admit_all(refused)
    assert (made.status, made.last_seq, made.open_calls, made.thoughts(THOUGHT)) == (R, 1, {}, 0)
    assert made.admit_all([THOUGHT, call()]) == 2
    assert made.admit_all([done(), COMPLETED]) == 4


@pytest.mark.parametrize("status", list(RunStatus))
@pytest.mark.parametrize("event", ALL, ids=lambda event: type(event).__name__)
def test_an_event_follows_a_status_or_is_refused_with_a_sentence(status: RunStatus, event: DurableEvent) -> None:
    wanted = FOLLOWS.get((status, type(event)))
    if wanted is not None:
        assert after(status, event) is wanted
        return
    with pytest.raises(IllegalTransition) as refused:
        after(status, event)
    assert str(refused.value).startswith(f"a run that is {status} cannot tell {type(event).__name__}: ")


@pytest.mark.parametrize("event", [STARTED, THOUGHT, COMPLETED, FAILED, CANCELLED], ids=lambda e: type(e).__name__)
def test_a_sub_agent_neither_starts_nor_ends_the_run(event: DurableEvent) -> None:
    deeper = type(event)(**{name: getattr(event, name) for name in event.__struct_fields__} | SUB)
    assert after(R, deeper) is R
    for status in (Q, W):
        with pytest.raises(IllegalTransition, match="own agent has not started"):
            after(status, deeper)
    with pytest.raises(IllegalTransition, match="nothing follows an ending"):
        after(RunStatus.FAILED, deeper)


def test_ended_is_said_of_the_three_endings_alone() -> None:
    assert {status for status in RunStatus if status.ended} == {
        RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("told", "refused"),
    [
        ([], ask()),
        ([call()], ask(of="other")),
        ([call(), ask()], ask("b")),
        ([call()], decided()),
        ([call(), ask(), decided()], decided()),
        ([call(), ask(), done()], decided()),
        ([call(), done()], ask()),
        ([], question()),
        ([call(), question()], question("r")),
        ([call(), question()], ask()),
        ([call(), question()], decided()),
        ([call(), ask()], answered()),
        ([call(), question(), answered()], answered()),
        ([call(), question(), done()], answered()),
    ],
)
def test_a_call_is_asked_about_while_it_is_open_and_decided_once(
    told: list[DurableEvent], refused: DurableEvent
) -> None:
    made = stream(STARTED, THOUGHT, *told)
    before = (made.last_seq, dict(made.asked))
    with pytest.raises(IllegalTransition, match=r"is not open, or waits already|is not asked for"):
        made.admit(refused)
    assert (made.last_seq, made.asked) == before


def test_a_stream_knows_what_waits_until_it_is_decided_or_its_call_has_ended() -> None:
    made = stream(STARTED, THOUGHT, call("c"), call("d"), ask("a", "c"), ask("b", "d"))
    assert made.asked == {"a": "c", "b": "d"}
    with pytest.raises(IllegalTransition):
        made.admit_all([decided("a"), decided("a")])
    assert made.asked == {"a": "c", "b": "d"}
    made.admit_all([decided("a"), ask("a2", "c")])
    assert made.asked == {"b": "d", "a2": "c"}
    made.admit(done("d"))
    assert made.asked == {"a2": "c"}
    made.admit_all([call("e"), question("q", "e")])
    assert made.asked == {"a2": "c", "q": "e"}
    made.admit(answered("q"))
    assert made.asked == {"a2": "c"}


def stream(*events: DurableEvent) -> RunStream:
    made = RunStream()
    assert [made.admit(event) for event in events] == list(range(1, len(events) + 1))
    return made


def test_a_refused_event_changes_nothing() -> None:
    made = stream(STARTED, THOUGHT, call("a"))
    for event in (STARTED, call("a"), done("b"), COMPLETED, FAILED, CANCELLED):
        with pytest.raises(IllegalTransition):
            made.admit(event)
        assert (made.status, made.last_seq, list(made.open_calls)) == (R, 3, ["a"])
    assert made.admit(done("a")) == 4
    assert made.admit(COMPLETED) == 5
    assert made.status is RunStatus.COMPLETED


@pytest.mark.parametrize("event", [call(), COMPLETED], ids=["call", "completed"])
def test_a_thought_comes_before_the_first_call_and_before_a_good_end(event: DurableEvent) -> None:
    made = stream(STARTED)
    with pytest.raises(IllegalTransition, match="no thought"):
        made.admit(event)
    assert made.admit(THOUGHT) == 2
    assert made.thoughts(event) == 1
    assert made.admit(event) == 3


@pytest.mark.parametrize("event", [FAILED, CANCELLED])
def test_a_failure_needs_no_thought(event: DurableEvent) -> None:
    assert stream(STARTED, event).status.ended


def test_each_sub_agent_thinks_for_itself() -> None:
    made = stream(STARTED, THOUGHT, call("call_p"), call("call_other"), AgentStarted(task="t", **SUB))
    with pytest.raises(IllegalTransition, match="no thought"):
        made.admit(call("a", **SUB))
    with pytest.raises(IllegalTransition, match="no thought"):
        made.admit(AgentCompleted(output=1, usage=NO_USAGE, duration_ms=1, **SUB))
    assert made.admit(AgentThinking(text="x", step=1, **SUB)) == 6
    assert made.admit(call("a", **SUB)) == 7
    other: dict[str, Any] = {"depth": 1, "parent_agent": "lead", "parent_call_id": "call_other"}
    made.admit(AgentStarted(task="t", **other))
    with pytest.raises(IllegalTransition, match="no thought"):
        made.admit(call("b", **other))


def test_a_sub_agent_lives_within_its_call_and_ends_once() -> None:
    made = stream(STARTED, THOUGHT)
    begins, thinks = AgentStarted(task="t", **SUB), AgentThinking(text="x", step=1, **SUB)
    ends = AgentCompleted(output=1, usage=NO_USAGE, duration_ms=1, **SUB)
    with pytest.raises(IllegalTransition, match="call 'call_p' is not open, or has an agent"):
        made.admit(begins)
    made.admit(call("call_p"))
    for early in (thinks, ends, CANCELLED_SUB):
        with pytest.raises(IllegalTransition, match="has no agent that goes on"):
            made.admit(early)
    made.admit(begins)
    with pytest.raises(IllegalTransition, match="or has an agent"):
        made.admit(begins)
    made.admit(thinks)
    made.admit(call("inner", **SUB))
    for early in (ends, CANCELLED_SUB):
        with pytest.raises(IllegalTransition, match="a call of this agent is open"):
            made.admit(early)
    made.admit(done("inner", **SUB))
    with pytest.raises(IllegalTransition, match="or its agent has not ended"):
        made.admit(done("call_p"))
    made.admit(ends)
    with pytest.raises(IllegalTransition, match="has no agent that goes on"):
        made.admit(ends)
    made.admit(done("call_p"))


def nested() -> RunStream:
    """A call in which an agent has a call with an agent in it, which waits for a person; and another call beside."""
    made = stream(STARTED, THOUGHT, call("p"), call("q"))
    for parent, depth, inner in (("p", 1, "s"), ("s", 2, "t")):
        header: dict[str, Any] = {"agent": f"m{depth}", "depth": depth, "parent_agent": "x", "parent_call_id": parent}
        made.admit(AgentStarted(task="t", **header))
        made.admit(AgentThinking(text="x", step=1, **header))
        made.admit(call(inner, **header))
    made.admit(ask(of="t", agent="m2", depth=2, parent_agent="x", parent_call_id="s"))
    return made


def shown(events: Sequence[DurableEvent]) -> list[str]:
    return [f"{each.depth} {getattr(each, 'call_id', each.agent)} {type(each).__name__}" for each in events]


INNER = ["2 t ToolCompleted", "2 m2 AgentCancelled", "1 s ToolCompleted", "1 m1 AgentCancelled"]
P_HEADER: dict[str, Any] = {"agent": "m1", "depth": 1, "parent_agent": "x", "parent_call_id": "p"}


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([done("p")], [*INNER, "0 p ToolCompleted"]),
        ([done("q")], ["0 q ToolCompleted"]),
        ([THOUGHT], ["0  AgentThinking"]),
        ([AgentCancelled(by="ada", **P_HEADER), done("p")], [*INNER, "0 p ToolCompleted"]),
        ([CANCELLED], [*INNER, "0 p ToolCompleted", "0 q ToolCompleted", "0  AgentCancelled"]),
        ([done("s", **P_HEADER), done("p")], [*INNER[:3], "1 m1 AgentCancelled", "0 p ToolCompleted"]),
        ([AgentFailed(code="c", message="m", retryable=False, **P_HEADER)], [*INNER[:3], "1 m1 AgentFailed"]),
        ([done("p"), FAILED], [*INNER, "0 p ToolCompleted", "0 q ToolCompleted", "0  AgentFailed"]),
    ],
)
def test_what_is_still_open_inside_ends_before_what_it_is_in(ends: list[DurableEvent], expected: list[str]) -> None:
    made = nested()
    made.stopped_by = "ada"
    whole = made.rounded(ends)
    assert shown(whole) == expected
    made.admit_all(whole)
    assert {each.by for each in whole if isinstance(each, AgentCancelled)} <= {"ada"}
    why = {each.call_id: each.error for each in whole if isinstance(each, ToolCompleted) and not each.ok}
    assert why.get("s", made.cut_off) == made.cut_off
    assert why.get("t") in (None, CallError("cancelled", "the run ended while the call waited for a person"))


def test_what_ends_alone_is_left_as_it_is() -> None:
    made = stream(STARTED, THOUGHT)
    for events in ([], [THOUGHT], [FAILED]):
        assert list(made.rounded(events)) == events


def test_no_run_ends_while_a_call_is_open_and_the_error_names_it() -> None:
    made = stream(STARTED, THOUGHT, call("b"), call("a"))
    with pytest.raises(IllegalTransition, match=r"calls are open: \['a', 'b'\]"):
        made.admit(FAILED)


def test_a_call_that_has_ended_may_not_end_again() -> None:
    made = stream(STARTED, THOUGHT, call(), done())
    with pytest.raises(IllegalTransition, match="call c is not open"):
        made.admit(done())


IN_A: dict[str, Any] = SUB | {"parent_call_id": "a"}
CALLS = st.sampled_from(["a", "b", "c"])
EVENTS = st.one_of(
    st.sampled_from([QUEUED, STARTED, THOUGHT, MESSAGE, COMPLETED, FAILED, CANCELLED]),
    CALLS.map(call),
    CALLS.map(done),
    st.sampled_from([AgentStarted(task="t", **IN_A), AgentThinking(text="x", step=1, **IN_A), call("s", **IN_A)]),
    st.sampled_from([done("s", **IN_A), AgentCancelled(by="ada", **IN_A)]),
    st.just(AgentCompleted(output="o", usage=NO_USAGE, duration_ms=1, **IN_A)),
    CALLS.map(lambda c: ToolCompleted(call_id=c, tool="t", ok=False, error=CallError("e", "m"), duration_ms=1)),
)


def well_formed(events: list[DurableEvent]) -> None:
    """G2, G3 and G4 said once more, of the whole stream and without the machine."""
    terminal = [number for number, event in enumerate(events) if is_terminal(event)]
    assert terminal in ([], [len(events) - 1])
    started = [number for number, event in enumerate(events) if isinstance(event, AgentStarted) and not event.depth]
    assert len(started) <= 1
    work = [
        n for n, e in enumerate(events) if not isinstance(e, RunQueued | AgentStarted | AgentFailed | AgentCancelled)
    ]
    if work:
        assert started
        assert min(work) > started[0]
    open_calls: dict[str, DurableEvent] = {}
    agents: set[str] = set()
    thoughts: set[tuple[object, int]] = set()
    for event in events:
        who = (event.parent_call_id or None, event.depth)
        check_agent(event, open_calls, agents)
        if isinstance(event, AgentThinking):
            thoughts.add(who)
        if isinstance(event, ToolExecuting):
            assert event.call_id not in open_calls
            assert who in thoughts
            open_calls[event.call_id] = event
        if isinstance(event, ToolCompleted):
            assert event.call_id in open_calls
            assert event.call_id not in agents
            del open_calls[event.call_id]
        if isinstance(event, AgentCompleted):
            assert who in thoughts
    if terminal:
        assert not open_calls


def check_agent(event: DurableEvent, open_calls: dict[str, DurableEvent], agents: set[str]) -> None:
    """A sub-agent begins once in an open call, and ends once, after its own calls."""
    if not event.depth:
        return
    parent = str(event.parent_call_id)
    if isinstance(event, AgentStarted):
        assert parent in open_calls
        assert parent not in agents
        agents.add(parent)
        return
    assert parent in agents
    if isinstance(event, AgentCompleted | AgentFailed | AgentCancelled):
        assert all(each.parent_call_id != parent for each in open_calls.values())
        agents.remove(parent)


class Stream(RuleBasedStateMachine):
    """Any events in any order: those that are admitted make a stream that is well formed, numbered from 1."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = RunStream()
        self.told: list[DurableEvent] = []

    @rule(event=EVENTS)
    def ask(self, event: DurableEvent) -> None:
        before = (self.stream.status, self.stream.last_seq, dict(self.stream.open_calls))
        try:
            seq = self.stream.admit(event)
        except IllegalTransition:
            assert (self.stream.status, self.stream.last_seq, self.stream.open_calls) == before
            with pytest.raises(AssertionError):  # what is refused would have been ill formed
                self.check([*self.told, event])
        else:
            self.told.append(event)
            assert seq == len(self.told) == self.stream.last_seq

    @staticmethod
    def check(events: list[DurableEvent]) -> None:
        well_formed(events)
        if isinstance(events[-1], RunQueued):
            assert not any(isinstance(event, AgentStarted) for event in events)

    @invariant()
    def holds(self) -> None:
        if self.told:
            self.check(self.told)


TestStream = Stream.TestCase
TestStream.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)


@given(st.lists(EVENTS, max_size=40))
def test_a_stream_taken_up_from_its_log_goes_on_where_it_was(events: list[DurableEvent]) -> None:
    first = RunStream()
    told: list[DurableEvent] = []
    for event in events:
        try:
            first.admit(event)
        except IllegalTransition:
            continue
        told.append(event)
    again = stream(*told)
    assert (again.status, again.last_seq, again.open_calls) == (first.status, first.last_seq, first.open_calls)
