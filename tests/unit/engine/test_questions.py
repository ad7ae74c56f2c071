"""Runs that ask their user: left without a slot, taken up by the answer, which is the call's result."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import passed, run
from tests.support.postgres import PostgresServer

from netra_apex import (
    AgentRegistry,
    BaseAgent,
    CallFailed,
    ChatAgent,
    RunScope,
    Runtime,
    Settings,
    SupervisorAgent,
    UserExecutionContext,
    ask_user,
    tool,
)
from netra_apex.core.conversations import MAX_ANSWER, Accepted, Post, Question
from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    DurableEvent,
    QuestionAnswered,
    QuestionAsked,
    ToolCompleted,
    ToolExecuting,
    decode,
)
from netra_apex.core.runs import RunStatus
from netra_apex.errors import AlreadyDecided, Busy, Invalid, NotFound
from netra_apex.stores import open_stores
from netra_apex.testing import ScriptedModel

LOOK_SECONDS = 0.01  # between two looks at the database, which has other things to do
did: dict[str, list[str]] = {}


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    did["is"] = []


async def asked(scope: RunScope, text: str) -> str:
    try:
        return str(await scope.tools.call(ask_user, text))
    except CallFailed as failed:
        return f"{failed.code}: {failed.message}"


@tool(needs_approval=True)
async def pay(amount: int) -> str:
    """Pay."""
    did["is"].append(f"pay {amount}")
    return f"paid {amount}"


@tool(idempotent=True)
async def repeatable(scope: RunScope) -> str:
    """Asks, in a call that may be made again."""
    did["is"].append("repeatable")
    return await asked(scope, "inside?")


@tool
async def once(scope: RunScope) -> str:
    """Asks, in a call that may not be made again."""
    return await asked(scope, "inside?")


class Chat(ChatAgent):
    """Answers, and asks."""

    name = "chat"
    instructions = "Ask."
    tools = (ask_user, pay)


class Member(BaseAgent):
    """Asks one deeper."""

    name = "member"

    async def run(self, task: str, scope: RunScope) -> str:
        return f"{task}: {await scope.tools.call(ask_user, f'{task}?')}"


class Lead(SupervisorAgent):
    """Has members ask, side by side."""

    name = "lead"
    members = (Member,)

    async def run(self, task: str, scope: RunScope) -> Any:
        results = await asyncio.gather(*(scope.delegate(Member, each) for each in task.split()))
        return [result.output for result in results]


class Coded(BaseAgent):
    """Does by code what its task says."""

    name = "coded"

    async def run(self, task: str, scope: RunScope) -> Any:
        return await getattr(self, task)(scope)

    async def asks(self, scope: RunScope) -> Any:
        return await asked(scope, "Which month?")

    async def asks_two(self, scope: RunScope) -> Any:
        return await asyncio.gather(asked(scope, "one?"), asked(scope, "two?"))

    async def asks_in_turn(self, scope: RunScope) -> Any:
        first = await scope.tools.call(ask_user, text="first?")
        paid = await scope.tools.call(pay, len(first))
        second = await scope.tools.call(ask_user, f"after {first} and {paid}?")
        return [first, paid, second]

    async def asks_and_pays(self, scope: RunScope) -> Any:
        return await asyncio.gather(asked(scope, "one?"), scope.tools.call(pay, 1))

    async def asks_badly(self, scope: RunScope) -> Any:
        return [await asked(scope, text) for text in ("", "  \n", "x" * 4001, "\ud800")]

    async def gives_up(self, scope: RunScope) -> Any:
        try:
            async with asyncio.timeout(0.01):
                await scope.tools.call(ask_user, "one?")
        except TimeoutError:
            return "gave up"

    async def nested(self, scope: RunScope) -> Any:
        return await scope.tools.call(repeatable)

    async def nested_once(self, scope: RunScope) -> Any:
        return await scope.tools.call(once)


@asynccontextmanager
async def runtime(home: Path, model: Any = None, **settings: Any) -> AsyncIterator[Runtime]:
    registry = AgentRegistry([Chat, Coded, Lead])
    given = Settings(home=home, **{"drain_seconds": 0.01} | settings)
    async with Runtime(registry, given, model=model or ScriptedModel([])) as process:
        yield process


def played(home: Path, main: Callable[[Runtime], Awaitable[None]], model: Any = None, **settings: Any) -> None:
    async def bounded() -> None:
        async with runtime(home, model, **settings) as process:
            await main(process)

    run(bounded())


async def post(process: Runtime, task: str, agent: str = "coded", user: str = "ada", **more: Any) -> Accepted:
    return await process.admission.post(user, frozenset(), Post(content=task, agent=agent, **more))


async def when(process: Runtime, run_id: str, status: RunStatus, user: str = "ada") -> None:
    """Returns once the run stands so; the test bounds it."""
    while True:
        found = await process.stores.runs.run(user, run_id)
        assert found is not None
        if found.status is status:
            return
        assert not found.status.ended, found.status
        await passed(LOOK_SECONDS)


async def waiting(process: Runtime, run_id: str, count: int = 1, user: str = "ada") -> tuple[Question, ...]:
    """What a run asks that waits."""
    while True:
        await when(process, run_id, RunStatus.WAITING, user)
        items = (await process.stores.questions.pending(user)).items
        if len(found := tuple(each for each in items if each.run_id == run_id)) == count:
            return found
        await passed(LOOK_SECONDS)


async def told(process: Runtime, run_id: str, user: str = "ada") -> list[DurableEvent]:
    """The run's events, to its end."""
    return [decode(text) async for seq, text in process.reader.follow(user, run_id, 0) if seq is not None]


