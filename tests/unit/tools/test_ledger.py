"""Calls of a run that was taken up: what was done is not done again, and what nobody saw the end of is not hidden."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from tests.unit.tools.support import Bench, after, at, bench, is_as_before, kept, run, taken_up, until

from netra_apex.core.events import ToolCompleted
from netra_apex.core.journal import Journal, Step
from netra_apex.core.messages import ToolCall
from netra_apex.core.scope import RunScope
from netra_apex.errors import CallFailed, Nondeterministic, ToolOutcomeUnknown
from netra_apex.tools import tool

ran: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


@tool
async def pay(amount: int) -> str:
    ran.append(f"pay {amount}")
    return f"paid {amount}"


@tool(idempotent=True)
async def book(day: str, scope: RunScope) -> str:
    ran.append(f"{day} {scope.context.idempotency_key}")
    return f"booked {day}"


@tool
async def fails(how: str) -> None:
    ran.append(how)
    if how == "raises":
        raise ValueError("no such order")
    raise CallFailed(how, "the order is already paid")


@tool(requires="orders:write")
async def orders(query: str) -> str:
    ran.append(query)
    return query


TOOLS = (pay, book, fails, orders)


def amid(before: Bench, *, done: Sequence[str] = (), permissions: Sequence[str] = ()) -> Bench:
    """The run, taken up when its calls had begun, of which those of these tools alone had ended."""
    events = [e for e in before.recorder.events if not isinstance(e, ToolCompleted) or e.tool in done]
    steps = [step for step in before.recorder.steps if step.state == "started" or step.name in done]
    return taken_up(before, steps, events, permissions=permissions)


def test_a_call_is_in_the_journal_when_it_begins_and_when_it_has_ended() -> None:
    async def main() -> None:
        made = bench(*TOOLS)
        held = made.recorder.hold = asyncio.get_running_loop().create_future()
        calling = asyncio.ensure_future(made.dispatcher.call_at(at("f1.2"), pay, (5,), {}))
        await until(lambda: bool(made.recorder.steps))
        (begun,) = made.recorder.steps
        (told,) = made.recorder.executing()
        assert (begun.key, begun.kind, begun.name, begun.state) == ("f1.2", "call", "pay", "started")
        assert (begun.call_id, begun.attempt, begun.result) == (told.call_id, 1, None)
        assert not ran, "it is on disk before the function runs"
        held.set_result(None)
        assert await calling == "paid 5"
        _, ended = made.recorder.steps
        assert ended == msgspec.structs.replace(begun, state="finished", result={"value": "paid 5"})

    run(main())


def test_a_finished_call_gives_its_old_result_and_is_neither_run_nor_told_again() -> None:
    async def main() -> None:
        before = bench(*TOOLS)
        asked = ("pay", '{"amount": 1}'), ("book", '{"day": "monday"}'), ("pay", '{"amount": 1}')
        answers = await before.ask(*asked)
        value = await before.dispatcher.call(pay, 2)
        done = ran.copy()
        again = after(before)
        assert await again.ask(*asked) == answers == ["paid 1", "booked monday", "paid 1"]
        assert await again.dispatcher.call(pay, amount=2) == value
        assert ran == done
        is_as_before(before, again)
        # What comes then is new.
        assert await again.dispatcher.call(pay, 3) == "paid 3"
        assert ran == [*done, "pay 3"]
        assert again.recorder.codes() == ["ok"]
        assert [step.state for step in again.recorder.steps] == ["started", "finished"]

    run(main())


def test_calls_are_known_by_their_places_and_not_by_the_order_in_which_they_come() -> None:
    async def main() -> None:
        before = bench(*TOOLS)
        for key, amount in (("f1.1", 1), ("f2.1", 2)):
            await before.dispatcher.call_at(at(key), pay, (amount,), {})
        again = after(before)
        assert await again.dispatcher.call_at(at("f2.1"), pay, (2,), {}) == "paid 2"
        (text,) = await again.dispatcher.answer_at(at("f3.1"), [ToolCall("a", "pay", '{"amount":3}')])
        assert text.content == "paid 3"
        assert await again.dispatcher.call_at(at("f1.1"), pay, (1,), {}) == "paid 1"
        assert ran == ["pay 1", "pay 2", "pay 3"]

    run(main())


@pytest.mark.parametrize(
    ("name", "arguments"), [("pay", '{"amount": 2}'), ("book", '{"amount": 1}'), ("nope", '{"amount": 1}')]
)
def test_another_call_than_before_breaks_the_run_and_nothing_begins(name: str, arguments: str) -> None:
    async def main() -> None:
        before = bench(*TOOLS)
        await before.ask(("pay", '{"amount": 1}'))
        again = after(before)
        with pytest.raises(Nondeterministic, match=r"at step call\.1"):
            await again.ask((name, arguments), ("pay", '{"amount": 7}'))
        with pytest.raises(Nondeterministic, match=r"at step call\.1"):
            await again.dispatcher.call(pay, 8)
        assert ran == ["pay 1"]
        assert again.recorder.events == again.recorder.steps == []

    run(main())


@pytest.mark.parametrize("how", ["raises", "error", "rejected", "timeout", "of its own"])
def test_a_failure_is_given_again_with_its_code_and_sentence(how: str) -> None:
    async def main() -> None:
        before = bench(*TOOLS)
        with pytest.raises(CallFailed) as first:
            await before.dispatcher.call(fails, how)
        answers = await before.ask(("fails", msgspec.json.encode({"how": how}).decode()))
        again = after(before)
        with pytest.raises(CallFailed) as second:
            await again.dispatcher.call(fails, how)
        assert (second.value.code, second.value.message) == (first.value.code, first.value.message)
        assert await again.ask(("fails", msgspec.json.encode({"how": how}).decode())) == answers
        assert ran == [how, how]
        is_as_before(before, again)

    run(main())


REFUSED: dict[str, tuple[tuple[str, str], str]] = {
    "no JSON": (("pay", "{amount"), "Error (invalid_arguments)"),
    "a list": (("pay", "[1]"), "Error (invalid_arguments)"),
    "another type": (("pay", '{"amount": "1"}'), "Error (invalid_arguments)"),
    "denied": (("orders", '{"query": "all"}'), "Error (denied)"),
    "unknown": (("nope", "{}"), "Error (unknown_tool)"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_call_that_was_refused_is_refused_again_with_nothing_told(why: str) -> None:
    asked, code = REFUSED[why]

    async def main() -> None:
        before = bench(*TOOLS)
        (answer,) = await before.ask(asked)
        assert answer.startswith(code)
        # What its user is allowed by now does not change what was.
        again = after(before, permissions=["orders:write"])
        assert await again.ask(asked) == [answer]
        is_as_before(before, again)
        assert not ran

    run(main())


@pytest.mark.parametrize(
    ("calls", "code"),
    [
        (lambda made: made.dispatcher.call(pay, "five"), "invalid_arguments"),
        (lambda made: made.dispatcher.call(pay), "invalid_arguments"),
        (lambda made: made.dispatcher.call(orders, "all"), "denied"),
        (lambda made: made.dispatcher.call(len, "all"), "unknown_tool"),
    ],
)
def test_a_call_of_code_that_was_refused_is_refused_again(calls: Callable[[Bench], Any], code: str) -> None:
    async def main() -> None:
        before = bench(*TOOLS)
        with pytest.raises(CallFailed) as first:
            await calls(before)
        again = after(before, permissions=["orders:write"])
        with pytest.raises(CallFailed) as second:
            await calls(again)
        assert (second.value.code, second.value.message) == (code, first.value.message)
        is_as_before(before, again)
        assert not ran

    run(main())


def test_a_started_call_that_may_be_repeated_runs_again_as_the_same_call() -> None:
    async def main() -> None:
        before = bench(*TOOLS)
        await before.ask(("book", '{"day": "monday"}'))
        again = amid(before)
        assert await again.ask(("book", '{"day": "monday"}')) == ["booked monday"]
        (told,) = before.recorder.executing()
        assert ran == [f"monday {made.context.run_id}:{told.call_id}" for made in (before, again)]
        assert again.recorder.executing() == [], "it was told before"
        assert [event.call_id for event in again.recorder.completed()] == [told.call_id]
        assert [(step.state, step.attempt, step.call_id) for step in again.recorder.steps] == [
            ("started", 2, told.call_id),
            ("finished", 2, told.call_id),
        ]
        assert not again.recorder.stream.open_calls
        # Once more: its beginnings are counted over all of them.
        third = taken_up(again, again.recorder.steps[:1], before.recorder.events[:2])
        await third.ask(("book", '{"day": "monday"}'))
        assert [step.attempt for step in third.recorder.steps] == [3, 3]

    run(main())


def test_a_repeated_call_whose_user_lost_the_permission_meanwhile_is_denied() -> None:
    @tool(requires="orders:write", idempotent=True)
    async def order() -> None:
        ran.append("order")

    async def main() -> None:
        before = bench(order, permissions=["orders:write"])
        await before.ask(("order", "{}"))
        again = taken_up(before, before.recorder.steps[:1], before.recorder.events[:2])
        (answer,) = await again.ask(("order", "{}"))
        assert answer.startswith("Error (denied)")
        assert ran == ["order"]
        assert again.recorder.codes() == ["denied"]
        assert [step.state for step in again.recorder.steps] == ["finished"]

    run(main())


def test_a_started_call_of_which_nobody_saw_the_end_ends_the_run() -> None:
    async def main() -> None:
        before = bench(*TOOLS)
        await before.dispatcher.call(pay, 5)
        again = amid(before)
        with pytest.raises(ToolOutcomeUnknown) as unknown:
            await again.dispatcher.call(pay, 5)
        (told,) = before.recorder.executing()
        assert (unknown.value.tool, unknown.value.call_id) == ("pay", told.call_id)
        assert (unknown.value.code, unknown.value.retryable) == ("tool_outcome_unknown", False)
        assert ran == ["pay 5"]
        assert again.recorder.executing() == []
        (end,) = again.recorder.completed()
        assert (end.call_id, again.recorder.codes()) == (told.call_id, ["unknown_outcome"])
        (step,) = again.recorder.steps
        assert (step.state, step.call_id, step.attempt) == ("unknown", told.call_id, 1)
        assert not again.recorder.stream.open_calls
        # Whatever the agent makes of it, nothing more begins.
        with pytest.raises(ToolOutcomeUnknown) as later:
            await again.dispatcher.call(pay, 6)
        assert later.value is unknown.value
        assert ran == ["pay 5"]

    run(main())


def test_calls_beside_one_of_unknown_outcome_do_not_begin() -> None:
    async def main() -> None:
        before = bench(*TOOLS)
        asked = [("book", '{"day": "monday"}'), ("pay", '{"amount": 1}'), ("pay", '{"amount": 2}')]
        await before.ask(*asked)
        done = ran.copy()
        again = amid(before)
        new = [("pay", '{"amount": 3}'), ("book", '{"day": "friday"}'), ("nope", "{}")]
        with pytest.raises(ToolOutcomeUnknown):
            await again.ask(*asked, *new)
        assert ran == done
        booking, *payments = [event.call_id for event in before.recorder.executing()]
        assert again.recorder.executing() == []
        assert [event.call_id for event in again.recorder.completed()] == payments
        assert [(step.call_id, step.state) for step in again.recorder.steps] == [
            (call_id, "unknown") for call_id in payments
        ]
        assert list(again.recorder.stream.open_calls) == [booking], "the run's ending closes it"

    run(main())


def test_of_an_answers_calls_each_goes_on_from_where_it_was() -> None:
    async def main() -> None:
        before = bench(*TOOLS)
        asked = [("pay", '{"amount": 1}'), ("book", '{"day": "monday"}'), ("nope", "{}")]
        answers = await before.ask(*asked)
        again = amid(before, done=["pay", "nope"])
        assert await again.ask(*asked, ("pay", '{"amount": 2}')) == [*answers, "paid 2"]
        (_, booking, _) = before.recorder.executing()
        assert ran[:2] == ["pay 1", f"monday {before.context.run_id}:{booking.call_id}"]
        assert sorted(ran[2:]) == sorted(["pay 2", f"monday {again.context.run_id}:{booking.call_id}"])
        assert [event.arguments for event in again.recorder.executing()] == [{"amount": 2}]
        assert again.recorder.codes() == ["ok", "ok"]

    run(main())


def test_what_was_done_inside_a_finished_call_is_done_with_it() -> None:
    async def main() -> None:
        before = bench(*TOOLS)
        await before.dispatcher.call_at(at("2"), book, ("monday",), {})
        inside = [Step(key=f"2/{n}", kind="model", name="model", digest="d", state="finished") for n in (1, 2)]
        for wholly in (True, False):
            steps = [step for step in kept(before.recorder.steps) if wholly] or before.recorder.steps[:1]
            journal = Journal([*steps, *inside])
            again = bench(*TOOLS, journal=journal)
            for event in before.recorder.events[:2]:
                again.recorder.stream.admit(event)
            assert await again.dispatcher.call_at(at("2"), book, ("monday",), {}) == "booked monday"
            # A function that is run again comes to them itself.
            left = [step for step in inside if journal.take(step.key, step.kind, step.name, step.digest)]
            assert left == ([] if wholly else inside)
            journal.finish()

    run(main())
