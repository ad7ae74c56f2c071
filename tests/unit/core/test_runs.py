"""A run's stream as a machine: what it admits is well formed (G2, G3, G4), whatever is asked of it."""

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


ALL = (QUEUED, STARTED, THOUGHT, call(), ask(), decided(), done(), MESSAGE, COMPLETED, FAILED, CANCELLED)
Q, R, W = RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING
FOLLOWS: dict[tuple[RunStatus, type[DurableEvent]], RunStatus] = {
    (Q, RunQueued): Q, (Q, AgentStarted): R,
    (R, AgentThinking): R, (R, ToolExecuting): R, (R, ToolCompleted): R, (R, MessageCompleted): R,
    (R, ApprovalRequested): R, (R, ApprovalDecided): R,
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
    made = stream(STARTED, THOUGHT)
    with pytest.raises(IllegalTransition, match="no thought"):
        made.admit(call("a", **SUB))
    with pytest.raises(IllegalTransition, match="no thought"):
        made.admit(AgentCompleted(output=1, usage=NO_USAGE, duration_ms=1, **SUB))
    assert made.admit(AgentThinking(text="x", step=1, **SUB)) == 3
    assert made.admit(call("a", **SUB)) == 4
    with pytest.raises(IllegalTransition, match="no thought"):
        made.admit(call("b", depth=1, parent_agent="lead", parent_call_id="call_other"))


def test_no_run_ends_while_a_call_is_open_and_the_error_names_it() -> None:
    made = stream(STARTED, THOUGHT, call("b"), call("a"))
    with pytest.raises(IllegalTransition, match=r"calls are open: \['a', 'b'\]"):
        made.admit(FAILED)


def test_a_call_that_has_ended_may_not_end_again() -> None:
    made = stream(STARTED, THOUGHT, call(), done())
    with pytest.raises(IllegalTransition, match="call c is not open"):
        made.admit(done())


CALLS = st.sampled_from(["a", "b", "c"])
EVENTS = st.one_of(
    st.sampled_from([QUEUED, STARTED, THOUGHT, MESSAGE, COMPLETED, FAILED, CANCELLED]),
    CALLS.map(call),
    CALLS.map(done),
    st.sampled_from([AgentThinking(text="x", step=1, **SUB), call("s", **SUB), done("s", **SUB)]),
    CALLS.map(lambda c: ToolCompleted(call_id=c, tool="t", ok=False, error=CallError("e", "m"), duration_ms=1)),
)


def well_formed(events: list[DurableEvent]) -> None:
    """G2, G3 and G4 said once more, of the whole stream and without the machine."""
    terminal = [number for number, event in enumerate(events) if is_terminal(event)]
    assert terminal in ([], [len(events) - 1])
    started = [number for number, event in enumerate(events) if isinstance(event, AgentStarted)]
    assert len(started) <= 1
    work = [
        n for n, e in enumerate(events) if not isinstance(e, RunQueued | AgentStarted | AgentFailed | AgentCancelled)
    ]
    if work:
        assert started
        assert min(work) > started[0]
    open_calls: list[str] = []
    thoughts: set[int] = set()
    for event in events:
        if isinstance(event, AgentThinking):
            thoughts.add(event.depth)
        if isinstance(event, ToolExecuting):
            assert event.call_id not in open_calls
            assert event.depth in thoughts
            open_calls.append(event.call_id)
        if isinstance(event, ToolCompleted):
            open_calls.remove(event.call_id)
        if isinstance(event, AgentCompleted):
            assert event.depth in thoughts
    if terminal:
        assert not open_calls


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
        try:
            well_formed(events)
        except ValueError as error:  # an end of a call that is not open
            raise AssertionError from error
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