def output(events: list[DurableEvent]) -> Any:
    ending = events[-1]
    assert isinstance(ending, AgentCompleted), ending
    return ending.output


def kinds(events: list[DurableEvent]) -> list[str]:
    return [str(event.__struct_config__.tag) for event in events]


def codes(events: list[DurableEvent]) -> list[str]:
    ends = [event for event in events if isinstance(event, ToolCompleted)]
    return ["ok" if not event.error else event.error.code for event in ends]


def test_a_model_asks_and_is_given_the_answer(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "costs?", "chat")
        (question,) = await waiting(process, accepted.run_id)
        assert (question.text, question.thread_id) == ("Which month?", accepted.thread_id)
        await process.house.answer("ada", question.question_id, "  May, or June\n")
        events = await told(process, accepted.run_id)
        assert kinds(events) == [
            "agent_started", "agent_thinking", "tool_executing", "question_asked", "question_answered",
            "tool_completed", "message_completed", "agent_completed",
        ]  # fmt: skip
        executing, event, answered, completed = events[2:6]
        assert isinstance(executing, ToolExecuting)
        assert isinstance(event, QuestionAsked)
        assert isinstance(answered, QuestionAnswered)
        assert isinstance(completed, ToolCompleted)
        assert executing.call_id == event.call_id == completed.call_id == question.call_id
        assert event.question_id == answered.question_id == question.question_id
        assert answered.content == completed.result == "  May, or June\n"

    model = ScriptedModel([("ask_user", {"text": " Which month? "}), "in May"])
    played(tmp_path, main, model)
    assert len(model.requests) == 2, "what the model has answered is not asked again"
    assert model.requests[1].messages[-1].content == "  May, or June\n"
    (spec,) = [spec for spec in model.requests[0].tools if spec.name == "ask_user"]
    assert list(spec.parameters["properties"]) == ["text"]


def test_two_questions_are_answered_in_any_order_and_each_answer_comes_where_it_was_asked(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "asks_two")
        one, two = await waiting(process, accepted.run_id, 2)
        assert (one.text, two.text) == ("one?", "two?")
        await process.house.answer("ada", two.question_id, "second")
        assert await waiting(process, accepted.run_id) == (one,)
        await process.house.answer("ada", one.question_id, "first")
        events = await told(process, accepted.run_id)
        assert output(events) == ["first", "second"]
        assert kinds(events).count("question_asked") == kinds(events).count("question_answered") == 2

    played(tmp_path, main)


def test_a_run_waits_for_answers_and_approvals_together(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "asks_and_pays")
        (question,) = await waiting(process, accepted.run_id)
        (approval,) = (await process.stores.approvals.pending("ada")).items
        await process.house.decide("ada", approval.approval_id, "approve", None)
        while not did["is"]:
            await passed(LOOK_SECONDS)
        assert await waiting(process, accepted.run_id) == (question,)
        await process.house.answer("ada", question.question_id, "first")
        assert output(await told(process, accepted.run_id)) == ["first", "paid 1"]
        assert did["is"] == ["pay 1"]

    played(tmp_path, main)


def test_members_ask_side_by_side_while_their_supervisor_waits(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "left right", "lead")
        left, right = await waiting(process, accepted.run_id, 2)
        await process.house.answer("ada", right.question_id, "r")
        assert await waiting(process, accepted.run_id) == (left,)
        await process.house.answer("ada", left.question_id, "l")
        events = await told(process, accepted.run_id)
        assert output(events) == ["left: l", "right: r"]
        for event in events:
            if isinstance(event, QuestionAsked | QuestionAnswered):
                assert (event.agent, event.depth, event.parent_agent) == ("member", 1, "lead")
        assert kinds(events).count("agent_started") == 3, "nobody begins twice"

    played(tmp_path, main)


