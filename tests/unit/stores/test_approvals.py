"""Approvals on both databases: decided once, by their owner, in time; and by that alone a run that waits is woken."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run
from tests.support.stores import accept, context_of, opened, raw, stamped

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import Accepted, Post
from netra_apex.core.events import (
    AgentCancelled,
    AgentStarted,
    AgentThinking,
    ApprovalDecided,
    ApprovalRequested,
    CallError,
    DurableEvent,
    ToolCompleted,
    ToolExecuting,
    as_told,
)
from netra_apex.core.ids import new_id
from netra_apex.core.journal import Decision
from netra_apex.core.runs import Claim, RunStatus, Seat
from netra_apex.errors import AlreadyDecided, Invalid, NotFound, TakenOver
from netra_apex.stores import Stores

TIMES = 25
HOUR = timedelta(hours=1)


def with_stores(home: Path, main: Callable[[Stores], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with opened(home) as stores:
            await main(stores)

    run(bounded(), limit=60)


class Asked:
    """A run of a user that has asked about its calls."""

    def __init__(self, stores: Stores, accepted: Accepted, user: str) -> None:
        self.stores, self.accepted, self.user = stores, accepted, user
        self.run_id = accepted.run_id
        self.approvals: list[str] = []
        self.calls: list[str] = []
        self.seq = 0
        self.epoch = 1

    async def tell(self, *events: DurableEvent) -> None:
        told = stamped(*events, first=self.seq + 1)
        await self.stores.runs.append(context_of(self.accepted, self.user), told, epoch=self.epoch)
        self.seq += len(events)

    async def ask(self, *, arguments: Any = None, lifetime: timedelta = HOUR) -> str:
        """Another call that waits."""
        approval_id, call_id = new_id("apr"), new_id("call")
        until = as_told(datetime.now(UTC) + lifetime)
        await self.tell(
            ToolExecuting(call_id=call_id, tool="pay", arguments=arguments or {}),
            ApprovalRequested(
                approval_id=approval_id, call_id=call_id, tool="pay", arguments=arguments or {}, expires_at=until
            ),
        )
        self.approvals.append(approval_id)
        self.calls.append(call_id)
        return approval_id

    async def park(self) -> bool:
        return await self.stores.approvals.park(self.user, self.run_id, self.epoch)

    async def take(self) -> Claim | None:
        """Takes it up, if it has its turn."""
        claim = await self.stores.turns.take(self.user, "exe_there", per_user=5)
        if claim is not None:
            assert claim.run.run_id == self.run_id
            self.epoch = claim.epoch
        return claim

    async def status(self) -> RunStatus:
        found = await self.stores.runs.run(self.user, self.run_id)
        assert found is not None
        return found.status

    async def decide(self, number: int = 0, verdict: Any = "approve", note: str | None = None) -> None:
        await self.stores.approvals.decide(self.user, self.approvals[number], verdict, note)


async def asked(stores: Stores, *lifetimes: timedelta, user: str = "ada", park: bool = True, **post: Any) -> Asked:
    """A run that waits for decisions on so many calls."""
    made = Asked(stores, await accept(stores, user, **post), user)
    await made.tell(AgentStarted(task="hi"), AgentThinking(text="hm", step=1))
    for lifetime in lifetimes or (HOUR,):
        await made.ask(lifetime=lifetime)
    if park:
        assert await made.park()
    return made


def end(call_id: str, code: str = "cancelled") -> ToolCompleted:
    return ToolCompleted(call_id=call_id, tool="pay", ok=False, error=CallError(code, "no"), duration_ms=0)


async def outcomes(*deeds: Awaitable[Any]) -> list[Any]:
    """What became of deeds that are let go in one moment."""
    barrier = asyncio.Barrier(len(deeds))

    async def let_go(deed: Awaitable[Any]) -> Any:
        await barrier.wait()
        return await deed

    return await asyncio.gather(*(let_go(deed) for deed in deeds), return_exceptions=True)


def test_what_waits_is_listed_the_oldest_first_in_pages_until_it_is_decided(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        one = await asked(stores, HOUR, HOUR)
        other = await asked(stores)
        wanted = [*one.approvals, *other.approvals]
        whole = await stores.approvals.pending("ada")
        assert [each.approval_id for each in whole.items] == wanted
        first = whole.items[0]
        assert (first.run_id, first.thread_id) == (one.run_id, one.accepted.thread_id)
        assert (first.call_id, first.tool, first.arguments, first.decision) == (one.calls[0], "pay", "{}", None)
        assert first.expires_at - first.requested_at == pytest.approx(HOUR, abs=timedelta(seconds=10))
        cursor, paged = None, []
        for _ in range(3):
            page = await stores.approvals.pending("ada", limit=1, cursor=cursor)
            paged += [each.approval_id for each in page.items]
            cursor = page.next_cursor
        assert (paged, cursor) == (wanted, None)
        await one.decide(0)
        assert [each.approval_id for each in (await stores.approvals.pending("ada")).items] == wanted[1:]
        with pytest.raises(Invalid):
            await stores.approvals.pending("ada", cursor="nonsense")

    with_stores(tmp_path, main)


def test_calls_that_were_asked_about_in_one_moment_are_listed_as_the_run_told_them(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        made = await asked(stores, park=False)
        until = as_told(datetime.now(UTC) + HOUR)
        events: list[DurableEvent] = []
        for _ in range(8):
            approval_id, call_id = new_id("apr"), new_id("call")
            made.approvals.append(approval_id)
            events += [
                ToolExecuting(call_id=call_id, tool="pay", arguments={}),
                ApprovalRequested(approval_id=approval_id, call_id=call_id, tool="pay", arguments={}, expires_at=until),
            ]
        await made.tell(*events)
        first = await stores.approvals.pending("ada", limit=3)
        rest = await stores.approvals.pending("ada", cursor=first.next_cursor)
        assert [each.approval_id for each in (*first.items, *rest.items)] == made.approvals

    with_stores(tmp_path, main)


def test_a_run_that_waits_is_nobodys_turn_until_a_decision_which_it_is_then_told(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        made = await asked(stores)
        assert await made.status() is RunStatus.WAITING
        assert await stores.turns.waiting() == (), "it is looked for by nobody, for however long it waits"
        assert await stores.turns.waiting_runs() == 0
        assert await stores.turns.executors() == frozenset()
        assert await made.take() is None
        given = await stores.approvals.decide("ada", made.approvals[0], "reject", "not today")
        assert (given.approval_id, given.decision) == (made.approvals[0], "reject")
        assert await made.status() is RunStatus.QUEUED
        assert await stores.turns.waiting() == (("ada", 0),)
        claim = await made.take()
        assert claim is not None
        assert (claim.waited, claim.epoch, claim.recoveries, claim.run.status) == (True, 2, 1, RunStatus.RUNNING)
        assert await stores.approvals.decisions("ada", made.run_id) == {
            made.approvals[0]: Decision("reject", "ada", "not today")
        }
        await stores.turns.leave("ada", made.run_id, 2, "exe_there")
        again = await made.take()
        assert again is not None
        assert not again.waited, "whoever had it was stopped: something may have been under way"

    with_stores(tmp_path, main)


def test_an_approval_is_decided_once_in_time_and_while_its_run_goes_on(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        made = await asked(stores, HOUR, timedelta(milliseconds=-1), HOUR)
        await made.decide(0)
        for number, reason in ((0, "was decided before"), (1, "its time is over")):
            with pytest.raises(AlreadyDecided, match=reason):
                await made.decide(number, "reject")
        assert (await stores.approvals.decisions("ada", made.run_id))[made.approvals[0]] == Decision("approve", "ada")
        await made.take()
        await made.tell(*map(end, made.calls), AgentCancelled(by="ada"))
        with pytest.raises(AlreadyDecided, match="has ended"):
            await made.decide(2)
        assert (await stores.approvals.pending("ada")).items == ()

    with_stores(tmp_path, main)


def test_anothers_approval_is_as_one_that_does_not_exist(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        made = await asked(stores)
        sentences = []
        for approval_id in (made.approvals[0], "apr_nobodys"):
            with pytest.raises(NotFound) as refused:
                await stores.approvals.decide("eve", approval_id, "approve", None)
            sentences.append(str(refused.value).replace(approval_id, "ID"))
        assert sentences[0] == sentences[1]
        assert (await stores.approvals.pending("eve")).items == ()
        assert await stores.approvals.decisions("eve", made.run_id) == {}
        await stores.approvals.park("eve", made.run_id, made.epoch)
        assert await made.status() is RunStatus.WAITING
        assert len((await stores.approvals.pending("ada")).items) == 1

    with_stores(tmp_path, main)


@pytest.mark.parametrize("approval_id", ["", "a\0b", "\ud800", "x" * 10_000, "' or 1=1 --"])
def test_an_id_that_cannot_be_one_is_none(tmp_path: Path, approval_id: str) -> None:
    async def main(stores: Stores) -> None:
        await asked(stores)
        with pytest.raises(NotFound):
            await stores.approvals.decide("ada", approval_id, "approve", None)
        assert len((await stores.approvals.pending("ada")).items) == 1

    with_stores(tmp_path, main)


def test_of_two_decisions_in_one_moment_one_holds_and_the_other_is_refused(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        async with opened(tmp_path) as elsewhere:
            for _ in range(TIMES):
                made = await asked(stores)
                ends = await outcomes(
                    made.decide(0, "approve"), elsewhere.approvals.decide("ada", made.approvals[0], "reject", None)
                )
                assert [type(each) for each in ends if isinstance(each, Exception)] == [AlreadyDecided], ends
                (decision,) = (await stores.approvals.decisions("ada", made.run_id)).values()
                assert decision.decision == ("approve" if ends[0] is None else "reject")
                assert await made.take() is not None
                await made.tell(end(made.calls[0]), AgentCancelled(by="ada"))

    with_stores(tmp_path, main)


def test_a_decision_in_the_moment_in_which_the_run_is_left_is_never_lost(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        async with opened(tmp_path) as elsewhere:
            for number in range(TIMES):
                made = await asked(stores, park=False)
                deciding = elsewhere.approvals.decide("ada", made.approvals[0], "approve", None)
                ends = await outcomes(*((made.park(), deciding) if number % 2 else (deciding, made.park())))
                assert not any(isinstance(each, Exception) for each in ends), ends
                assert await made.status() is RunStatus.QUEUED
                assert await made.take() is not None, "whoever was first, the run has its turn"
                await made.tell(end(made.calls[0]), AgentCancelled(by="ada"))

    with_stores(tmp_path, main)


def test_a_decision_before_the_run_is_left_has_it_go_on_at_once(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        made = await asked(stores, HOUR, HOUR, park=False)
        await made.decide(1)
        assert await made.status() is RunStatus.RUNNING
        assert not await made.park()
        claim = await made.take()
        assert claim is not None
        assert claim.waited
        await made.tell(ApprovalDecided(approval_id=made.approvals[1], decision="approve", by="ada"))
        assert await made.park(), "what has been told has been heard: it waits for the other one"
        assert await made.take() is None

    with_stores(tmp_path, main)


@pytest.mark.parametrize("code", ["cancelled", "denied", "invalid_arguments"])
@pytest.mark.parametrize("when", ["open", "decided"])
def test_a_call_that_ends_otherwise_waits_no_more_and_keeps_its_run_from_nothing(
    tmp_path: Path, code: str, when: str
) -> None:
    async def main(stores: Stores) -> None:
        made = await asked(stores, HOUR, HOUR, park=False)
        if when == "decided":
            await made.decide(0)
        await made.tell(end(made.calls[0], code))
        assert [each.approval_id for each in (await stores.approvals.pending("ada")).items] == made.approvals[1:]
        with pytest.raises(AlreadyDecided):
            await made.decide(0, "reject")
        assert await made.park(), "nothing is left to be told: a run that is not left would be taken up for ever"

    with_stores(tmp_path, main)


def test_who_was_taken_over_leaves_nothing(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        made = await asked(stores, park=False)
        await stores.turns.leave("ada", made.run_id, 1, "exe_tests")
        assert await stores.turns.claim("ada", made.run_id, "exe_there") is not None
        await made.park()
        assert await made.status() is RunStatus.RUNNING
        assert await stores.turns.executors() == {"exe_there"}
        with pytest.raises(TakenOver):
            await made.ask()
        assert len((await stores.approvals.pending("ada")).items) == 1

    with_stores(tmp_path, main)


def test_what_nobody_has_decided_in_time_is_decided_by_the_system_and_its_run_goes_on(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        late = await asked(stores, timedelta(milliseconds=-1), HOUR)
        bobs = await asked(stores, timedelta(milliseconds=-1), user="bob")
        early = await asked(stores)
        assert [each.run_id for each in (await stores.approvals.pending("ada")).items] == [late.run_id, early.run_id]
        assert await stores.approvals.expire() == 2
        assert await stores.approvals.expire() == 0
        assert [await each.status() for each in (late, bobs, early)] == [
            RunStatus.QUEUED,
            RunStatus.QUEUED,
            RunStatus.WAITING,
        ]
        assert await stores.approvals.decisions("ada", late.run_id) == {
            late.approvals[0]: Decision("expired", "system")
        }
        assert await stores.approvals.decisions("bob", bobs.run_id) == {
            bobs.approvals[0]: Decision("expired", "system")
        }
        assert await late.take() is not None

    with_stores(tmp_path, main)


def test_a_run_that_is_taken_up_while_another_of_its_approvals_runs_out_is_left_and_then_woken(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        made = await asked(stores, HOUR, timedelta(milliseconds=-1))
        await made.decide(0)
        assert await made.take() is not None
        assert await stores.approvals.expire() == 0, "somebody has it"
        await made.tell(
            ApprovalDecided(approval_id=made.approvals[0], decision="approve", by="ada"), end(made.calls[0], "error")
        )
        assert await made.park()
        assert await stores.approvals.expire() == 1
        assert await made.take() is not None

    with_stores(tmp_path, main)


def test_decision_expiry_and_cancel_in_one_moment_leave_one_decision_and_one_ending(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        async with opened(tmp_path) as elsewhere:
            orders = itertools.cycle(itertools.permutations(range(3)))
            seen: set[str] = set()
            for number in range(TIMES):
                # Just over, or just not yet: a clock decides, and both databases are asked by the same one.
                made = await asked(stores, timedelta(milliseconds=number % 5))
                cancelling = Cancelling(made, elsewhere)
                deeds: Sequence[Awaitable[Any]] = (
                    made.decide(0),
                    elsewhere.approvals.expire(),
                    cancelling.cancel(),
                )
                ends = await outcomes(*(deeds[each] for each in next(orders)))
                assert [
                    each for each in ends if isinstance(each, Exception) and not isinstance(each, AlreadyDecided)
                ] == []
                decisions = await stores.approvals.decisions("ada", made.run_id)
                seen |= {each.decision for each in decisions.values()}
                assert len(decisions) == 1
                assert await made.status() is RunStatus.CANCELLED
                assert await made.take() is None
                assert (await stores.approvals.pending("ada")).items == ()
            assert "expired" in seen

    with_stores(tmp_path, main)


class Cancelling:
    """What a process does to cancel a run that waits."""

    def __init__(self, made: Asked, stores: Stores) -> None:
        self.made, self.stores = made, stores

    async def cancel(self) -> None:
        made = self.made
        claim = await self.stores.turns.claim("ada", made.run_id, "exe_cancels")
        assert claim is not None
        ending = stamped(end(made.calls[0]), AgentCancelled(by="ada"), first=made.seq + 1)
        await self.stores.runs.append(context_of(made.accepted), ending, epoch=claim.epoch)


def test_what_waits_goes_with_its_thread(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        made = await asked(stores)
        await Cancelling(made, stores).cancel()
        assert await raw(stores, "select count(*) from approvals") == [(1,)]
        assert await stores.conversations.delete_thread("ada", made.accepted.thread_id)
        assert await raw(stores, "select count(*) from approvals") == [(0,)]

    with_stores(tmp_path, main)


def test_a_run_that_waits_takes_no_place_of_its_user_and_its_thread_waits_behind_it(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        made = await asked(stores)
        seat = Seat(executor="exe_here", per_user=1, queued_per_user=1)

        async def post(thread_id: str | None = None) -> bool:
            context = UserExecutionContext.new("ada", thread_id=thread_id)
            posted = Post(content="hi", thread_id=thread_id)
            return (await stores.runs.accept(context, posted, agent="helper", seat=seat)).started

        assert not await post(made.accepted.thread_id)
        assert await stores.turns.take("ada", "exe_there", per_user=5) is None
        assert await post(), "in another thread"

    with_stores(tmp_path, main)


@pytest.mark.parametrize(
    "arguments",
    [
        {"nul": "a\0b", "\0": [1, None, True, 0.1]},
        {"wide": '𝕌é\u2028 "quoted" \\'},
        {"huge": "x" * 3_000_000},
        {"numbers": [2**60, -(2**60), 1e300, 5e-324]},
    ],
    ids=["nul", "wide", "huge", "numbers"],
)
def test_arguments_come_back_as_they_were_told(tmp_path: Path, arguments: Any) -> None:
    async def main(stores: Stores) -> None:
        made = await asked(stores, park=False)
        await made.ask(arguments=arguments)
        kept = (await stores.approvals.pending("ada")).items[1]
        assert json.loads(kept.arguments) == arguments

    with_stores(tmp_path, main)
