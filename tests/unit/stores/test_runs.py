"""Runs and their log on a real database: what is accepted once, what may be appended, and what a thread remembers."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.bounded import run
from tests.support.stores import HERE, accept, context_of, opened, raw, stamped

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import Accepted, Post
from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    AgentThinking,
    DurableEvent,
    MessageCompleted,
    RunQueued,
    encode,
)
from netra_apex.core.ids import new_id
from netra_apex.core.messages import NO_USAGE, AssistantMessage, ModelMessage, ToolCall, ToolMessage, UserMessage
from netra_apex.core.runs import RunStatus
from netra_apex.errors import Busy, IdempotencyConflict, NotFound, StoreError, Superseded
from netra_apex.stores import Stores
from netra_apex.stores.accepting import title_of

STARTED = AgentStarted(task="hi")
THOUGHT = AgentThinking(text="hm", step=1)


def completed(output: Any = "hello") -> AgentCompleted:
    return AgentCompleted(output=output, usage=NO_USAGE, duration_ms=1)


def answer(text: str, ident: str = "") -> MessageCompleted:
    return MessageCompleted(message_id=ident or f"msg_{text}", content=text)


def with_stores(home: Path, main: Callable[[Stores], Awaitable[None]], **values: Any) -> None:
    async def bounded() -> None:
        async with opened(home, **values) as stores:
            await main(stores)

    run(bounded())


async def contents(stores: Stores) -> list[Any]:
    """Every row that a post can make."""
    tables = ("threads", "runs", "messages", "events", "transcripts", "idempotency", "openings")
    return [await raw(stores, f"select * from {table}") for table in tables]


async def said(stores: Stores, thread_id: str, user: str = "ada") -> list[str]:
    page = await stores.conversations.messages(user, thread_id)
    assert page
    return [f"{message.role}: {message.content}" for message in page.items]


async def told(stores: Stores, accepted: Accepted, *events: DurableEvent, user: str = "ada") -> None:
    run = await stores.runs.run(user, accepted.run_id)
    assert run
    await stores.runs.append(context_of(accepted, user), stamped(*events, first=run.last_seq + 1))


async def history(stores: Stores, thread_id: str, user: str = "ada") -> tuple[ModelMessage, ...]:
    """What a new run of the thread is told, asked in both ways, which must agree."""
    context = UserExecutionContext.new(user, thread_id=thread_id)
    admitted = await stores.runs.accept(context, Post(content="next", thread_id=thread_id), agent="helper", seat=HERE)
    assert await stores.runs.begin(context, "helper", "next") == admitted.history
    await raw(stores, f"delete from runs where run_id = '{context.run_id}'")
    return admitted.history


def test_a_post_makes_thread_message_and_run_together(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores, content="\n  What is up? \nmore")
        assert (accepted.status, accepted.repeated) == ("queued", False)
        stored = await stores.runs.run("ada", accepted.run_id)
        assert stored
        assert (stored.status, stored.last_seq, stored.message_id) == (RunStatus.QUEUED, 0, accepted.message_id)
        thread = await stores.conversations.thread("ada", accepted.thread_id)
        assert thread
        assert thread.title == "What is up?"
        assert await said(stores, accepted.thread_id) == ["user: \n  What is up? \nmore"]

    with_stores(tmp_path, main)


def test_a_title_is_the_first_line_cut_to_80(tmp_path: Path) -> None:
    assert title_of("x" * 80) == "x" * 80
    assert title_of("x" * 81) == "x" * 79 + "…"
    assert title_of("\n \n a \n b") == "a"
    assert title_of(" ") == ""


def test_the_same_key_with_the_same_content_has_the_same_answer_and_writes_nothing(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        first, *others = await asyncio.gather(*(accept(stores, content="pay", idempotency_key="k") for _ in range(20)))
        assert {(o.run_id, o.thread_id, o.message_id) for o in others} == {
            (first.run_id, first.thread_id, first.message_id)
        }
        # Which of them comes first is the database's to say.
        assert [first.repeated, *(other.repeated for other in others)].count(False) == 1
        before = await contents(stores)
        await told(stores, first, STARTED)
        again = await accept(stores, content="pay", idempotency_key="k")
        assert (again.run_id, again.status, again.repeated) == (first.run_id, "running", True)
        assert [len(rows) for rows in await contents(stores)][1:3] == [len(rows) for rows in before][1:3] == [1, 1]

    with_stores(tmp_path, main)


@pytest.mark.parametrize("other", [{"content": "pay more"}, {"agent": "other"}])
def test_the_same_key_with_other_content_is_a_conflict_and_writes_nothing(tmp_path: Path, other: Any) -> None:
    async def main(stores: Stores) -> None:
        await accept(stores, content="pay", idempotency_key="k")
        before = await contents(stores)
        with pytest.raises(IdempotencyConflict):
            await accept(stores, **{"content": "pay", "idempotency_key": "k"} | other)
        assert await contents(stores) == before

    with_stores(tmp_path, main)


def test_a_key_is_one_users_in_one_thread(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        new = await accept(stores, "ada", "pay", idempotency_key="k")
        in_thread = await accept(stores, "ada", "pay", thread_id=new.thread_id, idempotency_key="k")
        hers = await accept(stores, "eve", "pay", idempotency_key="k")
        assert len({new.run_id, in_thread.run_id, hers.run_id}) == 3
        assert not any(each.repeated for each in (new, in_thread, hers))
        other_thread = await accept(stores, "ada", "something else")
        there = await accept(stores, "ada", "other words", thread_id=other_thread.thread_id, idempotency_key="k")
        assert not there.repeated

    with_stores(tmp_path, main)


def test_reject_refuses_a_busy_thread_and_takes_a_free_one(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        first = await accept(stores)
        before = await contents(stores)
        with pytest.raises(Busy):
            await accept(stores, thread_id=first.thread_id, if_busy="reject")
        assert await contents(stores) == before
        queued = await accept(stores, thread_id=first.thread_id)
        await told(stores, first, AgentCancelled(by="ada"))
        await told(stores, queued, AgentCancelled(by="ada"))
        assert not (await accept(stores, thread_id=first.thread_id, if_busy="reject")).repeated

    with_stores(tmp_path, main)


def test_of_two_that_reject_at_once_one_is_accepted(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        await stores.conversations.add_thread("ada", "thr_a", "t")
        ends = await asyncio.gather(
            *(accept(stores, thread_id="thr_a", if_busy="reject") for _ in range(10)), return_exceptions=True
        )
        assert len([end for end in ends if isinstance(end, Accepted)]) == 1
        assert len([end for end in ends if isinstance(end, Busy)]) == 9

    with_stores(tmp_path, main)


@pytest.mark.parametrize("theirs", [True, False])
def test_a_thread_of_another_user_is_answered_as_one_that_does_not_exist_and_makes_no_row(
    tmp_path: Path, theirs: bool
) -> None:
    async def main(stores: Stores) -> None:
        hers = await accept(stores, "ada", "secret")
        before = await contents(stores)
        ident = hers.thread_id if theirs else "thr_nowhere"
        context = UserExecutionContext.new("eve", thread_id=ident)
        for post in (
            Post(content="x", thread_id=ident),
            Post(content="x", thread_id=ident, idempotency_key="k"),
            Post(content="x", thread_id=ident, replace=hers.message_id),
            Post(content="x", thread_id=ident, if_busy="reject"),
        ):
            with pytest.raises(NotFound) as refused:
                await stores.runs.accept(context, post, agent="helper", seat=HERE)
            assert str(refused.value) == f"there is no thread {ident}"
        if theirs:
            with pytest.raises(NotFound, match=f"^there is no thread {ident}$"):
                await stores.runs.begin(context, "helper", "x")
        assert await contents(stores) == before

    with_stores(tmp_path, main)


def test_no_row_of_another_users_run_can_be_written_or_read(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        hers = await accept(stores, "ada", "secret")
        await told(stores, hers, STARTED, THOUGHT)
        before = await contents(stores)
        forged = context_of(hers, "eve")
        for events in (stamped(answer("leak"), first=3), stamped(answer("leak"), first=1)):
            with pytest.raises(StoreError):
                await stores.runs.append(forged, events)
        with pytest.raises(StoreError):
            await stores.runs.keep_transcript(forged, [UserMessage("leak")])
        with pytest.raises((StoreError, NotFound)):
            await stores.runs.begin(forged, "helper", "x")
        assert await contents(stores) == before
        for ident in (hers.run_id, "run_nowhere"):
            assert await stores.runs.run("eve", ident) is None
            assert await stores.runs.events("eve", ident, 0) == ()

    with_stores(tmp_path, main)


def test_a_run_that_a_program_begins_is_made_with_its_thread_and_only_once(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        context = UserExecutionContext.new("ada")
        assert await stores.runs.begin(context, "helper", "hi") == ()
        assert await stores.runs.begin(context, "helper", "hi") == ()
        assert await said(stores, context.thread_id) == ["user: hi"]
        again = UserExecutionContext.new("ada", thread_id=context.thread_id)
        assert await stores.runs.begin(again, "helper", "more") == (UserMessage("hi"),)

    with_stores(tmp_path, main)


def test_events_come_back_byte_for_byte_and_in_order(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        events = stamped(RunQueued(reason="ö😀"), STARTED, *[THOUGHT] * 30, completed({"a": [1]}))
        await stores.runs.append(context_of(accepted), events[:2])
        await stores.runs.append(context_of(accepted), events[2:])
        bodies = [(event.seq, body) for event, body in events]
        assert list(await stores.runs.events("ada", accepted.run_id, 0)) == bodies
        assert list(await stores.runs.events("ada", accepted.run_id, 5, 3)) == bodies[5:8]
        assert await stores.runs.events("ada", accepted.run_id, 33) == ()

    with_stores(tmp_path, main)


@pytest.mark.parametrize(
    "seqs", [(2,), (4,), (5,), (0,), (1,), (3, 3), (3, 5), (3, 4, 4), (3, 2), (4, 3)], ids=lambda seqs: str(seqs)
)
def test_a_gap_or_a_double_is_refused_and_nothing_of_it_is_stored(tmp_path: Path, seqs: tuple[int, ...]) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        await told(stores, accepted, STARTED, THOUGHT)
        before = await contents(stores)
        bad = [
            (AgentThinking(text="x", step=1, seq=seq), encode(AgentThinking(text="x", step=1, seq=seq))) for seq in seqs
        ]
        with pytest.raises(StoreError):
            await stores.runs.append(context_of(accepted), bad)
        assert await contents(stores) == before
        await stores.runs.append(context_of(accepted), stamped(THOUGHT, first=3))

    with_stores(tmp_path, main)


def test_of_two_writers_of_one_run_one_is_refused_whatever_their_order(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        both = [stamped(STARTED, THOUGHT), stamped(AgentFailed(code="x", message="m", retryable=False))]
        ends = await asyncio.gather(
            *(stores.runs.append(context_of(accepted), events) for events in both), return_exceptions=True
        )
        assert [type(end) for end in ends] == [type(None), StoreError]
        stored = await stores.runs.run("ada", accepted.run_id)
        assert stored
        assert (stored.status, stored.last_seq) == (RunStatus.RUNNING, 2)

    with_stores(tmp_path, main)


def test_nothing_is_stored_after_an_ending(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        await told(stores, accepted, STARTED, THOUGHT, completed())
        before = await contents(stores)
        for event in (THOUGHT, AgentCancelled(by="ada"), answer("late")):
            with pytest.raises(StoreError, match="ended"):
                await stores.runs.append(context_of(accepted), stamped(event, first=4))
        assert await contents(stores) == before

    with_stores(tmp_path, main)


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (completed(), RunStatus.COMPLETED),
        (AgentFailed(code="model_error", message="m", retryable=True), RunStatus.FAILED),
        (AgentCancelled(by="ada"), RunStatus.CANCELLED),
    ],
)
def test_a_runs_status_follows_its_own_agents_events(tmp_path: Path, ending: DurableEvent, status: RunStatus) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        context = context_of(accepted)
        deeper = {"depth": 1, "parent_agent": "a", "parent_call_id": "c"}
        steps: list[tuple[list[DurableEvent], RunStatus]] = [
            ([RunQueued(reason="r")], RunStatus.QUEUED),
            ([STARTED], RunStatus.RUNNING),
            (
                [AgentStarted(task="t", **deeper), AgentFailed(code="x", message="m", retryable=False, **deeper)],
                RunStatus.RUNNING,
            ),
            ([THOUGHT, ending], status),
        ]
        seq = 1
        for events, wanted in steps:
            await stores.runs.append(context, stamped(*events, first=seq))
            seq += len(events)
            stored = await stores.runs.run("ada", accepted.run_id)
            assert stored
            assert (stored.status, stored.last_seq, stored.ended_at is not None) == (wanted, seq - 1, wanted.ended)
        assert await stores.conversations.unfinished("ada", accepted.thread_id) == ()

    with_stores(tmp_path, main)


@pytest.mark.parametrize(
    ("events", "answers"),
    [
        ((answer("hello"), completed("hello")), ["hello"]),
        ((answer("let me see"), answer("hello"), completed("hello")), ["let me see", "hello"]),
        ((completed("plain"),), ["plain"]),
        ((answer("let me see"), completed("hello")), ["let me see", "hello"]),
        ((completed({"a": [1, None]}),), ['{"a": [1, null]}']),
        ((answer('{"a": 1}'), completed({"a": 1})), ['{"a": 1}']),
        ((completed(None),), []),
        ((completed(""),), []),
        ((completed(0),), ["0"]),
        ((answer("half"), AgentFailed(code="model_error", message="no", retryable=True)), ["half"]),
        ((AgentCancelled(by="ada"),), []),
        ((MessageCompleted(message_id="msg_sub", content="aside", depth=1), completed("hello")), ["hello"]),
    ],
)
def test_a_thread_shows_what_was_answered_and_an_output_that_no_answer_said(
    tmp_path: Path, events: tuple[DurableEvent, ...], answers: list[str]
) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        await told(stores, accepted, STARTED, THOUGHT, *events)
        assert await said(stores, accepted.thread_id) == ["user: hi", *(f"assistant: {each}" for each in answers)]

    with_stores(tmp_path, main)


def test_a_run_is_told_what_was_said_before_it_and_not_itself(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        first = await accept(stores, content="one")
        await told(stores, first, STARTED, THOUGHT, answer("1"), completed("1"))
        second = await accept(stores, content="two", thread_id=first.thread_id)
        await told(stores, second, STARTED, AgentFailed(code="x", message="m", retryable=False))
        await accept(stores, "eve", "hers")
        assert await history(stores, first.thread_id) == (
            UserMessage("one"),
            AssistantMessage("1"),
            UserMessage("two"),
        )
        assert await stores.runs.begin(context_of(second), "helper", "two") == (
            UserMessage("one"),
            AssistantMessage("1"),
        )

    with_stores(tmp_path, main)


def test_a_transcript_goes_before_the_bare_messages_of_its_run(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        whole = [
            UserMessage("one"),
            AssistantMessage("", (ToolCall("c", "t", "{}"),)),
            ToolMessage("c", "r"),
            AssistantMessage("1"),
        ]
        first = await accept(stores, content="one")
        await stores.runs.keep_transcript(context_of(first), [UserMessage("overwritten")])
        await stores.runs.keep_transcript(context_of(first), whole)
        await told(stores, first, STARTED, THOUGHT, answer("1"), completed("1"))
        second = await accept(stores, content="two", thread_id=first.thread_id)
        await told(stores, second, STARTED, THOUGHT, answer("2"), completed("2"))
        assert await history(stores, first.thread_id) == (*whole, UserMessage("two"), AssistantMessage("2"))

    with_stores(tmp_path, main)


def test_replace_hides_the_message_all_that_followed_it_and_what_they_said_to_the_model(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        runs = [await accept(stores, content="one")]
        for content in ("two", "three"):
            runs.append(await accept(stores, content=content, thread_id=runs[0].thread_id))
        for accepted in runs:
            await stores.runs.keep_transcript(
                context_of(accepted), [UserMessage("t"), AssistantMessage(accepted.run_id)]
            )
            await told(stores, accepted, STARTED, THOUGHT, answer(accepted.run_id), completed(accepted.run_id))
        thread_id = runs[0].thread_id
        edited = await accept(stores, content="two, better", thread_id=thread_id, replace=runs[1].message_id)
        await told(stores, edited, STARTED, THOUGHT, answer("yes"), completed("yes"))
        assert await said(stores, thread_id) == [
            "user: one",
            f"assistant: {runs[0].run_id}",
            "user: two, better",
            "assistant: yes",
        ]
        assert await history(stores, thread_id) == (
            UserMessage("t"),
            AssistantMessage(runs[0].run_id),
            UserMessage("two, better"),
            AssistantMessage("yes"),
        )
        assert await stores.runs.events("ada", runs[2].run_id, 0) != ()  # the log keeps what was told

    with_stores(tmp_path, main)


@pytest.mark.parametrize("which", ["answer", "nowhere", "other thread", "replaced already", "another user's"])
def test_only_a_message_of_ones_own_in_this_thread_is_replaced(tmp_path: Path, which: str) -> None:
    async def main(stores: Stores) -> None:
        mine = await accept(stores, content="one")
        await told(stores, mine, STARTED, THOUGHT, answer("1", "msg_answer"), completed("1"))
        other, hers = await accept(stores), await accept(stores, "eve")
        if which == "replaced already":
            await accept(stores, content="again", thread_id=mine.thread_id, replace=mine.message_id)
        ident = {
            "answer": "msg_answer",
            "nowhere": "msg_none",
            "other thread": other.message_id,
            "replaced already": mine.message_id,
            "another user's": hers.message_id,
        }[which]
        before = await contents(stores)
        with pytest.raises(NotFound, match=f"there is no message of yours in this thread {ident}"):
            await accept(stores, content="x", thread_id=mine.thread_id, replace=ident)
        assert await contents(stores) == before

    with_stores(tmp_path, main)


TURN = st.tuples(st.integers(0, 3), st.booleans(), st.booleans())  # calls, answered with text, has a transcript


@given(st.lists(TURN, max_size=6), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_a_history_begins_with_what_a_person_said_and_has_each_call_with_its_answer(
    tmp_path_factory: pytest.TempPathFactory, turns: list[tuple[int, bool, bool]], limit: int
) -> None:
    async def main(stores: Stores) -> None:
        whole: list[ModelMessage] = []
        thread_id = None
        for number, (calls, text, kept) in enumerate(turns):
            accepted = await accept(stores, content=f"q{number}", thread_id=thread_id)
            thread_id = accepted.thread_id
            asked = tuple(ToolCall(f"{number}-{call}", "t", "{}") for call in range(calls))
            script: list[ModelMessage] = [UserMessage(f"q{number}")]
            if asked:
                script += [AssistantMessage("", asked), *(ToolMessage(call.id, "r") for call in asked)]
            if text:
                script.append(AssistantMessage(f"a{number}"))
            if kept:
                await stores.runs.keep_transcript(context_of(accepted), script)
            events = [answer(f"a{number}", new_id("msg"))] if text else []
            await told(stores, accepted, STARTED, THOUGHT, *events, completed(None))
            whole += (
                script
                if kept
                else [m for m in script if isinstance(m, UserMessage) or m == AssistantMessage(f"a{number}")]
            )
        found = () if thread_id is None else await history(stores, thread_id)
        assert len(found) <= limit
        assert list(found) == whole[len(whole) - len(found) :]
        assert not found or isinstance(found[0], UserMessage)
        have = {message.call_id for message in found if isinstance(message, ToolMessage)}
        assert have == {call.id for m in found if isinstance(m, AssistantMessage) for call in m.tool_calls}
        # Nothing is left out that would fit: the next one that begins with a person would be over the limit.
        starts = [place for place, message in enumerate(whole) if isinstance(message, UserMessage)]
        assert all(len(whole) - start > limit for start in starts if start < len(whole) - len(found))

    with_stores(tmp_path_factory.mktemp("home"), main, history_messages=limit)


def test_an_operator_sees_every_run_and_asks_for_ends(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        ada, eve = await accept(stores, "ada"), await accept(stores, "eve")
        await told(stores, eve, STARTED, user="eve")
        found = await stores.runs.operator_run(eve.run_id)
        assert found
        assert found.user_id == "eve"
        assert await stores.runs.operator_run("run_none") is None
        assert {each.run_id for each in await stores.runs.all_runs()} == {ada.run_id, eve.run_id}
        assert [each.run_id for each in await stores.runs.all_runs(statuses=[RunStatus.RUNNING])] == [eve.run_id]
        assert len(await stores.runs.all_runs(limit=1)) == 1
        assert await stores.runs.request_cancel(ada.run_id, "operator")
        assert await stores.runs.request_cancel(ada.run_id, "somebody later")
        assert await stores.runs.cancels_requested() == ((ada.run_id, "operator"),)
        await told(stores, ada, AgentCancelled(by="operator"))
        assert not await stores.runs.request_cancel(ada.run_id, "operator")
        assert not await stores.runs.request_cancel("run_none", "operator")
        assert await stores.runs.cancels_requested() == ()

    with_stores(tmp_path, main)


BEFORE = (UserMessage("I am Ada"), AssistantMessage("Hello Ada"))


def test_a_thread_begins_with_what_was_said_before_it_for_every_run_of_it_and_nobody_else(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        context = UserExecutionContext.new("ada")
        admitted = await stores.runs.accept(context, Post(content="who?", before=BEFORE), agent="helper", seat=HERE)
        assert admitted.history == BEFORE
        # Taken up by another process, it is told the same.
        assert await stores.runs.begin(context, "helper", "who?") == BEFORE
        await told(stores, admitted.accepted, STARTED, answer("You are Ada"), completed("You are Ada"))
        whole = (*BEFORE, UserMessage("who?"), AssistantMessage("You are Ada"))
        assert await history(stores, context.thread_id) == whole
        assert await stores.runs.said("ada", context.run_id) == whole
        assert await stores.runs.said("bob", context.run_id) == ()
        assert await said(stores, context.thread_id) == ["user: who?", "assistant: You are Ada"]
        other = await accept(stores, content="who?")
        await told(stores, other, STARTED, answer("Nobody"), completed("Nobody"))
        assert await history(stores, other.thread_id) == (UserMessage("who?"), AssistantMessage("Nobody"))
        await stores.conversations.delete_thread("ada", context.thread_id)
        assert await raw(stores, "select * from openings") == []

    with_stores(tmp_path, main)


def test_what_was_said_before_is_cut_as_any_history_is(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        context = UserExecutionContext.new("ada")
        before = (*BEFORE, UserMessage("more"), AssistantMessage("much more"))
        admitted = await stores.runs.accept(context, Post(content="?", before=before), agent="helper", seat=HERE)
        assert admitted.history == before[-2:]

    with_stores(tmp_path, main, history_messages=3)


def test_a_key_with_another_history_is_a_conflict(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        first = await accept(stores, content="?", idempotency_key="k", before=BEFORE)
        again = await accept(stores, content="?", idempotency_key="k", before=BEFORE)
        assert (again.run_id, again.repeated) == (first.run_id, True)
        for other in ((), BEFORE[:1]):
            with pytest.raises(IdempotencyConflict):
                await accept(stores, content="?", idempotency_key="k", before=other)

    with_stores(tmp_path, main)


def test_a_post_that_follows_a_run_is_taken_only_while_that_is_the_last_one(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        first = await accept(stores)
        await told(stores, first, STARTED, completed())
        follows = {"thread_id": first.thread_id, "follows": first.run_id, "if_busy": "reject"}
        # Two of them at once: one is taken, and the other is told that it was not the first.
        results = await asyncio.gather(*(accept(stores, **follows) for _ in range(2)), return_exceptions=True)
        assert {type(result) for result in results} == {Accepted, Superseded}
        with pytest.raises(NotFound):
            await accept(stores, user="bob", **follows)

    with_stores(tmp_path, main)


def test_a_run_is_deleted_with_what_was_said_in_it_and_its_thread_with_the_last(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        first = await accept(stores, content="one")
        with pytest.raises(Busy):
            await stores.conversations.delete_run("ada", first.run_id)
        await told(stores, first, STARTED, answer("1"), completed("1"))
        second = await accept(stores, content="two", thread_id=first.thread_id)
        await told(stores, second, STARTED, answer("2"), completed("2"))
        assert not await stores.conversations.delete_run("bob", first.run_id)
        assert await stores.conversations.delete_run("ada", first.run_id)
        assert await said(stores, first.thread_id) == ["user: two", "assistant: 2"]
        assert await history(stores, first.thread_id) == (UserMessage("two"), AssistantMessage("2"))
        assert await stores.conversations.delete_run("ada", second.run_id)
        assert not await stores.conversations.delete_run("ada", second.run_id)
        assert all(rows == [] for rows in await contents(stores))

    with_stores(tmp_path, main)