def test_what_was_answered_stays_answered_however_often_the_process_ends(tmp_path: Path) -> None:
    async def main() -> None:
        async with runtime(tmp_path) as process:
            accepted = await post(process, "asks_in_turn")
            (first,) = await waiting(process, accepted.run_id)
        for _ in range(7):  # more often than a run is taken up that ends its process
            async with runtime(tmp_path) as process:
                assert await waiting(process, accepted.run_id) == (first,)
        # The answer is stored, and its process ends before it can do anything with it.
        async with open_stores(Settings(home=tmp_path)) as stores:
            await stores.questions.answer("ada", first.question_id, "four")
        async with runtime(tmp_path) as process:
            await when(process, accepted.run_id, RunStatus.WAITING)
            (approval,) = (await process.stores.approvals.pending("ada")).items
        async with runtime(tmp_path) as process:
            await process.house.decide("ada", approval.approval_id, "approve", None)
            (second,) = await waiting(process, accepted.run_id)
            assert second.text == "after four and paid 4?"
        async with runtime(tmp_path) as process:
            with pytest.raises(AlreadyDecided):
                await process.house.answer("ada", first.question_id, "five")
            await process.house.answer("ada", second.question_id, "done")
            events = await told(process, accepted.run_id)
            assert output(events) == ["four", "paid 4", "done"]
        assert (did["is"], kinds(events).count("question_asked")) == (["pay 4"], 2)

    run(main())


def test_what_nobody_answers_in_time_is_told_as_expired_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netra_apex.durable.watch.EXPIRE_SECONDS", 0.05)

    async def main(process: Runtime) -> None:
        events = await told(process, (await post(process, "asks")).run_id)
        assert (output(events), codes(events)) == ("expired: nobody answered ask_user in time", ["expired"])
        (event,) = [event for event in events if isinstance(event, QuestionAsked)]
        assert "question_answered" not in kinds(events)
        with pytest.raises(AlreadyDecided):
            await process.house.answer("ada", event.question_id, "May")

    played(tmp_path, main, approval_days=0.3 / 86_400)


@pytest.mark.parametrize("how", ["cancel", "interrupt", "delete"])
def test_a_run_that_asks_can_be_cancelled(tmp_path: Path, how: str) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "asks")
        (question,) = await waiting(process, accepted.run_id)
        if how == "cancel":
            assert (await process.admission.cancel("ada", accepted.run_id)).status is RunStatus.CANCELLED
        elif how == "interrupt":
            await post(process, "gives_up", thread_id=accepted.thread_id, if_busy="interrupt")
        else:
            assert await process.admission.delete_thread("ada", accepted.thread_id)
        if how != "delete":
            events = await told(process, accepted.run_id)
            assert isinstance(events[-1], AgentCancelled)
            assert codes(events) == ["cancelled"]
        with pytest.raises(NotFound if how == "delete" else AlreadyDecided):
            await process.house.answer("ada", question.question_id, "May")
        assert question not in (await process.stores.questions.pending("ada")).items

    played(tmp_path, main)


def test_an_agent_may_give_up_a_question(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        events = await told(process, (await post(process, "gives_up")).run_id)
        assert (output(events), codes(events)) == ("gave up", ["cancelled"])
        assert (await process.stores.questions.pending("ada")).items == ()

    played(tmp_path, main)


@pytest.mark.parametrize("content", ["", " \n\t", "x" * (MAX_ANSWER + 1), "a\0b", "\ud800"])
def test_what_is_no_answer_is_refused_and_answers_nothing(tmp_path: Path, content: str) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "asks")
        (question,) = await waiting(process, accepted.run_id)
        with pytest.raises(Invalid, match="content"):
            await process.house.answer("ada", question.question_id, content)
        assert await waiting(process, accepted.run_id) == (question,)
        await process.house.answer("ada", question.question_id, "𝕌" * MAX_ANSWER)
        assert output(await told(process, accepted.run_id)) == "𝕌" * MAX_ANSWER

    played(tmp_path, main)


