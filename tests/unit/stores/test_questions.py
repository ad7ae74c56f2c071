"""Questions on both databases: answered once, by their owner, in time; runs wait for them and for approvals alike."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run
from tests.support.stores import accept, context_of, opened, raw, stamped

from netra_apex.core.conversations import Accepted
from netra_apex.core.events import (
    AgentCancelled,
    AgentStarted,
    AgentThinking,
    ApprovalDecided,
    ApprovalRequested,
    CallError,
    DurableEvent,
    QuestionAnswered,
    QuestionAsked,
    ToolCompleted,
    ToolExecuting,
    as_told,
)
from netra_apex.core.ids import new_id
from netra_apex.core.journal import Decision
from netra_apex.core.runs import Claim, RunStatus
from netra_apex.errors import AlreadyDecided, Invalid, NotFound
from netra_apex.stores import Stores

TIMES = 25
LATE = 1e-9  # days: its time is over as it is asked


def with_stores(home: Path, main: Callable[[Stores], Awaitable[None]], **settings: Any) -> None:
    async def bounded() -> None:
        async with opened(home, **settings) as stores:
            await main(stores)

    run(bounded(), limit=60)


class Asking:
    """A run of a user that asks."""

    def __init__(self, stores: Stores, accepted: Accepted, user: str) -> None:
        self.stores, self.accepted, self.user = stores, accepted, user
        self.run_id = accepted.run_id
        self.questions: list[str] = []
        self.calls: list[str] = []
        self.seq = 0
        self.epoch = 1

    async def tell(self, *events: DurableEvent) -> None:
        told = stamped(*events, first=self.seq + 1)
        await self.stores.runs.append(context_of(self.accepted, self.user), told, epoch=self.epoch)
        self.seq += len(events)

    async def ask(self, *texts: str) -> None:
        """Questions of one moment."""
        events: list[DurableEvent] = []
        for text in texts:
            self.questions.append(new_id("que"))
            self.calls.append(new_id("call"))
            events += [
                ToolExecuting(call_id=self.calls[-1], tool="ask_user", arguments={"text": text}),
                QuestionAsked(question_id=self.questions[-1], call_id=self.calls[-1], text=text),
            ]
        await self.tell(*events)

    async def ask_approval(self) -> str:
        """A call that waits for a word."""
        approval_id, call_id = new_id("apr"), new_id("call")
        until = as_told(datetime.now(UTC) + timedelta(hours=1))
        await self.tell(
            ToolExecuting(call_id=call_id, tool="pay", arguments={}),
            ApprovalRequested(approval_id=approval_id, call_id=call_id, tool="pay", arguments={}, expires_at=until),
        )
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

    async def answer(self, number: int = 0, content: str = "May") -> None:
        await self.stores.questions.answer(self.user, self.questions[number], content)

    def completed(self, number: int = 0) -> ToolCompleted:
        return ToolCompleted(call_id=self.calls[number], tool="ask_user", ok=True, result="May", duration_ms=0)

    def ended(self, number: int = 0, code: str = "cancelled") -> ToolCompleted:
        error = CallError(code, "no")
        return ToolCompleted(call_id=self.calls[number], tool="ask_user", ok=False, error=error, duration_ms=0)


async def asking(stores: Stores, *texts: str, user: str = "ada", park: bool = True) -> Asking:
    """A run that waits for answers to these."""
    made = Asking(stores, await accept(stores, user), user)
    await made.tell(AgentStarted(task="hi"), AgentThinking(text="hm", step=1))
    await made.ask(*(texts or ("Which month?",)))
    if park:
        assert await made.park()
    return made


async def outcomes(*deeds: Awaitable[Any]) -> list[Any]:
    """What became of deeds that are let go in one moment."""
    barrier = asyncio.Barrier(len(deeds))

    async def let_go(deed: Awaitable[Any]) -> Any:
        await barrier.wait()
        return await deed

    return await asyncio.gather(*(let_go(deed) for deed in deeds), return_exceptions=True)


def test_what_is_asked_is_listed_the_oldest_first_in_pages_until_it_is_answered(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        one = await asking(stores, *(f"{number} \0?" for number in range(8)))
        other = await asking(stores)
        wanted = [*one.questions, *other.questions]
        first = (await stores.questions.pending("ada", limit=1)).items[0]
        assert (first.question_id, first.run_id, first.call_id) == (wanted[0], one.run_id, one.calls[0])
        assert (first.thread_id, first.text) == (one.accepted.thread_id, "0 \ufffd?")
        assert first.expires_at - first.asked_at == timedelta(days=30)
        cursor, paged = None, []
        for _ in range(3):
            page = await stores.questions.pending("ada", limit=3, cursor=cursor)
            paged += [each.question_id for each in page.items]
            cursor = page.next_cursor
        assert (paged, cursor) == (wanted, None)
        await one.answer(0)
        assert [each.question_id for each in (await stores.questions.pending("ada")).items] == wanted[1:]
        with pytest.raises(Invalid):
            await stores.questions.pending("ada", cursor="nonsense")

    with_stores(tmp_path, main)


def test_a_run_waits_until_an_answer_which_it_is_then_told(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        made = await asking(stores)
        assert await made.status() is RunStatus.WAITING
        assert await made.take() is None
        given = await stores.questions.answer("ada", made.questions[0], "May, or June")
        assert (given.question_id, given.text) == (made.questions[0], "Which month?")
        assert await made.status() is RunStatus.QUEUED
        claim = await made.take()
        assert claim is not None
        assert claim.waited
        decisions = await stores.approvals.decisions("ada", made.run_id)
        assert decisions == {made.questions[0]: Decision("answer", "ada", "May, or June")}
        await made.tell(QuestionAnswered(question_id=made.questions[0], content="May, or June"), made.completed())

    with_stores(tmp_path, main)


def test_a_run_waits_for_questions_and_approvals_together_and_each_wakes_it(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        made = await asking(stores, "one?", "two?", park=False)
        approval_id = await made.ask_approval()
        assert await made.park()
        await stores.approvals.decide("ada", approval_id, "approve", None)
        assert await made.take() is not None
        await made.tell(ApprovalDecided(approval_id=approval_id, decision="approve", by="ada"))
        assert await made.park(), "the questions are open"
        await made.answer(1)
        assert await made.take() is not None
        assert not await made.park(), "an answer is there that the run has not told"
        assert await made.take() is not None
        await made.tell(QuestionAnswered(question_id=made.questions[1], content="May"), made.completed(1))
        assert await made.park()
        await made.answer(0)
        assert await made.status() is RunStatus.QUEUED

    with_stores(tmp_path, main)


def test_a_question_is_answered_once_in_time_and_while_its_run_goes_on(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        made = await asking(stores, "one?", "two?")
        await made.answer(0, "first")
        with pytest.raises(AlreadyDecided, match="was answered before"):
            await made.answer(0, "second")
        assert (await stores.approvals.decisions("ada", made.run_id))[made.questions[0]].note == "first"
        await made.take()
        await made.tell(made.ended(0), made.ended(1), AgentCancelled(by="ada"))
        with pytest.raises(AlreadyDecided, match="has ended"):
            await made.answer(1)
        assert (await stores.questions.pending("ada")).items == ()

    with_stores(tmp_path, main)


def test_what_nobody_answers_in_time_is_closed_by_the_system_and_its_run_goes_on(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        async with opened(tmp_path) as patient:
            late, bobs = await asking(stores), await asking(stores, user="bob")
            early = await asking(patient)
            open_ones = [each.run_id for each in (await stores.questions.pending("ada")).items]
            assert open_ones == [early.run_id]
            with pytest.raises(AlreadyDecided, match="time is over"):
                await late.answer()
            assert await stores.approvals.expire() == 2
            assert await stores.approvals.expire() == 0
            wanted = [RunStatus.QUEUED, RunStatus.QUEUED, RunStatus.WAITING]
            assert [await each.status() for each in (late, bobs, early)] == wanted
            for each in (late, bobs):
                decisions = await stores.approvals.decisions(each.user, each.run_id)
                assert decisions == {each.questions[0]: Decision("expired", "system")}

    with_stores(tmp_path, main, approval_days=LATE)


@pytest.mark.parametrize("when", ["open", "answered"])
def test_a_call_that_ends_otherwise_asks_no_more_and_keeps_its_run_from_nothing(tmp_path: Path, when: str) -> None:
    async def main(stores: Stores) -> None:
        made = await asking(stores, "one?", "two?", park=False)
        if when == "answered":
            await made.answer(0)
        await made.tell(made.ended(0))
        assert [each.question_id for each in (await stores.questions.pending("ada")).items] == made.questions[1:]
        with pytest.raises(AlreadyDecided):
            await made.answer(0)
        assert await made.park()

    with_stores(tmp_path, main)


def test_anothers_question_is_as_one_that_does_not_exist_in_one_moment_too(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        async with opened(tmp_path) as elsewhere:
            for number in range(TIMES):
                adas, bobs = await asking(stores, user="ada"), await asking(elsewhere, user="bob")
                for each in (adas, bobs):
                    listed = (await stores.questions.pending(each.user)).items
                    assert [question.question_id for question in listed] == each.questions
                # Both inside the same code at once: their own answers, and each one's try at the other's.
                ends = await outcomes(
                    adas.answer(0, f"ada's {number}"),
                    bobs.answer(0, f"bob's {number}"),
                    elsewhere.questions.answer("bob", adas.questions[0], "bob was here"),
                    stores.questions.answer("ada", bobs.questions[0], "ada was here"),
                    elsewhere.questions.answer("bob", "que_nobodys", "bob was here"),
                )
                assert [type(each) for each in ends] == [type(None), type(None), NotFound, NotFound, NotFound], ends
                said = str(ends[2]).replace(adas.questions[0], "ID")
                assert said == str(ends[4]).replace("que_nobodys", "ID")
                for each in (adas, bobs):
                    (decision,) = (await stores.approvals.decisions(each.user, each.run_id)).values()
                    assert decision.note == f"{each.user}'s {number}"
                    assert await stores.approvals.decisions("eve", each.run_id) == {}
                    assert await each.take() is not None
                    await each.tell(each.ended(), AgentCancelled(by="system"))

    with_stores(tmp_path, main)


@pytest.mark.parametrize("question_id", ["", "a\0b", "\ud800", "x" * 10_000, "' or 1=1 --"])
def test_an_id_that_cannot_be_one_is_none(tmp_path: Path, question_id: str) -> None:
    async def main(stores: Stores) -> None:
        await asking(stores)
        with pytest.raises(NotFound):
            await stores.questions.answer("ada", question_id, "May")
        assert len((await stores.questions.pending("ada")).items) == 1

    with_stores(tmp_path, main)


def test_of_two_answers_in_one_moment_one_holds_and_the_other_is_refused(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        async with opened(tmp_path) as elsewhere:
            for _ in range(TIMES):
                made = await asking(stores)
                ends = await outcomes(
                    made.answer(0, "here"), elsewhere.questions.answer("ada", made.questions[0], "there")
                )
                assert [type(each) for each in ends if isinstance(each, Exception)] == [AlreadyDecided], ends
                (decision,) = (await stores.approvals.decisions("ada", made.run_id)).values()
                assert decision.note == ("there" if isinstance(ends[0], Exception) else "here")
                assert await made.take() is not None
                await made.tell(made.ended(), AgentCancelled(by="ada"))

    with_stores(tmp_path, main)


def test_an_answer_in_the_moment_in_which_the_run_is_left_is_never_lost(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        async with opened(tmp_path) as elsewhere:
            for number in range(TIMES):
                made = await asking(stores, park=False)
                answering = elsewhere.questions.answer("ada", made.questions[0], "May")
                ends = await outcomes(*((made.park(), answering) if number % 2 else (answering, made.park())))
                assert not any(isinstance(each, Exception) for each in ends), ends
                assert await made.status() is RunStatus.QUEUED
                assert await made.take() is not None
                await made.tell(made.ended(), AgentCancelled(by="ada"))

    with_stores(tmp_path, main)


def test_what_was_asked_goes_with_its_thread_and_with_its_runs_events(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        for way in ("thread", "retention"):
            made = await asking(stores)
            await made.answer()
            await made.take()
            await made.tell(made.ended(), AgentCancelled(by="ada"))
            assert await raw(stores, "select count(*) from questions") == [(1,)]
            if way == "thread":
                assert await stores.conversations.delete_thread("ada", made.accepted.thread_id)
            else:
                assert await stores.runs.prune(datetime.now(UTC) + timedelta(minutes=1)) == 1
            assert await raw(stores, "select count(*) from questions") == [(0,)]

    with_stores(tmp_path, main)
