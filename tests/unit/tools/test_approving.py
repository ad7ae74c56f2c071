"""Calls that need a person's word: who is asked, about what, once; and what follows from each answer (G3, G7)."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.bounded import turns
from tests.unit.tools.support import Bench, at, bench, kept, run, until

from netra_apex.core.events import ApprovalDecided, ApprovalRequested, DurableEvent, ToolCompleted, ToolExecuting
from netra_apex.core.journal import Decision, Journal, Step
from netra_apex.errors import CallFailed, ScopeClosed, ToolDefinitionError, ToolOutcomeUnknown
from netra_apex.tools import Tool, ToolHost, tool

ran: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


@tool(needs_approval=True)
async def pay(amount: int) -> str:
    """Pay."""
    ran.append(f"pay {amount}")
    return f"paid {amount}"


@tool(needs_approval=True, requires="money:spend")
async def spend(amount: int) -> str:
    """Spend."""
    ran.append(f"spend {amount}")
    return f"spent {amount}"


@tool
async def look(what: str) -> str:
    """Look."""
    ran.append(f"look {what}")
    return f"saw {what}"


@tool(on_unknown="ask")
async def wire(amount: int) -> str:
    """Wire money."""
    ran.append(f"wire {amount}")
    return f"wired {amount}"


@tool(idempotent=True, needs_approval=True)
async def order(amount: int) -> str:
    """Order."""
    ran.append(f"order {amount}")
    return f"ordered {amount}"


def requested(made: Bench) -> list[ApprovalRequested]:
    return [event for event in made.recorder.events if isinstance(event, ApprovalRequested)]


def decided(made: Bench) -> list[tuple[str, str]]:
    return [(event.decision, event.by) for event in made.recorder.events if isinstance(event, ApprovalDecided)]


async def left(made: Bench, *calls: tuple[str, str]) -> list[ApprovalRequested]:
    """A life of a run in which a model's calls are asked about, and which is then left, with what was asked."""
    before = len(requested(made))
    asking = asyncio.create_task(made.ask(*calls))
    await until(lambda: asking.done() or len(requested(made)) > before)
    await turns()
    if asking.done():
        await asking
    leave(made)
    asking.cancel()
    await asyncio.wait({asking})
    return requested(made)[before:]


def leave(made: Bench) -> None:
    """The process leaves the run as it is: what is cut off now is not told."""
    made.recorder.broken = ScopeClosed("emitter", "run")


def taken_up(
    before: Bench,
    decisions: Mapping[str, Decision],
    *,
    tools: Sequence[Tool] | None = None,
    permissions: Sequence[str] = (),
    steps: Sequence[Step] | None = None,
    events: Sequence[DurableEvent] | None = None,
    user: str = "ada",
) -> Bench:
    """The run, taken up with these decisions on its approvals."""
    journal = Journal(kept(before.recorder.steps if steps is None else steps), decisions)
    made = bench(*(tools or before.tools), journal=journal, permissions=permissions, user=user)
    for event in before.recorder.events if events is None else events:
        made.recorder.stream.admit(event)
    return made


def approve(approval: ApprovalRequested) -> dict[str, Decision]:
    return {approval.approval_id: Decision("approve", "ada")}


PAY: tuple[str, str] = ("pay", '{"amount": 1}')


def kinds(made: Bench) -> list[str]:
    return [str(event.__struct_config__.tag) for event in made.recorder.events]


def test_a_call_is_asked_about_in_one_moment_with_its_beginning_and_waits() -> None:
    async def main() -> None:
        made = bench(pay, host=ToolHost(approval_days=2))
        (asked,) = await left(made, PAY)
        (executing,) = made.recorder.executing()
        assert (asked.call_id, asked.tool, asked.arguments) == (executing.call_id, "pay", {"amount": 1})
        until = datetime.fromisoformat(asked.expires_at)
        assert timedelta(0) < datetime.now(UTC) + timedelta(days=2) - until < timedelta(minutes=1)
        assert [type(event) for event in made.recorder.batches[-1]] == [ToolExecuting, ApprovalRequested]
        (step,) = made.recorder.steps
        assert (step.state, step.result["approval"]) == ("started", asked.approval_id)
        assert ran == []

    run(main())


