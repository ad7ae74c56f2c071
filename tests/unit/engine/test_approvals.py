"""Runs in which a call waits for a person: left without a slot, taken up by the decision, and come to one end."""

import asyncio
import gc
import weakref
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.support.bounded import passed, run, until
from tests.support.postgres import PostgresServer

from netra_apex import (
    AgentRegistry,
    BaseAgent,
    CallFailed,
    ChatAgent,
    RunScope,
    Runtime,
    Settings,
    UserExecutionContext,
    tool,
)
from netra_apex.core.conversations import Accepted, Approval, Post
from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    ApprovalDecided,
    ApprovalRequested,
    DurableEvent,
    MessageReset,
    ToolCompleted,
    decode,
)
from netra_apex.core.runs import RunStatus
from netra_apex.errors import AlreadyDecided, Busy, Invalid, NotFound
from netra_apex.server.passwords import hash_password
from netra_apex.stores import open_stores
from netra_apex.testing import ScriptedModel

WAITING = RunStatus.WAITING
LOOK_SECONDS = 0.01  # between two looks at the database, which has other things to do


class World:
    """What outlives a process: what was done, and what holds it up."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.agents: weakref.WeakSet[BaseAgent] = weakref.WeakSet()


world: dict[str, World] = {}


@pytest.fixture(autouse=True)
def new_world() -> None:
    world["is"] = World()


def did() -> list[str]:
    return world["is"].did


async def gate(name: str) -> None:
    did().append(f"at {name}")
    await world["is"].gates[name].wait()


@tool(needs_approval=True)
async def pay(amount: int) -> str:
    """Pay."""
    did().append(f"pay {amount}")
    return f"paid {amount}"


@tool(needs_approval=True, requires="money:spend")
async def spend(amount: int) -> str:
    """Spend."""
    did().append(f"spend {amount}")
    return f"spent {amount}"


@tool
async def slow(name: str) -> str:
    """Takes until it is let go."""
    await gate(name)
    return f"did {name}"


@tool(needs_approval=True)
async def say(text: str) -> str:
    """Say something."""
    did().append(f"say {text}")
    return text


@tool(idempotent=True)
async def repeatable(amount: int, scope: RunScope) -> str:
    """Pays, in a call that may be made again."""
    did().append("repeatable")
    return f"{await scope.tools.call(pay, amount)} inside"


@tool
async def once(amount: int, scope: RunScope) -> str:
    """Pays, in a call that may not be made again."""
    try:
        return str(await scope.tools.call(pay, amount))
    except CallFailed as failed:
        return f"{failed.code}: {failed.message}"


async def paid(scope: RunScope, amount: int) -> str:
    try:
        return str(await scope.tools.call(pay, amount))
    except CallFailed as failed:
        return f"{failed.code}: {failed.message}"


class Chat(ChatAgent):
    """Answers, with tools."""

    name = "chat"
    instructions = "Pay."
    tools = (pay, spend, slow, say)


class Coded(BaseAgent):
    """Does by code what its task says."""

    name = "coded"

    async def run(self, task: str, scope: RunScope) -> Any:
        return await getattr(self, task)(scope)

    async def pays(self, scope: RunScope) -> Any:
        world["is"].agents.add(self)
        return await paid(scope, 1)

    async def pays_twice(self, scope: RunScope) -> Any:
        return await asyncio.gather(paid(scope, 1), paid(scope, 2))

    async def spends(self, scope: RunScope) -> Any:
        try:
            return await scope.tools.call(spend, 1)
        except CallFailed as failed:
            return failed.code

    async def says(self, scope: RunScope) -> Any:
        return await scope.tools.call(say, "a \0, password=hunter2-hunter2")

    async def slow_beside(self, scope: RunScope) -> Any:
        return await asyncio.gather(paid(scope, 1), scope.tools.call(slow, "beside"))

    async def asks_beside(self, scope: RunScope) -> Any:
        reply, payment = await asyncio.gather(scope.model("beside?"), paid(scope, 1))
        return [reply.text, payment]

    async def gives_up(self, scope: RunScope) -> Any:
        try:
            async with asyncio.timeout(0.01):
                await scope.tools.call(pay, 1)
        except TimeoutError:
            return "gave up"

    async def is_patient(self, scope: RunScope) -> Any:
        async with asyncio.timeout(0.5):
            return await scope.tools.call(pay, 1)

    async def rests_beside(self, scope: RunScope) -> Any:
        async def rest() -> str:
            did().append("begins to rest")
            await asyncio.sleep(0.3)  # an agent's own, which nobody knows of
            return await scope.tools.call(say, "rested")

        return await asyncio.gather(paid(scope, 1), rest())

    async def comes_late(self, scope: RunScope) -> Any:
        async def late() -> str:
            await asyncio.sleep(0.3)
            return await paid(scope, 2)

        async def first() -> str:
            await scope.tools.call(slow, "first")
            return await paid(scope, 1)

        return await asyncio.gather(late(), first())

    async def nested(self, scope: RunScope) -> Any:
        return await scope.tools.call(repeatable, 3)

    async def nested_once(self, scope: RunScope) -> Any:
        return await scope.tools.call(once, 3)

    async def in_a_step(self, scope: RunScope) -> Any:
        async def step() -> str:
            did().append("step")
            return await paid(scope, 4)

        return await scope.step("pay", step)

    async def leaves_it(self, scope: RunScope) -> Any:
        self.left = asyncio.create_task(paid(scope, 1))
        await until(lambda: True)
        await asyncio.sleep(0.02)
        return "left"

    async def answers(self, scope: RunScope) -> Any:
        await paid(scope, 1)
        reply = await scope.model("and now?")
        return reply.text


class Held(BaseAgent):
    """Runs until it is let go."""

    name = "held"

    async def run(self, task: str, scope: RunScope) -> str:
        await gate(task)
        return task


@asynccontextmanager
async def runtime(home: Path, model: Any = None, **settings: Any) -> AsyncIterator[Runtime]:
    registry = AgentRegistry([Chat, Coded, Held])
    given = Settings(home=home, **{"drain_seconds": 0.01} | settings)
    async with Runtime(registry, given, model=model or ScriptedModel([])) as process:
        yield process


async def post(process: Runtime, task: str, agent: str = "coded", user: str = "ada", **more: Any) -> Accepted:
    return await process.admission.post(user, frozenset(), Post(content=task, agent=agent, **more))


async def when(process: Runtime, run_id: str, *statuses: RunStatus, user: str = "ada") -> None:
    """Returns once the run stands so; the test bounds it."""
    while True:
        found = await process.stores.runs.run(user, run_id)
        assert found is not None
        if found.status in statuses:
            return
        assert not found.status.ended, found.status
        await passed(LOOK_SECONDS)


async def waiting(process: Runtime, run_id: str, count: int = 1, user: str = "ada") -> tuple[Approval, ...]:
    """What a run asks that waits."""
    await when(process, run_id, WAITING, user=user)
    items = tuple(each for each in (await process.stores.approvals.pending(user)).items if each.run_id == run_id)
    assert len(items) == count
    return items


async def listed(process: Runtime) -> tuple[Approval, ...]:
    """What is asked, as soon as anything is."""
    while not (items := (await process.stores.approvals.pending("ada")).items):
        await passed(LOOK_SECONDS)
    return items


async def told(process: Runtime, run_id: str, user: str = "ada") -> list[DurableEvent]:
    """The run's events, to its end."""
    return [decode(text) async for seq, text in process.reader.follow(user, run_id, 0) if seq is not None]


