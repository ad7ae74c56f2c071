"""The journal in the database: stored with its events or not at all, sealed, and only by who has the run now."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run, turns
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
    RunQueued,
)
from netra_apex.core.ids import new_id
from netra_apex.core.journal import Step
from netra_apex.core.messages import NO_USAGE
from netra_apex.core.runs import Claim
from netra_apex.errors import StoreError
from netra_apex.settings import Settings
from netra_apex.stores import Stores, open_stores

STARTED = AgentStarted(task="hi")
THOUGHT = AgentThinking(text="hm", step=1)
COMPLETED = AgentCompleted(output="hello", usage=NO_USAGE, duration_ms=1)
ENDINGS = (COMPLETED, AgentFailed(code="agent_error", message="no", retryable=False), AgentCancelled(by="ada"))

FULL = Step(
    key="f1.2", kind="call", name="pay", digest="d", state="finished", call_id="call_1", attempt=2, result={"value": 1}
)


def step(key: str = "1", **values: Any) -> Step:
    plain: dict[str, Any] = {"kind": "model", "name": "model", "digest": "d", "state": "finished", "result": {"a": key}}
    return Step(key=key, **plain | values)


def with_stores(
    home: Path, main: Callable[[Stores], Awaitable[None]], *, secret: str | None = "the server's secret"
) -> None:
    async def bounded() -> None:
        async with open_stores(Settings.load(home=home), secret=secret) as stores:
            await main(stores)

    run(bounded())


async def put(
    stores: Stores, accepted: Accepted, events: Sequence[DurableEvent], *steps: Step, first: int = 1, epoch: int = 1
) -> None:
    await stores.runs.append(context_of(accepted), stamped(*events, first=first), steps, epoch=epoch)


async def journal(stores: Stores, accepted: Accepted, user: str = "ada") -> tuple[Step, ...]:
    return await stores.journals.steps(user, accepted.run_id)


async def told(stores: Stores, accepted: Accepted) -> int:
    """How many events of the run are stored."""
    return len(await stores.runs.events("ada", accepted.run_id, 0))


async def take_up(stores: Stores, user: str, run_id: str) -> Claim | None:
    """As who finds that the process that had it is gone."""
    assert HERE.executor is not None
    await stores.turns.leave_all_of(HERE.executor)
    return await stores.turns.claim(user, run_id, HERE.executor)


async def claim(stores: Stores, accepted: Accepted) -> Claim:
    made = await take_up(stores, "ada", accepted.run_id)
    assert made is not None
    return made


def test_a_step_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    steps = [
        FULL,
        step("1", result=None, state="started"),
        step("2", result={"value": None}),
        step("5", result=0),
        step("3", result=[0, 0.1, "é😀\0", {"deep": [True, None]}]),
        step("step:price", kind="step", name="price", digest=""),
        step("4", kind="call", state="unknown", call_id="call_2", result={"failed": ["unknown_outcome", "nobody"]}),
    ]

    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        await put(stores, accepted, [STARTED, THOUGHT], *steps[:3])
        await put(stores, accepted, [], *steps[3:])
        assert await journal(stores, accepted) == tuple(sorted(steps, key=lambda each: each.key))
        assert await told(stores, accepted) == 2

    with_stores(tmp_path, main)

    async def later(stores: Stores) -> None:
        (unfinished,) = await stores.runs.all_runs()
        assert len(await stores.journals.steps("ada", unfinished.run_id)) == len(steps)

    with_stores(tmp_path, later)


def test_a_step_that_has_ended_takes_the_place_of_its_beginning(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        begun = step("1", kind="call", state="started", call_id="call_1", result=None)
        done = step("1", kind="call", call_id="call_1", attempt=2, result={"text": "ok"})
        await put(stores, accepted, [STARTED], begun)
        assert await journal(stores, accepted) == (begun,)
        await put(stores, accepted, [], done)
        assert await journal(stores, accepted) == (done,)
        rows = await raw(stores, "select started_at, ended_at from steps")
        assert len(rows) == 1
        assert rows[0][0] <= rows[0][1]

    with_stores(tmp_path, main)


BAD = step("9", kind="nonsense")


@pytest.mark.parametrize(
    ("events", "first", "steps"),
    [
        ([THOUGHT], 3, [step("2")]),  # a gap in the stream
        ([THOUGHT], 1, [step("2")]),  # an event that is there already
        ([THOUGHT], 2, [step("2"), BAD]),
        ([THOUGHT], 2, [BAD, step("2")]),
        ([THOUGHT, THOUGHT, COMPLETED, THOUGHT], 2, [step("2"), step("1", result="changed")]),  # beyond the ending
    ],
    ids=["a gap", "a repetition", "a bad step", "a bad step first", "beyond the ending"],
)
def test_steps_and_events_are_stored_together_or_not_at_all(
    tmp_path: Path, events: list[DurableEvent], first: int, steps: list[Step]
) -> None:
    async def main(stores: Stores) -> None:
        accepted, other = await accept(stores), await accept(stores, content="beside")
        await put(stores, accepted, [STARTED], step("1"))
        # In the same commit: what is undone is this run's alone.
        beside = stores.runs.append(context_of(other), stamped(STARTED), [step("1")])
        with pytest.raises(StoreError):
            await put(stores, accepted, events, *steps, first=first)
        await beside
        assert await journal(stores, accepted) == (step("1"),)
        assert await told(stores, accepted) == 1
        assert await journal(stores, other) == (step("1"),)
        assert await told(stores, other) == 1

    with_stores(tmp_path, main)


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: type(ending).__name__)
def test_the_last_step_is_stored_with_the_ending_and_none_after_it(tmp_path: Path, ending: DurableEvent) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        await put(stores, accepted, [STARTED, THOUGHT, ending], step("1"))
        for late in (step("2"), step("1", result="changed")):
            with pytest.raises(StoreError, match=f"run {accepted.run_id} has ended: nothing follows"):
                await put(stores, accepted, [], late)
        assert await journal(stores, accepted) == (step("1"),)

    with_stores(tmp_path, main)


def test_a_run_that_does_not_exist_has_no_steps(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        context = UserExecutionContext.new("ada")
        with pytest.raises(StoreError, match=f"run {context.run_id} does not exist"):
            await stores.runs.append(context, [], [step()])
        assert await stores.journals.steps("ada", context.run_id) == ()

    with_stores(tmp_path, main)


def test_a_journal_is_its_users_own(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        await put(stores, accepted, [STARTED], step("1"))
        assert await journal(stores, accepted, "bob") == ()
        foreign = context_of(accepted, "bob")
        for events in ([], stamped(THOUGHT, first=2)):
            with pytest.raises(StoreError, match="does not exist"):
                await stores.runs.append(foreign, events, [step("1", result="bob's"), step("2")])
        assert await journal(stores, accepted) == (step("1"),)

    with_stores(tmp_path, main)


def test_a_deleted_thread_takes_its_journal_with_it(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        await put(stores, accepted, [STARTED, THOUGHT, COMPLETED], step("1"))
        await raw(stores, "delete from threads")
        assert await raw(stores, "select count(*) from steps") == [(0,)]

    with_stores(tmp_path, main)


SECRET = "the door code is 4711"


def in_files(home: Path) -> bytes:
    """All that is in the database's files, the write-ahead log included."""
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_the_files_have_no_plain_text_of_a_result(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        await put(stores, accepted, [STARTED], step("1", result={"text": SECRET}), step("2", result=[SECRET] * 1000))
        written = in_files(tmp_path) or repr(await raw(stores, "select * from steps")).encode()
        assert accepted.run_id.encode() in written, "this is where it stands"
        assert SECRET.encode() not in written
        assert b"4711" not in written
        assert (await journal(stores, accepted))[0].result == {"text": SECRET}

    with_stores(tmp_path, main)


def test_a_journal_cannot_be_read_with_another_secret(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        await put(stores, await accept(stores), [STARTED], step("1", result=None, state="started"), step("2"))

    async def with_another(stores: Stores) -> None:
        (unfinished,) = await stores.runs.all_runs()
        with pytest.raises(StoreError, match="NETRA_SECRET_KEY has changed"):
            await stores.journals.steps("ada", unfinished.run_id)

    with_stores(tmp_path, main)
    with_stores(tmp_path, with_another, secret="another one")


@pytest.mark.parametrize(
    "moved",
    [
        "update steps set step = '2'",
        "update steps set run_id = 'OTHER'",
        "update steps set content = substr(content, 2)",
    ],
)
def test_a_sealed_step_cannot_be_moved_or_changed_in_the_file(tmp_path: Path, moved: str) -> None:
    async def main(stores: Stores) -> None:
        accepted, other = await accept(stores), await accept(stores)
        await put(stores, accepted, [STARTED], step("1"))
        await raw(stores, moved.replace("OTHER", other.run_id))
        ((holder,),) = await raw(stores, "select run_id from steps")
        with pytest.raises(StoreError, match="cannot be read"):
            await stores.journals.steps("ada", holder)

    with_stores(tmp_path, main)


def test_a_command_beside_the_server_can_neither_read_nor_write_a_journal(tmp_path: Path) -> None:
    without = "by who executes runs, with the server's secret"

    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        with pytest.raises(StoreError, match=without):
            await put(stores, accepted, [STARTED], step("1"))
        assert await told(stores, accepted) == 0
        async with open_stores(Settings.load(home=tmp_path), secret="the server's secret") as server:
            await put(server, accepted, [STARTED], step("1"))
        with pytest.raises(StoreError, match=without):
            await journal(stores, accepted)

    with_stores(tmp_path, main, secret=None)


def test_who_takes_a_run_up_is_told_what_it_was_asked_and_allowed(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        context = UserExecutionContext.new("ada", permissions=["orders:read", "orders:*"])
        await stores.runs.accept(context, Post(content="What is\nup?"), agent="helper", seat=HERE)
        any_run = await stores.runs.run("ada", context.run_id)
        assert any_run is not None
        assert await take_up(stores, "ada", context.run_id) == Claim(
            epoch=2,
            recoveries=1,
            posted=True,
            permissions=frozenset({"orders:read", "orders:*"}),
            task="What is\nup?",
            run=any_run,
        )
        own = UserExecutionContext.new("ada", permissions=["orders:read"])
        await stores.runs.begin(own, "helper", "a program's")
        made = await take_up(stores, "ada", own.run_id)
        assert made is not None
        assert (made.posted, made.permissions, made.task) == (False, {"orders:read"}, "a program's")

    with_stores(tmp_path, main)


def test_who_had_a_run_before_can_store_nothing_in_it_any_more(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        await put(stores, accepted, [STARTED], step("1"))
        assert [(await claim(stores, accepted)).epoch for _ in range(2)] == [2, 3]
        taken = f"run {accepted.run_id} was taken up by another process"
        attempts: list[tuple[list[DurableEvent], list[Step]]] = [
            ([THOUGHT], []),
            ([], [step("2")]),
            ([], [step("1", result="changed")]),
            ([THOUGHT], [step("2")]),
            *([([ending], []) for ending in ENDINGS]),
        ]
        for epoch in (1, 2, 4):
            for events, steps in attempts:
                with pytest.raises(StoreError, match=taken):
                    await put(stores, accepted, events, *steps, first=2, epoch=epoch)
        assert await journal(stores, accepted) == (step("1"),)
        assert await told(stores, accepted) == 1
        await put(stores, accepted, [THOUGHT], step("2"), first=2, epoch=3)
        assert await journal(stores, accepted) == (step("1"), step("2"))
        await put(stores, accepted, [COMPLETED], first=3, epoch=3)
        with pytest.raises(StoreError, match=taken):
            await put(stores, accepted, [], step("3"), epoch=1)

    with_stores(tmp_path, main)


def test_what_was_on_its_way_when_a_run_was_taken_up_is_stored_before_or_not_at_all(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        before = stores.runs.append(context_of(accepted), stamped(STARTED), [step("1")])
        taking = asyncio.ensure_future(take_up(stores, "ada", accepted.run_id))
        await turns(1)  # it has asked
        behind = stores.runs.append(context_of(accepted), stamped(THOUGHT, first=2), [step("2")])
        ends = await asyncio.gather(before, behind, return_exceptions=True)
        assert await taking is not None
        # Which of them is first is the database's to say; what was refused is not there, nor what came after it.
        stored = [end is None for end in ends]
        assert all(end is None or "taken up by another process" in str(end) for end in ends)
        assert stored != [False, True]
        assert await journal(stores, accepted) == (step("1"), step("2"))[: sum(stored)]
        async with opened(tmp_path) as elsewhere:
            assert (await claim(elsewhere, accepted)).epoch == 3
        with pytest.raises(StoreError, match="taken up by another process"):
            await put(stores, accepted, [], step("2"), epoch=2)

    with_stores(tmp_path, main)


def test_a_run_that_has_ended_or_is_anothers_cannot_be_taken_up(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        assert await take_up(stores, "bob", accepted.run_id) is None
        assert await take_up(stores, "ada", new_id("run")) is None
        await put(stores, accepted, [STARTED])  # nobody has taken it up: the first epoch may write
        for number, ending in enumerate(ENDINGS):
            ended = await accept(stores, content=str(number))
            await put(stores, ended, [STARTED, THOUGHT, ending])
            assert await take_up(stores, "ada", ended.run_id) is None
        assert (await claim(stores, accepted)).epoch == 2

    with_stores(tmp_path, main)


def test_recoveries_are_counted_until_a_step_is_finished(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        await put(stores, accepted, [STARTED])
        assert [(await claim(stores, accepted)).recoveries for _ in range(3)] == [1, 2, 3]
        await put(stores, accepted, [], step("1", state="started", result=None), epoch=4)
        await put(stores, accepted, [THOUGHT], first=2, epoch=4)
        assert (await claim(stores, accepted)).recoveries == 4, "what was begun and told is no progress"
        await put(stores, accepted, [], step("1"), epoch=5)
        assert [(await claim(stores, accepted)).recoveries for _ in range(3)] == [1, 2, 3]
        await put(stores, accepted, [], step("1", attempt=2), epoch=8)
        assert (await claim(stores, accepted)).recoveries == 1

    with_stores(tmp_path, main)


def test_a_run_that_waits_for_its_turn_is_taken_up_however_often(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        await put(stores, accepted, [RunQueued(reason="busy")])
        assert [(await claim(stores, accepted)).recoveries for _ in range(4)] == [1] * 4
        await put(stores, accepted, [STARTED], first=2, epoch=5)
        assert [(await claim(stores, accepted)).recoveries for _ in range(2)] == [2, 3]

    with_stores(tmp_path, main)