def test_an_approved_call_is_made_once_after_it_was_told() -> None:
    async def main() -> None:
        first = bench(pay)
        (asked,) = await left(first, PAY)
        second = taken_up(first, approve(asked))
        assert await second.ask(PAY) == ["paid 1"]
        assert kinds(second) == ["approval_decided", "tool_completed"]
        assert decided(second) == [("approve", "ada")]
        assert second.recorder.codes() == ["ok"]
        assert ran == ["pay 1"]
        third = taken_up(
            first, approve(asked), steps=[*first.recorder.steps, *second.recorder.steps], events=all_of(first, second)
        )
        assert await third.ask(PAY) == ["paid 1"]
        assert third.recorder.events == third.recorder.steps == []
        assert ran == ["pay 1"]

    run(main())


def all_of(*lives: Bench) -> list[DurableEvent]:
    return [event for life in lives for event in life.recorder.events]


@pytest.mark.parametrize(
    ("decision", "code", "said"),
    [
        (Decision("reject", "ada", "too much"), "rejected", "ada rejected pay: too much"),
        (Decision("reject", "ada"), "rejected", "ada rejected pay"),
        (Decision("expired", "system"), "expired", "nobody decided on pay in time"),
    ],
)
def test_a_call_that_was_not_approved_is_not_made_and_says_why(decision: Decision, code: str, said: str) -> None:
    async def main() -> None:
        first = bench(pay)
        (asked,) = await left(first, PAY)
        second = taken_up(first, {asked.approval_id: decision})
        assert await second.ask(PAY) == [f"Error ({code}): {said}"]
        assert kinds(second) == ["approval_decided", "tool_completed"]
        assert decided(second) == [(decision.decision, decision.by)]
        assert second.recorder.codes() == [code]
        third = taken_up(first, {}, steps=second.recorder.steps, events=all_of(first, second))
        assert await third.ask(PAY) == [f"Error ({code}): {said}"]
        assert (ran, third.recorder.events) == ([], [])

    run(main())


def test_codes_call_waits_too_and_is_told_as_a_failure() -> None:
    async def main() -> None:
        first = bench(pay)
        calling = asyncio.create_task(first.dispatcher.call(pay, 7))
        await until(lambda: bool(requested(first)))
        leave(first)
        calling.cancel()
        await asyncio.wait({calling})
        (asked,) = requested(first)
        second = taken_up(first, {asked.approval_id: Decision("reject", "ada", "no")})
        with pytest.raises(CallFailed) as refused:
            await second.dispatcher.call(pay, 7)
        assert (refused.value.code, refused.value.message) == ("rejected", "ada rejected pay: no")
        third = taken_up(first, approve(asked))
        assert await third.dispatcher.call(pay, 7) == "paid 7"

    run(main())


def test_one_that_nobody_has_decided_on_waits_on_and_is_not_asked_about_again() -> None:
    async def main() -> None:
        first = bench(pay)
        asked = await left(first, PAY, ("pay", '{"amount": 2}'))
        assert len(asked) == 2
        second = taken_up(first, approve(asked[1]))
        asking = asyncio.create_task(second.ask(PAY, ("pay", '{"amount": 2}')))
        await until(lambda: bool(second.recorder.completed()))
        assert (ran, requested(second)) == (["pay 2"], [])
        assert not asking.done()
        leave(second)
        asking.cancel()
        await asyncio.wait({asking})
        steps = [*first.recorder.steps, *second.recorder.steps]
        third = taken_up(first, approve(asked[0]) | approve(asked[1]), steps=steps, events=all_of(first, second))
        assert await third.ask(PAY, ("pay", '{"amount": 2}')) == ["paid 1", "paid 2"]
        assert ran == ["pay 2", "pay 1"]

    run(main())