def output(events: list[DurableEvent]) -> Any:
    ending = events[-1]
    assert isinstance(ending, AgentCompleted), ending
    return ending.output


def codes(events: list[DurableEvent]) -> list[str]:
    ends = [event for event in events if isinstance(event, ToolCompleted)]
    return ["ok" if not event.error else event.error.code for event in ends]


def kinds(events: list[DurableEvent]) -> list[str]:
    return [str(event.__struct_config__.tag) for event in events]


def played(home: Path, main: Callable[[Runtime], Awaitable[None]], model: Any = None, **settings: Any) -> None:
    async def bounded() -> None:
        async with runtime(home, model, **settings) as process:
            await main(process)

    run(bounded())


def test_a_call_that_a_model_asks_for_is_made_once_it_is_approved(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "pay", "chat")
        (asked,) = await waiting(process, accepted.run_id)
        assert (asked.tool, asked.arguments, asked.thread_id) == ("pay", '{"amount":5}', accepted.thread_id)
        assert did() == []
        decided = await process.house.decide("ada", asked.approval_id, "approve", None)
        assert decided.decision == "approve"
        events = await told(process, accepted.run_id)
        assert kinds(events) == [
            "agent_started", "agent_thinking", "tool_executing", "approval_requested", "approval_decided",
            "tool_completed", "message_completed", "agent_completed",
        ]  # fmt: skip
        assert (output(events), did()) == ("paid, then", ["pay 5"])

    model = ScriptedModel([("pay", {"amount": 5}), "paid, then"])
    played(tmp_path, main, model)
    assert len(model.requests) == 2, "what the model has answered is not asked again"
    assert model.requests[1].messages[-1].content == "paid 5"


