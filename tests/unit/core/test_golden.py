"""The golden path, as values: what is good, bad and excluded, and how fast the error budget is used up."""

import pytest
from msgspec import UNSET

from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    AgentThinking,
    CallError,
    DurableEvent,
    MessageCompleted,
    RunQueued,
    ToolCompleted,
    ToolExecuting,
)
from netra_apex.core.golden import (
    ANSWERED,
    CALL_OPEN,
    COMPLETED,
    OVERTIME,
    STARTED,
    THOUGHT,
    Ended,
    GoldenPath,
    Telling,
    Verdict,
    judge,
    judge_marks,
    sentence_of,
)
from netra_apex.core.messages import NO_USAGE

PATH = GoldenPath(seconds=10, objective=0.99)
BEGIN = (RunQueued(reason="busy"), AgentStarted(task="hi"), AgentThinking(text="hm", step=1))
CALL = (
    ToolExecuting(call_id="c", tool="look", arguments={}),
    ToolCompleted(call_id="c", tool="look", ok=True, result=1, duration_ms=1),
)
ALL = STARTED | THOUGHT | COMPLETED | ANSWERED


def completed(output: object = "hello", depth: int = 0) -> AgentCompleted:
    return AgentCompleted(output=output, usage=NO_USAGE, duration_ms=1, depth=depth)


def failed_call(code: str | None) -> ToolCompleted:
    error = UNSET if code is None else CallError(code, "no")
    return ToolCompleted(call_id="c", tool="look", ok=False, error=error, duration_ms=1)


def verdict(*events: DurableEvent, late: bool = False) -> Verdict:
    telling = Telling.of(events)
    assert telling.ended_as is not None
    return judge(telling.ended_as, telling, late=late)


def test_a_run_that_tells_all_five_and_answers_is_good() -> None:
    found = verdict(*BEGIN, *CALL, completed())
    assert (found.good, found.bad, found.excluded) == (True, False, False)


def test_a_run_without_a_tool_call_owes_no_tool_events() -> None:
    assert verdict(*BEGIN, completed()).good
    assert Telling.of((*BEGIN, completed())).missing() == ()
    assert Telling.of((*BEGIN, completed())).missing(with_tool=True) == ("tool_executing", "tool_completed")


@pytest.mark.parametrize(
    ("events", "missing"),
    [
        ((*BEGIN[:2], completed()), ("agent_thinking",)),
        ((BEGIN[2], completed()), ("agent_started",)),
        ((*BEGIN, CALL[0], completed()), ("tool_completed",)),
    ],
)
def test_an_event_that_was_not_told_is_a_breach(events: tuple[DurableEvent, ...], missing: tuple[str, ...]) -> None:
    assert Telling.of(events).missing() == missing
    assert verdict(*events) == Verdict("not_told")


def test_what_a_member_tells_is_no_event_of_the_runs_own_agent() -> None:
    member = (AgentStarted(task="x", depth=1), AgentThinking(text="x", step=1, depth=1), completed(depth=1))
    telling = Telling.of(member)
    assert (telling.told, telling.ended_as) == (0, None)
    assert telling.missing() == ("agent_started", "agent_thinking", "agent_completed")


@pytest.mark.parametrize("output", [None, "", " \n", {}, []])
def test_a_run_that_completes_and_says_nothing_has_no_answer(output: object) -> None:
    assert verdict(*BEGIN, MessageCompleted(message_id="m", content=" "), completed(output)) == Verdict("no_answer")
    assert verdict(*BEGIN, MessageCompleted(message_id="m", content="yes"), completed(output)).good


def test_a_failure_is_bad_by_its_code_and_a_budget_that_ended_it_is_not() -> None:
    def failed(code: str) -> AgentFailed:
        return AgentFailed(code=code, message="no", retryable=False)

    assert verdict(*BEGIN, failed("model_unavailable")).bad
    assert verdict(*BEGIN, failed("model_unavailable")).cause == "model_unavailable"
    assert verdict(*BEGIN, failed("budget_exceeded")) == Verdict("budget_exceeded", excluded=True)


def test_a_cancel_is_no_breach_unless_the_limit_was_over() -> None:
    cancelled = (*BEGIN, AgentCancelled(by="ada"))
    assert verdict(*cancelled) == Verdict("cancelled", excluded=True)
    assert verdict(*cancelled, late=True) == Verdict("late")
    assert verdict(*BEGIN, completed(), late=True) == Verdict("late")


@pytest.mark.parametrize(("code", "counts"), [("timeout", 1), (None, 1), ("rejected", 0), ("cancelled", 0)])
def test_a_call_that_a_person_did_not_want_is_no_tools_failure(code: str | None, counts: int) -> None:
    assert Telling.of((CALL[0], failed_call(code))).calls_failed == counts


def test_marks_say_the_same_as_what_they_were_made_of() -> None:
    assert judge_marks("completed", ALL).good
    assert judge_marks("completed", ALL | CALL_OPEN) == Verdict("not_told")
    assert judge_marks("completed", ALL | OVERTIME) == Verdict("late")
    assert judge_marks("completed", ALL & ~THOUGHT) == Verdict("not_told")
    assert judge_marks("agent_error", 0) == Verdict("agent_error")


def ended(**changes: object) -> Ended:
    whole = {
        "agent": "echo", "model": None, "ended_as": "completed", "telling": Telling(ALL), "accepted_at": 0,
        "first_event_at": 1, "started_at": 15_000, "first_token_at": None, "ended_at": 20_000, "waited_ms": 0,
        "own_wait": False, "input_tokens": 0, "output_tokens": 0, "cost": None,
    }  # fmt: skip
    return Ended(**(whole | changes))  # type: ignore[arg-type]


def test_waiting_for_a_person_or_for_ones_own_runs_does_not_count() -> None:
    assert ended().verdict(PATH) == Verdict("late")
    assert ended(waited_ms=10_000).verdict(PATH).good
    assert ended().completed, "late, and completed all the same"
    assert ended(own_wait=True).counted_ms == 5_000
    assert ended(own_wait=True).verdict(PATH).good
    assert ended(own_wait=True, started_at=None).counted_ms == 0


def test_the_error_budget_burns_as_fast_as_errors_come() -> None:
    assert PATH.burn_rate(0, 0) is None
    assert PATH.burn_rate(100, 0) == 0
    assert PATH.burn_rate(99, 1) == pytest.approx(1.0)
    assert PATH.burn_rate(0, 1) == pytest.approx(100.0)


def test_a_cause_has_a_sentence_and_a_new_one_its_name() -> None:
    assert sentence_of("late") == "it took longer than the limit"
    assert sentence_of("something_new") == "something_new"