def test_what_needs_no_approval_is_made_beside_what_does() -> None:
    async def main() -> None:
        made = bench(pay, look)
        asking = asyncio.create_task(made.ask(PAY, ("look", '{"what": "there"}')))
        await until(lambda: bool(made.recorder.completed()))
        assert (ran, made.recorder.codes(), asking.done()) == (["look there"], ["ok"], False)
        leave(made)
        asking.cancel()
        await asyncio.wait({asking})

    run(main())


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (("pay", '{"amount": "much"}'), "invalid_arguments"),
        (("pay", "{"), "invalid_arguments"),
        (("pay", '{"amount": 1, "to": "me"}'), "invalid_arguments"),
        (("spend", '{"amount": 1}'), "denied"),
        (("steal", "{}"), "unknown_tool"),
    ],
)
def test_a_call_that_will_not_be_made_asks_nobody(call: tuple[str, str], code: str) -> None:
    async def main() -> None:
        made = bench(pay, spend)
        await made.ask(call)
        assert made.recorder.codes() == [code]
        assert requested(made) == []

    run(main())


def test_a_call_by_code_with_wrong_arguments_asks_nobody() -> None:
    async def main() -> None:
        made = bench(pay)
        for arguments in (("much",), (), (1, 2)):
            with pytest.raises(CallFailed) as refused:
                await made.dispatcher.call(pay, *arguments)
            assert refused.value.code == "invalid_arguments"
        assert requested(made) == []

    run(main())


def test_a_call_by_code_that_cannot_be_shown_to_a_person_asks_nobody() -> None:
    @tool(needs_approval=True)
    async def hand(thing: object) -> str:
        """Hand something over."""
        ran.append("hand")
        return "handed"

    async def main() -> None:
        made = bench(hand)
        for thing in (object(), "half \ud800"):
            with pytest.raises(CallFailed, match="its arguments are no JSON to show") as refused:
                await made.dispatcher.call(hand, thing)
            assert refused.value.code == "invalid_arguments"
        assert (requested(made), ran) == ([], [])

    run(main())


def changed(**values: Any) -> Tool:
    @tool(**({"needs_approval": True} | values))
    async def pay(amount: int, currency: str = "euro") -> str:
        """Pay, in any currency."""
        ran.append(f"pay {amount} {currency}")
        return f"paid {amount} {currency}"

    return pay


def test_what_was_approved_of_another_version_of_a_tool_is_asked_about_anew() -> None:
    async def main() -> None:
        first = bench(pay)
        (asked,) = await left(first, PAY)
        second = taken_up(first, approve(asked), tools=[changed()])
        (anew,) = await left(second, PAY)
        assert ran == [], "what would be called is not what the person was shown"
        assert kinds(second) == ["approval_decided", "approval_requested"]
        assert decided(second) == [("expired", "system")]
        assert (anew.call_id, anew.arguments) == (asked.call_id, asked.arguments)
        assert anew.approval_id != asked.approval_id
        steps = [*first.recorder.steps, *second.recorder.steps]
        decisions = approve(asked) | approve(anew)
        third = taken_up(first, decisions, tools=[changed()], steps=steps, events=all_of(first, second))
        assert await third.ask(PAY) == ["paid 1 euro"]
        assert ran == ["pay 1 euro"]

    run(main())


def test_a_rejection_holds_for_whatever_the_tool_has_become() -> None:
    async def main() -> None:
        first = bench(pay)
        (asked,) = await left(first, PAY)
        second = taken_up(first, {asked.approval_id: Decision("reject", "ada")}, tools=[changed()])
        assert await second.ask(PAY) == ["Error (rejected): ada rejected pay"]

    run(main())


def test_an_approval_binds_to_the_arguments_the_user_and_the_time_of_the_call_that_was_shown() -> None:
    async def main() -> None:
        first = bench(pay)
        (asked,) = await left(first, PAY)
        (step,) = first.recorder.steps
        forged = [
            dict(step.result) | {"digest": "0" * 24},
            dict(step.result) | {"expires_at": "2099-01-01T00:00:00.000Z"},
        ]
        for result in forged:
            (kept_step,) = kept([step])
            other = Step(
                **{name: getattr(kept_step, name) for name in kept_step.__struct_fields__} | {"result": result}
            )
            second = taken_up(first, approve(asked), steps=[other])
            await left(second, PAY)
            assert decided(second) == [("expired", "system")]
        eve = taken_up(first, approve(asked), user="eve")
        await left(eve, PAY)
        assert decided(eve) == [("expired", "system")]
        assert ran == []

    run(main())