def test_a_rejection_is_told_to_the_model_with_its_note_without_its_secrets(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "pay", "chat")
        (asked,) = await waiting(process, accepted.run_id)
        note = "  no, password=hunter2-hunter2  "
        await process.house.decide("ada", asked.approval_id, "reject", note)
        events = await told(process, accepted.run_id)
        assert codes(events) == ["rejected"]
        rows = await process.stores.approvals.decisions("ada", accepted.run_id)
        for text in (repr(events), repr(rows)):
            assert "hunter2" not in text
        assert did() == []

    model = ScriptedModel([("pay", {"amount": 5}), "well"])
    played(tmp_path, main, model)
    said = model.requests[1].messages[-1].content
    assert said.startswith("Error (rejected): ada rejected pay:   no, password=")
    assert "hunter2" not in said


@pytest.mark.parametrize("note", ["x" * 2001, "a\0b", "\ud800"])
def test_a_note_that_is_no_text_is_refused_and_decides_nothing(tmp_path: Path, note: str) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "pays")
        (asked,) = await waiting(process, accepted.run_id)
        with pytest.raises(Invalid, match="note"):
            await process.house.decide("ada", asked.approval_id, "reject", note)
        await waiting(process, accepted.run_id)
        await process.house.decide("ada", asked.approval_id, "reject", "  ")
        assert output(await told(process, accepted.run_id)) == "rejected: ada rejected pay"

    played(tmp_path, main)


def test_what_nobody_decides_on_in_time_is_told_as_expired_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netra_apex.durable.watch.EXPIRE_SECONDS", 0.05)

    async def main(process: Runtime) -> None:
        accepted = await post(process, "pays")
        events = await told(process, accepted.run_id)
        assert output(events) == "expired: nobody decided on pay in time"
        decided = [event for event in events if isinstance(event, ApprovalDecided)]
        assert [(event.decision, event.by) for event in decided] == [("expired", "system")]
        assert did() == []

    played(tmp_path, main, approval_days=0.3 / 86_400)


def test_of_two_calls_that_wait_each_is_made_when_it_is_approved(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "pays_twice")
        first, second = await waiting(process, accepted.run_id, 2)
        await process.house.decide("ada", second.approval_id, "approve", None)
        await until(lambda: did() == ["pay 2"])
        assert await waiting(process, accepted.run_id) == (first,)
        await process.house.decide("ada", first.approval_id, "reject", None)
        events = await told(process, accepted.run_id)
        assert output(events) == ["rejected: ada rejected pay", "paid 2"]
        assert kinds(events).count("approval_requested") == 2
        assert did() == ["pay 2"]

    played(tmp_path, main)