def test_what_is_no_question_is_refused_and_asks_nobody(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        events = await told(process, (await post(process, "asks_badly")).run_id)
        assert codes(events) == ["invalid_arguments"] * 4
        assert "question_asked" not in kinds(events)

    played(tmp_path, main)


def test_answers_are_kept_and_given_to_the_agent_without_their_secrets_as_messages_are(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "asks")
        (question,) = await waiting(process, accepted.run_id)
        await process.house.answer("ada", question.question_id, "it is password=hunter2-hunter2")
        events = await told(process, accepted.run_id)
        assert output(events).startswith("it is password=[")
        rows: list[Any] = [events]
        for table in ("questions", "events", "steps"):
            rows += await process.stores.database.read(
                lambda tx, table=table: tx.all(f"select * from {table}", {}), user="ada"
            )
        assert "hunter2" not in repr(rows)

    played(tmp_path, main)


def test_a_question_inside_a_call_that_may_be_made_again_waits_and_the_outer_call_is_made_again(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "nested")
        (question,) = await waiting(process, accepted.run_id)
        await process.house.answer("ada", question.question_id, "deep")
        events = await told(process, accepted.run_id)
        assert (output(events), codes(events)) == ("deep", ["ok", "ok"])
        assert did["is"] == ["repeatable", "repeatable"]

    played(tmp_path, main)


def test_a_question_inside_a_call_that_may_not_be_made_again_asks_nobody(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        events = await told(process, (await post(process, "nested_once")).run_id)
        assert output(events).startswith("error: ask_user waits for a person, and is called inside a call of a tool")
        assert "question_asked" not in kinds(events)

    played(tmp_path, main)


def test_a_message_for_a_thread_whose_run_asks_is_no_answer(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "asks")
        (question,) = await waiting(process, accepted.run_id)
        behind = await post(process, "gives_up", thread_id=accepted.thread_id)
        assert behind.status == RunStatus.QUEUED
        with pytest.raises(Busy):
            await post(process, "gives_up", thread_id=accepted.thread_id, if_busy="reject")
        steered = await post(process, "May", thread_id=accepted.thread_id, if_busy="steer")
        assert steered.run_id == accepted.run_id
        assert await waiting(process, accepted.run_id) == (question,)
        await process.house.answer("ada", question.question_id, "June")
        assert output(await told(process, accepted.run_id)) == "June"
        assert output(await told(process, behind.run_id)) == "gave up"

    played(tmp_path, main)


def test_two_users_who_are_asked_at_once_neither_see_nor_answer_each_others_questions(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        runs = {user: (await post(process, "asks_two", user=user)).run_id for user in ("ada", "bob")}
        theirs = {user: await waiting(process, run_id, 2, user) for user, run_id in runs.items()}
        barrier = asyncio.Barrier(8)

        async def answers(user: str, question: Question) -> str:
            await barrier.wait()
            try:
                await process.house.answer(user, question.question_id, f"{user} to {question.text}")
            except NotFound as refused:
                return str(refused).replace(question.question_id, "ID")
            return "ok"

        deeds = [answers(user, each) for owner in theirs for each in theirs[owner] for user in ("ada", "bob")]
        refused = "there is no question ID"
        assert await asyncio.gather(*deeds) == ["ok", refused, "ok", refused, refused, "ok", refused, "ok"]
        for user, run_id in runs.items():
            assert output(await told(process, run_id, user)) == [f"{user} to one?", f"{user} to two?"]

    played(tmp_path, main)


def test_of_answers_that_come_at_once_one_is_the_result_and_the_others_are_refused(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        for _ in range(5):
            accepted = await post(process, "asks")
            (question,) = await waiting(process, accepted.run_id)
            ends = await asyncio.gather(
                *(process.house.answer("ada", question.question_id, f"answer {number}") for number in range(4)),
                return_exceptions=True,
            )
            won = [number for number, each in enumerate(ends) if isinstance(each, Question)]
            assert sum(isinstance(each, AlreadyDecided) for each in ends) == 3, ends
            assert output(await told(process, accepted.run_id)) == f"answer {won[0]}"

    played(tmp_path, main)


def test_an_answer_in_one_process_is_carried_out_by_whichever_has_room(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async def main() -> None:
        with postgres.database() as database:
            shared = {"database_url": database.url, "secret_key": "the same of both processes, and long enough"}
            async with AsyncExitStack() as stack:
                one, other = [
                    await stack.enter_async_context(runtime(tmp_path / name, **shared)) for name in ("one", "other")
                ]
                for _ in range(5):
                    accepted = await post(one, "left right", "lead")
                    left, right = await waiting(other, accepted.run_id, 2)
                    both = await asyncio.gather(
                        *(each.house.answer("ada", right.question_id, "r") for each in (one, other)),
                        return_exceptions=True,
                    )
                    assert sum(isinstance(each, AlreadyDecided) for each in both) == 1, both
                    assert await waiting(one, accepted.run_id) == (left,)
                    await other.house.answer("ada", left.question_id, "l")
                    here, there = await asyncio.gather(told(one, accepted.run_id), told(other, accepted.run_id))
                    assert here == there
                    assert output(here) == ["left: l", "right: r"]

    run(main(), limit=60)


def test_a_programs_own_run_asks_too(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        context = UserExecutionContext.new("ada")
        async with process.engines.for_user(context) as engine:
            result = await engine.run("coded", "asks")
        assert result.error is not None
        assert result.error.code == "waiting"
        (question,) = await waiting(process, context.run_id)
        await process.house.answer("ada", question.question_id, "May")
        assert output(await told(process, context.run_id)) == "May"

    played(tmp_path, main)


def test_called_as_a_plain_function_it_says_how_to_ask() -> None:
    async def main() -> None:
        with pytest.raises(CallFailed, match=r"scope\.tools\.call"):
            await ask_user("Which month?")

    run(main())