@pytest.mark.parametrize("decision", [None, "approve", "reject"])
def test_a_permission_that_was_taken_away_meanwhile_counts(decision: str | None) -> None:
    async def main() -> None:
        call = ("spend", '{"amount": 1}')
        first = bench(spend, permissions=["money:spend"])
        (asked,) = await left(first, call)
        decisions = {} if decision is None else {asked.approval_id: Decision(decision, "ada")}
        second = taken_up(first, decisions)
        (said,) = await second.ask(call)
        assert said.startswith("Error (denied)")
        assert decided(second) == ([] if decision is None else [(decision, "ada")])
        assert (ran, second.recorder.codes()) == ([], ["denied"])

    run(main())


def test_a_call_that_its_agent_gives_up_is_told_as_cancelled_and_stays_given_up() -> None:
    async def main() -> None:
        first = bench(pay)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await first.dispatcher.call(pay, 1)
        assert first.recorder.codes() == ["cancelled"]
        assert first.recorder.stream.asked == {}
        assert [step.state for step in first.recorder.steps] == ["started", "finished"]
        second = taken_up(first, {})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await second.dispatcher.call(pay, 1)
        assert (ran, second.recorder.events) == ([], [])

    run(main())


def cut_off(made: Bench, name: str) -> tuple[list[Step], list[DurableEvent]]:
    """What was stored of a run when its process was killed in the middle of its only call."""
    steps = [step for step in made.recorder.steps if step.state == "started" and step.name == name]
    return steps, [event for event in made.recorder.events if not isinstance(event, ToolCompleted)]


def test_killed_between_the_approval_and_the_end_of_the_call_nobody_knows_and_it_is_not_made_again() -> None:
    async def main() -> None:
        first = bench(pay)
        (asked,) = await left(first, PAY)
        second = taken_up(first, approve(asked))
        await second.ask(PAY)
        steps, _ = cut_off(second, "pay")
        told = [*first.recorder.events, second.recorder.events[0]]
        third = taken_up(first, approve(asked), steps=steps, events=told)
        with pytest.raises(ToolOutcomeUnknown):
            await third.ask(PAY)
        assert third.recorder.codes() == ["unknown_outcome"]
        assert ran == ["pay 1"]

    run(main())


def test_one_that_is_idempotent_is_then_made_again_without_asking_again() -> None:
    async def main() -> None:
        call = ("order", '{"amount": 1}')
        first = bench(order)
        (asked,) = await left(first, call)
        second = taken_up(first, approve(asked))
        await second.ask(call)
        steps, _ = cut_off(second, "order")
        told = [*first.recorder.events, second.recorder.events[0]]
        third = taken_up(first, approve(asked), steps=steps, events=told)
        assert await third.ask(call) == ["ordered 1"]
        assert (ran, requested(third)) == (["order 1"] * 2, [])

    run(main())


WIRE = ("wire", '{"amount": 1}')


async def lost() -> tuple[Bench, Bench, ApprovalRequested]:
    """A call that a crash cut off; and the life in which its user is asked what to do with it."""
    first = bench(wire, look)
    await first.ask(WIRE)
    steps, told = cut_off(first, "wire")
    first.recorder.events[:] = told
    first.recorder.steps[:] = steps
    second = taken_up(first, {})
    (asked,) = await left(second, WIRE)
    assert kinds(second) == ["approval_requested"]
    assert asked.call_id == first.recorder.executing()[0].call_id
    return first, second, asked


def test_of_a_call_that_a_crash_cut_off_its_user_is_asked_whether_to_make_it_again() -> None:
    async def main() -> None:
        first, second, asked = await lost()
        assert asked.again is True, "a person is told that it may have been done already"
        third = taken_up(first, approve(asked), steps=second.recorder.steps, events=all_of(first, second))
        assert await third.ask(WIRE) == ["wired 1"]
        assert kinds(third) == ["approval_decided", "tool_completed"]
        assert [(step.state, step.attempt) for step in third.recorder.steps] == [("started", 2), ("finished", 2)]
        assert ran == ["wire 1"] * 2

    run(main())