def test_a_slow_call_beside_one_that_waits_is_not_cut_off(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "slow_beside")
        await until(lambda: did() == ["at beside"])
        items = await listed(process)
        await passed(0.2)  # longer than a run that only waits is watched
        await when(process, accepted.run_id, RunStatus.RUNNING)
        world["is"].gates["beside"].set()
        assert await waiting(process, accepted.run_id) == items
        await process.house.decide("ada", items[0].approval_id, "approve", None)
        events = await told(process, accepted.run_id)
        assert output(events) == ["paid 1", "did beside"]
        assert did() == ["at beside", "pay 1"]

    played(tmp_path, main)


def test_a_model_request_beside_a_call_that_waits_is_not_cut_off_nor_asked_again(tmp_path: Path) -> None:
    async def answer(_: object) -> str:
        await gate("model")
        return "answered"

    async def main(process: Runtime) -> None:
        accepted = await post(process, "asks_beside")
        await until(lambda: "at model" in did())
        await passed(0.2)
        await when(process, accepted.run_id, RunStatus.RUNNING)
        world["is"].gates["model"].set()
        (asked,) = await waiting(process, accepted.run_id)
        await process.house.decide("ada", asked.approval_id, "approve", None)
        assert output(await told(process, accepted.run_id)) == ["answered", "paid 1"]

    model = ScriptedModel([answer])
    played(tmp_path, main, model)
    assert len(model.requests) == 1


def test_an_agent_may_give_up_a_call_that_waits(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "gives_up")
        events = await told(process, accepted.run_id)
        assert (output(events), codes(events)) == ("gave up", ["cancelled"])
        assert (await process.stores.approvals.pending("ada")).items == ()
        (asked,) = [event for event in events if isinstance(event, ApprovalRequested)]
        with pytest.raises(AlreadyDecided):
            await process.house.decide("ada", asked.approval_id, "approve", None)
        assert did() == []

    played(tmp_path, main)


def test_an_agents_own_time_out_does_not_count_the_waiting_nor_does_the_runs(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "is_patient")
        (asked,) = await waiting(process, accepted.run_id)
        await passed(0.7)
        await process.house.decide("ada", asked.approval_id, "approve", None)
        assert output(await told(process, accepted.run_id)) == "paid 1"

    played(tmp_path, main, agent_timeout_seconds=0.6)


def test_what_an_agent_does_of_its_own_beside_a_call_that_waits_begins_anew(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "rests_beside")
        (asked,) = await waiting(process, accepted.run_id)
        await process.house.decide("ada", asked.approval_id, "approve", None)
        (rested,) = await waiting(process, accepted.run_id)
        await process.house.decide("ada", rested.approval_id, "approve", None)
        assert output(await told(process, accepted.run_id)) == ["paid 1", "rested"]
        assert [each for each in did() if each != "begins to rest"] == ["pay 1", "say rested"]

    played(tmp_path, main)


def test_a_run_that_comes_late_to_what_was_decided_is_not_left_before(tmp_path: Path) -> None:
    """It would be taken up at once, and left again, without end."""

    async def main(process: Runtime) -> None:
        accepted = await post(process, "comes_late")
        await until(lambda: "at first" in did())
        (late,) = await listed(process)
        world["is"].gates["first"].set()
        _, first = await waiting(process, accepted.run_id, 2)
        await process.house.decide("ada", late.approval_id, "approve", None)
        await until(lambda: "pay 2" in did())
        await waiting(process, accepted.run_id)
        (row,) = [each for each in await process.stores.runs.all_runs() if each.run_id == accepted.run_id]
        assert row.status is WAITING
        epochs = await epoch_of(process, accepted.run_id)
        assert epochs <= 3, "taken up once for the one decision"
        await process.house.decide("ada", first.approval_id, "approve", None)
        assert output(await told(process, accepted.run_id)) == ["paid 2", "paid 1"]

    played(tmp_path, main)


async def epoch_of(process: Runtime, run_id: str) -> int:
    statement = f"select epoch from runs where run_id = '{run_id}'"
    rows = await process.stores.database.read(lambda tx: tx.all(statement, {}), user="ada")
    return int(rows[0][0])


def test_a_call_inside_one_that_may_be_made_again_waits_and_the_outer_one_is_made_again(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "nested")
        (asked,) = await waiting(process, accepted.run_id)
        await process.house.decide("ada", asked.approval_id, "approve", None)
        events = await told(process, accepted.run_id)
        assert (output(events), codes(events)) == ("paid 3 inside", ["ok", "ok"])
        assert did() == ["repeatable", "repeatable", "pay 3"]

    played(tmp_path, main)


def test_a_call_inside_one_that_may_not_be_made_again_asks_nobody(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        events = await told(process, (await post(process, "nested_once")).run_id)
        assert output(events).startswith("error: pay waits for a person, and is called inside a call of a tool that")
        assert "approval_requested" not in kinds(events)

    played(tmp_path, main)


def test_a_step_in_which_a_call_waits_begins_anew(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "in_a_step")
        (asked,) = await waiting(process, accepted.run_id)
        await process.house.decide("ada", asked.approval_id, "approve", None)
        assert output(await told(process, accepted.run_id)) == "paid 4"
        assert did() == ["step", "step", "pay 4"]

    played(tmp_path, main)


def test_an_agent_that_ends_beside_a_call_that_waits_has_ended(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        for _ in range(5):
            events = await told(process, (await post(process, "leaves_it")).run_id)
            assert (output(events), codes(events)) == ("left", ["cancelled"])
            assert (await process.stores.approvals.pending("ada")).items == ()

    played(tmp_path, main)


@pytest.mark.parametrize("how", ["cancel", "operator", "interrupt", "delete", "disable"])
def test_a_run_that_waits_can_be_cancelled(tmp_path: Path, how: str) -> None:
    async def main(process: Runtime) -> None:
        stores = process.stores
        await stores.accounts.add_user("ada", hash_password("correct horse battery"), frozenset())
        accepted = await post(process, "pays")
        (asked,) = await waiting(process, accepted.run_id)
        by = "ada"
        if how == "cancel":
            ended = await process.admission.cancel("ada", accepted.run_id)
            assert ended.status is RunStatus.CANCELLED
        elif how == "operator":
            async with runtime_stores(process) as beside:
                await beside.runs.request_cancel(accepted.run_id, "operator")
            by = "operator"
        elif how == "interrupt":
            await post(process, "gives_up", thread_id=accepted.thread_id, if_busy="interrupt")
        elif how == "delete":
            assert await process.admission.delete_thread("ada", accepted.thread_id)
            assert await stores.runs.run("ada", accepted.run_id) is None
        else:
            await stores.accounts.set_disabled("ada", disabled=True)
            await process.house.decide("ada", asked.approval_id, "approve", None)
            by = "system"
        if how != "delete":
            events = await told(process, accepted.run_id)
            assert events[-1] == AgentCancelled(by=by, **header(events[-1]))
            assert codes(events) == ["cancelled"]
        with pytest.raises(NotFound if how == "delete" else AlreadyDecided):
            await process.house.decide("ada", asked.approval_id, "approve", None)
        assert asked not in (await stores.approvals.pending("ada")).items
        assert did() == []

    played(tmp_path, main)


def header(event: DurableEvent) -> dict[str, Any]:
    names = ("seq", "run_id", "thread_id", "agent", "depth", "at", "parent_agent", "parent_call_id")
    return {name: getattr(event, name) for name in names}


@asynccontextmanager
async def runtime_stores(process: Runtime) -> AsyncIterator[Any]:
    async with open_stores(process.settings) as stores:
        yield stores


@pytest.mark.parametrize("when_cancelled", ["as it is left", "while it is left", "after it was left"])
def test_a_cancel_in_the_moment_in_which_a_run_is_left_is_not_lost(
    tmp_path: Path, when_cancelled: Literal["as it is left", "while it is left", "after it was left"]
) -> None:
    async def main(process: Runtime) -> None:
        real = process.stores.approvals.park
        cancels: list[asyncio.Task[Any]] = []

        async def park(user_id: str, run_id: str, epoch: int) -> bool:
            def cancel() -> None:
                cancels.append(asyncio.create_task(process.admission.cancel(user_id, run_id)))

            if when_cancelled == "as it is left":
                cancel()
                await passed(0.05)
                return await real(user_id, run_id, epoch)
            if when_cancelled == "while it is left":
                cancel()
                return await real(user_id, run_id, epoch)
            left = await real(user_id, run_id, epoch)
            cancel()
            await asyncio.sleep(0)
            return left

        process.stores.approvals.park = park  # type: ignore[method-assign]
        for _ in range(5):
            accepted = await post(process, "pays")
            events = await told(process, accepted.run_id)
            assert isinstance(events[-1], AgentCancelled)
            assert (await cancels.pop()).status is RunStatus.CANCELLED
            assert (await process.stores.approvals.pending("ada")).items == ()

    played(tmp_path, main)


def test_a_decision_in_the_moment_in_which_a_run_is_left_is_not_lost(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        real = process.stores.approvals.park
        turn = iter(range(1000))

        async def park(user_id: str, run_id: str, epoch: int) -> bool:
            items = (await process.stores.approvals.pending("ada")).items
            for each in items:
                deciding = asyncio.create_task(process.house.decide("ada", each.approval_id, "approve", None))
                if next(turn) % 2:
                    await deciding
            return await real(user_id, run_id, epoch)

        process.stores.approvals.park = park  # type: ignore[method-assign]
        for number in range(1, 11):
            events = await told(process, (await post(process, "pays_twice")).run_id)
            assert sorted(output(events)) == ["paid 1", "paid 2"]
            assert len(did()) == 2 * number

    played(tmp_path, main)


def test_a_run_that_waits_leaves_its_users_only_slot_to_another(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        waits = await post(process, "pays")
        (asked,) = await waiting(process, waits.run_id)
        holds = await post(process, "held", "held")
        await until(lambda: "at held" in did())
        await process.house.decide("ada", asked.approval_id, "approve", None)
        await when(process, waits.run_id, RunStatus.QUEUED)
        assert "pay 1" not in did(), "it has its turn as any other"
        world["is"].gates["held"].set()
        assert output(await told(process, holds.run_id)) == "held"
        assert output(await told(process, waits.run_id)) == "paid 1"

    played(tmp_path, main, runs_per_user=1)


def test_many_that_wait_hold_up_nobody_and_leave_nothing_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netra_apex.durable.watch.EXPIRE_SECONDS", 0.05)
    made: weakref.WeakSet[Coded] = weakref.WeakSet()
    real = Coded.pays

    async def pays(self: Coded, scope: RunScope) -> Any:
        made.add(self)
        return await real(self, scope)

    async def main(process: Runtime) -> None:
        posted = [await post(process, "pays", user=f"user{number}") for number in range(20)]
        for number, each in enumerate(posted):
            await when(process, each.run_id, WAITING, user=f"user{number}")
        await until(lambda: process.house.runner.live == 0)
        await until(lambda: len(process.hub) == 0)
        await until(lambda: gc.collect() >= 0 and not list(world["is"].agents))
        assert (await process.house.metrics())["runs_active"] == await process.stores.turns.waiting_runs() == 0
        accepted = await post(process, "gives_up")
        assert output(await told(process, accepted.run_id)) == "gave up"

    played(tmp_path, main, runs_per_process=2, runs_per_user=1)


def test_who_follows_a_run_that_waits_is_told_how_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netra_apex.durable.watch.EXPIRE_SECONDS", 0.05)

    async def main(process: Runtime) -> None:
        accepted = await post(process, "pays")
        early = asyncio.create_task(told(process, accepted.run_id))
        (asked,) = await waiting(process, accepted.run_id)
        await passed(0.3)  # what nobody follows is forgotten by then
        late = asyncio.create_task(told(process, accepted.run_id))
        by_hand = await process.reader.follower("ada", accepted.run_id, 0)
        assert by_hand.feed is not None
        process.hub.close(by_hand.feed)  # as if it had been forgotten between being looked up and followed
        follow = process.reader.follow_on("ada", by_hand)
        third = asyncio.create_task(texts(follow))
        await passed(0.05)
        await process.house.decide("ada", asked.approval_id, "approve", None)
        whole = await told(process, accepted.run_id)
        assert await early == await late == whole
        assert await third == len(whole)

    played(tmp_path, main)


async def texts(follow: AsyncIterator[tuple[int | None, str]]) -> int:
    return len([text async for seq, text in follow if seq is not None])


def test_text_that_comes_after_a_wait_is_not_told_as_written_anew(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "answers")
        (asked,) = await waiting(process, accepted.run_id)
        await process.house.decide("ada", asked.approval_id, "approve", None)
        frames = [text async for _, text in process.reader.follow("ada", accepted.run_id, 0)]
        assert not any(str(MessageReset.__struct_config__.tag) in text for text in frames)
        deltas = [text for text in frames if '"message_delta"' in text]
        assert deltas
        assert all('"attempt":1,' in text for text in deltas)

    played(tmp_path, main, ScriptedModel(["an answer of some words"]))


def test_a_message_for_a_thread_whose_run_waits_waits_behind_it_or_is_refused(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "pays")
        (asked,) = await waiting(process, accepted.run_id)
        behind = await post(process, "gives_up", thread_id=accepted.thread_id)
        assert behind.status == RunStatus.QUEUED
        with pytest.raises(Busy):
            await post(process, "gives_up", thread_id=accepted.thread_id, if_busy="reject")
        await process.house.decide("ada", asked.approval_id, "approve", None)
        assert output(await told(process, accepted.run_id)) == "paid 1"
        assert output(await told(process, behind.run_id)) == "gave up"

    played(tmp_path, main)


def test_arguments_are_listed_as_the_run_tells_them_without_their_secrets(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accepted = await post(process, "says")
        (asked,) = await waiting(process, accepted.run_id)
        assert "hunter2" not in asked.arguments
        await process.house.decide("ada", asked.approval_id, "approve", None)
        events = await told(process, accepted.run_id)
        (event,) = [event for event in events if isinstance(event, ApprovalRequested)]
        assert event.arguments["text"].startswith("a \0, password=[")
        rows: list[Any] = []
        for table in ("approvals", "events", "steps"):
            rows += await process.stores.database.read(
                lambda tx, table=table: tx.all(f"select * from {table}", {}), user="ada"
            )
        assert "hunter2" not in repr(rows)
        assert did() == ["say a \0, password=hunter2-hunter2"]

    played(tmp_path, main)


def test_a_permission_that_was_taken_away_while_the_call_waited_counts(tmp_path: Path) -> None:
    async def main(process: Runtime) -> None:
        accounts = process.stores.accounts
        await accounts.add_user("ada", hash_password("correct horse battery"), frozenset())
        held = frozenset({"money:spend"})
        accepted = await process.admission.post("ada", held, Post(content="spends", agent="coded"))
        (asked,) = await waiting(process, accepted.run_id)
        await process.house.decide("ada", asked.approval_id, "approve", None)
        events = await told(process, accepted.run_id)
        assert (output(events), codes(events), did()) == ("denied", ["denied"], [])

    played(tmp_path, main)


def test_what_was_asked_in_one_process_goes_on_in_the_next_however_often_it_ends(tmp_path: Path) -> None:
    async def main() -> None:
        async with runtime(tmp_path) as process:
            accepted = await post(process, "pays_twice")
            first, second = await waiting(process, accepted.run_id, 2)
        for _ in range(7):
            async with runtime(tmp_path) as process:
                await waiting(process, accepted.run_id, 2)
        # The decision is stored, and its process ends before it can do anything with it.
        async with open_stores(Settings(home=tmp_path)) as stores:
            await stores.approvals.decide("ada", first.approval_id, "approve", None)
        async with runtime(tmp_path) as process:
            await until(lambda: did() == ["pay 1"])
            await waiting(process, accepted.run_id)
            await process.house.decide("ada", second.approval_id, "approve", None)
            assert output(await told(process, accepted.run_id)) == ["paid 1", "paid 2"]
        assert did() == ["pay 1", "pay 2"]

    run(main())


def test_a_programs_own_run_waits_too_and_goes_on_by_itself_with_its_permissions(tmp_path: Path) -> None:
    async def main() -> None:
        context = UserExecutionContext.new("ada", permissions=["money:spend"])
        async with runtime(tmp_path) as process:
            async with process.engines.for_user(context) as engine:
                result = await engine.run("coded", "spends")
            assert result.error is not None
            assert (result.ok, result.error.code) == (False, "waiting")
            assert (await process.house.metrics())["runs_active"] == 0
            (asked,) = await waiting(process, context.run_id)
        async with runtime(tmp_path) as process:
            await process.house.decide("ada", asked.approval_id, "approve", None)
            assert output(await told(process, context.run_id)) == "spent 1"

    run(main())


def test_an_agent_that_is_no_longer_there_ends_the_run_that_waited(tmp_path: Path) -> None:
    async def main() -> None:
        async with runtime(tmp_path) as process:
            accepted = await post(process, "pays")
            (asked,) = await waiting(process, accepted.run_id)
        async with Runtime(AgentRegistry([Held]), Settings(home=tmp_path), model=ScriptedModel([])) as process:
            await process.house.decide("ada", asked.approval_id, "approve", None)
            events = await told(process, accepted.run_id)
        assert isinstance(events[-1], AgentFailed)
        assert (events[-1].code, codes(events), did()) == ("interrupted", ["cancelled"], [])

    run(main())


@pytest.mark.parametrize("verdict", ["approve", "reject"])
def test_a_decision_in_one_process_is_carried_out_by_whichever_has_room(
    tmp_path: Path, postgres: PostgresServer, verdict: Any
) -> None:
    async def main() -> None:
        with postgres.database() as database:
            shared = {"database_url": database.url, "secret_key": "the same of both processes, and long enough"}
            async with AsyncExitStack() as stack:
                one, other = [
                    await stack.enter_async_context(runtime(tmp_path / name, **shared)) for name in ("one", "other")
                ]
                for number in range(10):
                    before = len(did())
                    accepted = await post(one, "pays")
                    (asked,) = await waiting(other, accepted.run_id)
                    both = await asyncio.gather(
                        *(each.house.decide("ada", asked.approval_id, verdict, None) for each in (one, other)),
                        return_exceptions=True,
                    )
                    assert sum(isinstance(each, AlreadyDecided) for each in both) == 1, both
                    here, there = await asyncio.gather(told(one, accepted.run_id), told(other, accepted.run_id))
                    assert here == there
                    assert output(here) == ("paid 1" if verdict == "approve" else "rejected: ada rejected pay")
                    assert len(did()) - before == (verdict == "approve"), number

    run(main(), limit=60)