@pytest.mark.parametrize("decision", [Decision("reject", "ada", "I asked the bank"), Decision("expired", "system")])
def test_where_it_is_not_made_again_it_ends_as_unknown_and_the_run_goes_on(decision: Decision) -> None:
    async def main() -> None:
        first, second, asked = await lost()
        decisions = {asked.approval_id: decision}
        third = taken_up(first, decisions, steps=second.recorder.steps, events=all_of(first, second))
        (said,) = await third.ask(WIRE)
        remark = f": {decision.note}" if decision.note else ""
        assert said == f"Error (unknown_outcome): nobody saw how wire ended, and it was not called again{remark}"
        assert (third.recorder.codes(), third.recorder.steps[-1].state) == (["unknown_outcome"], "unknown")
        assert await third.ask(("look", '{"what": "on"}')) == ["saw on"]
        steps = third.recorder.steps
        fourth = taken_up(first, decisions, steps=steps, events=all_of(first, second, third))
        assert await fourth.ask(WIRE) == [said]
        assert ran == ["wire 1", "look on"]

    run(main())


def test_cut_off_again_after_it_was_approved_it_is_asked_about_again() -> None:
    async def main() -> None:
        first, second, asked = await lost()
        third = taken_up(first, approve(asked), steps=second.recorder.steps, events=all_of(first, second))
        await third.ask(WIRE)
        steps, told = cut_off(third, "wire")
        fourth = taken_up(first, approve(asked), steps=steps, events=[*all_of(first, second), *told])
        (anew,) = await left(fourth, WIRE)
        assert anew.approval_id != asked.approval_id
        assert fourth.recorder.steps[-1].attempt == 2
        assert ran == ["wire 1"] * 2

    run(main())


def test_what_is_given_up_while_it_is_asked_about_again_stays_unknown() -> None:
    async def main() -> None:
        first, second, _ = await lost()
        third = taken_up(first, {}, steps=second.recorder.steps, events=all_of(first, second))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await third.ask(WIRE)
        assert (third.recorder.codes(), third.recorder.steps[-1].state) == (["cancelled"], "unknown")

    run(main())


def test_beside_a_call_that_ends_the_run_as_unknown_nobody_is_asked_anything() -> None:
    @tool
    async def send() -> str:
        """Send."""
        return "sent"

    async def main() -> None:
        calls = (WIRE, ("send", "{}"), PAY)
        first = bench(wire, send, pay)
        await left(first, *calls)
        steps = [step for step in first.recorder.steps if step.state == "started" and step.name != "pay"]
        told: list[DurableEvent] = [
            event
            for event in first.recorder.events
            if not isinstance(event, ToolCompleted | ApprovalRequested) and getattr(event, "tool", "") != "pay"
        ]
        second = taken_up(first, {}, steps=steps, events=told)
        with pytest.raises(ToolOutcomeUnknown):
            await second.ask(*calls)
        assert kinds(second) == ["tool_completed"] * 2
        assert second.recorder.codes() == ["unknown_outcome"] * 2
        assert [step.state for step in second.recorder.steps] == ["unknown"] * 2

    run(main())


def test_inside_a_call_that_could_not_be_made_again_nobody_is_asked() -> None:
    made: list[Bench] = []

    async def nested(amount: int) -> str:
        """Pay, in a call."""
        try:
            return await made[0].dispatcher.call_at(at("1/1"), pay, (amount,), {})
        except CallFailed as failed:
            return f"{failed.code}: {failed.message}"

    async def main() -> None:
        made[:] = [bench(pay, tool(nested))]
        (said,) = await made[0].ask(("nested", '{"amount": 1}'))
        assert said.startswith(
            "error: pay waits for a person, and is called inside a call of a tool that is not idempotent"
        )
        assert requested(made[0]) == []
        assert sorted(made[0].recorder.codes()) == ["error", "ok"]
        made[:] = [bench(pay, tool(idempotent=True)(nested))]
        asked = await left(made[0], ("nested", '{"amount": 1}'))
        assert [each.tool for each in asked] == ["pay"]

    run(main())


def test_what_may_be_said_of_an_unknown_outcome_is_fail_or_ask() -> None:
    with pytest.raises(ToolDefinitionError, match="on_unknown is fail or ask, not 'never'"):
        tool(on_unknown="never")(look.function)  # type: ignore[call-overload]
