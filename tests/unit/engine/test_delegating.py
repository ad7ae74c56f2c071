"""A supervisor hands work to members: each in a context of its own, told at its depth, and whatever becomes of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel
from tests.support.bounded import run

from netra_apex import (
    AgentRegistry,
    BaseAgent,
    ChatAgent,
    Result,
    RunScope,
    Runtime,
    Settings,
    SupervisorAgent,
    UserExecutionContext,
    tool,
)
from netra_apex.core.conversations import Post
from netra_apex.core.events import DurableEvent, decode
from netra_apex.core.runs import RunStream
from netra_apex.testing import ScriptedModel
from netra_apex.testing.scripted import calls


class World:
    """What happened outside of the runs."""

    def __init__(self) -> None:
        self.paid: list[str] = []
        self.seen: list[tuple[str, UserExecutionContext]] = []
        self.held = asyncio.Event()
        self.go = asyncio.Event()


world: dict[str, World] = {}


@tool
async def pay(what: str) -> str:
    """Pays."""
    world["is"].paid.append(what)
    return f"paid {what}"


@tool(requires="gold:spend")
async def gild(what: str) -> str:
    """Gilds."""
    return f"gilded {what}"


class Greeter(BaseAgent):
    """Greets."""

    name = "greeter"

    async def run(self, task: str, scope: RunScope) -> str:
        world["is"].seen.append((task, scope.context))
        return f"Hello {task}"


class Payer(BaseAgent):
    """Pays what it is told to."""

    name = "payer"

    async def run(self, task: str, scope: RunScope) -> list[str]:
        done = [await scope.tools.call(pay, f"{task} 1")]
        world["is"].held.set()
        await world["is"].go.wait()
        return [*done, await scope.tools.call(pay, f"{task} 2")]


class Failing(BaseAgent):
    """Fails."""

    name = "failing"

    async def run(self, task: str, scope: RunScope) -> str:
        raise LookupError(task)


class Hanging(BaseAgent):
    """Never ends, and lets nobody stop it quickly."""

    name = "hanging"
    timeout = 0.2

    async def run(self, task: str, scope: RunScope) -> str:
        await scope.think("waiting")
        world["is"].held.set()
        await asyncio.Event().wait()
        return task


class Patient(Hanging):
    """Waits for as long as it may."""

    name = "patient"
    timeout = None


class Gilder(ChatAgent):
    """Gilds, if its user may."""

    name = "gilder"
    requires = "gold:spend"
    tools = (gild,)


class Order(BaseModel):
    """What is ordered."""

    item: str
    count: int = 1


class Buyer(BaseAgent):
    """Buys."""

    name = "buyer"
    input_type = Order
    output_type: ClassVar[Any] = Order

    async def run(self, task: Order, scope: RunScope) -> Order:
        return Order(item=task.item, count=task.count + 1)


class Teller(ChatAgent):
    """Asks the model about its task and what it is shown besides."""

    name = "teller"


class Deep(SupervisorAgent):
    """Hands its task to a greeter."""

    name = "deep"
    members = (Greeter,)

    async def run(self, task: str, scope: RunScope) -> Any:
        return told(await scope.delegate(Greeter, task))


class Lead(SupervisorAgent):
    """Does what its task says: `agent:task` pairs, one after another, or side by side where it begins with `all`."""

    name = "lead"
    members = (Greeter, Payer, Failing, Hanging, Patient, Gilder, Buyer, Teller, Deep)

    async def run(self, task: str, scope: RunScope) -> list[Any]:
        words = task.split()
        if words[0] != "all":
            return [told(await self.hand(word, scope)) for word in words]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.hand(word, scope)) for word in words[1:]]
        return [told(each.result()) for each in tasks]

    async def hand(self, word: str, scope: RunScope) -> Result:
        name, _, what = word.partition(":")
        member = next(each for each in self.members if each.name == name)
        what, _, share = what.partition("+")
        return await scope.delegate(member, what, share=tuple(filter(None, share.split(","))))


class Chooser(SupervisorAgent):
    """Has the model choose."""

    name = "chooser"
    instructions = "Choose."
    members = (Greeter, Failing, Gilder, Buyer)


class Stranger(SupervisorAgent):
    """Hands work to somebody who is no member."""

    name = "stranger"
    members = (Greeter,)

    async def run(self, task: str, scope: RunScope) -> Any:
        return await scope.delegate(Payer, task)


def told(result: Result) -> Any:
    return result.output if result.ok else [result.error and result.error.code, result.error and result.error.message]


@asynccontextmanager
async def runtime(home: Path, model: Any = None, **settings: Any) -> AsyncIterator[Runtime]:
    registry = AgentRegistry([Lead, Chooser, Stranger, Teller, Hanging])
    given = Settings(home=home, **{"drain_seconds": 0.01} | settings)
    async with Runtime(registry, given, model=model or ScriptedModel([])) as made:
        yield made


async def follow(process: Runtime, run_id: str) -> list[DurableEvent]:
    """Every event of the run, whose stream is well formed."""
    events = [decode(body) async for seq, body in process.reader.follow("ada", run_id, 0) if seq is not None]
    stream = RunStream()
    for event in events:
        stream.admit(event)
    assert not stream.open_agents
    return events


async def post(process: Runtime, task: str, agent: str = "lead", *permissions: str, thread: str | None = None) -> Any:
    return await process.admission.post(
        "ada", frozenset(permissions), Post(content=task, agent=agent, thread_id=thread)
    )


def outcome(home: Path, task: str, *permissions: str, model: Any = None, agent: str = "lead", **settings: Any) -> Any:
    """(what the run gave, its events)."""

    async def main() -> tuple[Any, list[DurableEvent]]:
        world["is"] = World()
        async with runtime(home, model, **settings) as process:
            accepted = await post(process, task, agent, *permissions)
            events = await follow(process, accepted.run_id)
        return getattr(events[-1], "output", events[-1]), events

    return run(main())


def kinds(events: list[DurableEvent], depth: int | None = None) -> list[str]:
    return [
        f"{each.depth} {each.agent} {each.__struct_config__.tag}"
        for each in events
        if depth is None or each.depth == depth
    ]


def test_a_member_tells_its_five_events_one_deeper_between_the_ends_of_its_call(tmp_path: Path) -> None:
    output, events = outcome(tmp_path, "deep:bob")
    assert output == ["Hello bob"]
    assert kinds(events) == [
        "0 lead agent_started",
        "0 lead agent_thinking",
        "0 lead tool_executing",
        "1 deep agent_started",
        "1 deep agent_thinking",
        "1 deep tool_executing",
        "2 greeter agent_started",
        "2 greeter agent_thinking",
        "2 greeter agent_completed",
        "1 deep tool_completed",
        "1 deep agent_completed",
        "0 lead tool_completed",
        "0 lead agent_completed",
    ]
    outer, inner = [each for each in events if kinds([each])[0].endswith("tool_executing")]
    assert (outer.tool, outer.arguments) == ("delegate_deep", {"task": "bob"})
    assert {(each.parent_agent, each.parent_call_id) for each in events if each.depth == 2} == {("deep", inner.call_id)}
    assert {(each.parent_agent, each.parent_call_id) for each in events if each.depth == 1} == {("lead", outer.call_id)}


def test_a_member_acts_in_a_context_of_its_own_with_no_more_permissions(tmp_path: Path) -> None:
    outcome(tmp_path, "deep:bob", "orders:read")
    ((_, context),) = world["is"].seen
    assert (context.user_id, context.depth, context.permissions) == ("ada", 2, {"orders:read"})
    assert context.parent_audit_id not in (None, context.audit_id)
    assert context.deadline is not None
    assert context.idempotency_key is None


def test_a_failed_member_is_a_result_and_the_others_go_on(tmp_path: Path) -> None:
    output, events = outcome(tmp_path, "all failing:x greeter:bob hanging:y")
    failed, greeted, hung = output
    assert failed == ["agent_error", "failing failed (agent_error): LookupError: x"]
    assert greeted == "Hello bob"
    assert hung == ["agent_timeout", "hanging failed (agent_timeout): hanging was active for longer than 0.2 s"]
    ends = {each.agent: each for each in events if each.depth == 1 and hasattr(each, "retryable")}
    assert {name: end.code for name, end in ends.items()} == {"failing": "agent_error", "hanging": "agent_timeout"}
    codes = {each.tool: each.error.code for each in events if hasattr(each, "ok") and not each.ok}
    assert codes == {"delegate_failing": "error", "delegate_hanging": "timeout"}


def test_an_agents_own_time_counts_where_it_is_the_runs_agent_too(tmp_path: Path) -> None:
    ending, _ = outcome(tmp_path, "x", agent="hanging")
    assert (ending.code, ending.message) == ("agent_timeout", "the agent was active for longer than 0.2 s")


def test_a_member_has_only_a_part_of_the_time_that_its_supervisor_has(tmp_path: Path) -> None:
    ((code, message),), events = outcome(tmp_path, "patient:x", agent_timeout_seconds=2)
    assert code == "agent_timeout"
    assert kinds(events)[-1] == "0 lead agent_completed", message


def test_who_lacks_a_members_permission_is_denied(tmp_path: Path) -> None:
    ((code, _),), events = outcome(tmp_path, "gilder:ring")
    assert code == "denied"
    assert not any(each.depth for each in events)


def test_only_members_are_handed_work_and_only_what_is_there_is_shared(tmp_path: Path) -> None:
    ending, _ = outcome(tmp_path, "x", agent="stranger")
    assert (ending.code, ending.message) == ("agent_error", "TypeError: Payer is no member of stranger")
    ending, _ = outcome(tmp_path, "greeter:x+nothing")
    assert "which is neither 'history' nor 'files' nor a member that has answered" in ending.message


def test_a_member_sees_its_task_and_what_is_shared_with_it_and_nothing_else(tmp_path: Path) -> None:
    async def main() -> list[list[str]]:
        world["is"] = World()
        model = ScriptedModel(["Earlier answer", "one", "two", "three"])
        async with runtime(tmp_path, model) as process:
            first = await post(process, "Earlier question", "teller")
            await follow(process, first.run_id)
            task = "greeter:bob teller:what teller:what+history teller:what+greeter"
            accepted = await post(process, task, thread=first.thread_id)
            await follow(process, accepted.run_id)
        model.assert_done()
        return [[each.content for each in request.messages] for request in model.requests[1:]]

    assert run(main()) == [
        ["what"],
        ["Earlier question", "Earlier answer", "what"],
        ["From greeter:\nHello bob", "what"],
    ]


def test_what_members_say_is_not_in_the_thread(tmp_path: Path) -> None:
    async def main() -> list[str]:
        world["is"] = World()
        async with runtime(tmp_path, ScriptedModel(["A secret of the member's"])) as process:
            accepted = await post(process, "teller:what")
            await follow(process, accepted.run_id)
            page = await process.stores.conversations.messages("ada", accepted.thread_id)
            return [each.content for each in page.items]

    assert run(main()) == ["teller:what", '["A secret of the member\'s"]']


def test_the_model_is_offered_the_members_and_hands_out_work_side_by_side(tmp_path: Path) -> None:
    model = ScriptedModel(
        [
            calls(
                ("delegate_greeter", {"task": "bob"}),
                ("delegate_failing", {"task": "x"}),
                ("delegate_buyer", {"item": "pen", "count": 2}),
                ("delegate_buyer", {"item": 3}),
                ("delegate_gilder", {"task": "ring"}),
            ),
            lambda request: " | ".join(each.content for each in request.messages[-5:]),
        ]
    )
    output, events = outcome(tmp_path, "go", agent="chooser", model=model)
    offered = {each.name: each.parameters for each in model.requests[0].tools}
    assert list(offered) == ["delegate_greeter", "delegate_failing", "delegate_buyer"], "not who may not be asked"
    assert offered["delegate_greeter"]["properties"].keys() == {"task"}
    assert offered["delegate_buyer"]["properties"].keys() == {"item", "count"}
    assert output.split(" | ") == [
        "Hello bob",
        "Error (error): failing failed (agent_error): LookupError: x",
        '{"item":"pen","count":3}',
        "Error (invalid_arguments): item should be a valid string",
        "Error (denied): delegate_gilder needs the permission gold:spend, which this user does not have",
    ]
    assert [each for each in kinds(events, 1) if "started" in each] == [
        "1 greeter agent_started",
        "1 failing agent_started",
        "1 buyer agent_started",
    ]


def test_a_typed_member_takes_and_gives_its_type(tmp_path: Path) -> None:
    class Shop(SupervisorAgent):
        """Buys two things."""

        name = "shop"
        members = (Buyer,)

        async def run(self, task: str, scope: RunScope) -> Any:
            by_value = await scope.delegate(Buyer, Order(item="pen"))
            by_fields = await scope.delegate(Buyer, {"item": "ink", "count": 4})
            wrong = await scope.delegate(Buyer, {"item": "ink", "cost": 4, "count": "many"})
            assert isinstance(by_value.output, Order)
            return [by_value.output, by_fields.output, told(wrong)]

    async def main() -> Any:
        async with Runtime(AgentRegistry([Shop, Buyer]), Settings(home=tmp_path), model=ScriptedModel([])) as process:
            async with process.engines.for_user(UserExecutionContext.new("ada")) as engine:
                bought = await engine.run("shop", "go")
            async with process.engines.for_user(UserExecutionContext.new("ada")) as engine:
                alone = await engine.run("buyer", '{"item": "nib"}')
            async with process.engines.for_user(UserExecutionContext.new("ada")) as engine:
                wrong = await engine.run("buyer", "a nib")
            return bought.output, alone.output, wrong.error

    bought, alone, wrong = run(main())
    assert bought[:2] == [{"item": "pen", "count": 2}, {"item": "ink", "count": 5}]
    assert bought[2][0] == "invalid_arguments"
    assert alone == {"item": "nib", "count": 2}
    assert wrong.code == "agent_error"
    assert "buyer takes Order as JSON" in wrong.message


def test_what_members_used_counts_for_the_run(tmp_path: Path) -> None:
    _, events = outcome(tmp_path, "teller:what teller:more", model=ScriptedModel(["one two", "three"]))
    assert events[-1].usage.requests == 2
    assert [each.usage.requests for each in events if each.depth == 1 and hasattr(each, "usage")] == [1, 1]


def test_work_is_handed_down_no_deeper_than_allowed_and_never_in_a_circle(tmp_path: Path) -> None:
    output, _ = outcome(tmp_path, "deep:x", agent_depth=1)
    assert output == [["error", "agents hand work down at most 1 deep"]]

    class Round(SupervisorAgent):
        """Hands its task round."""

        name = "round"
        members: ClassVar[tuple[type[BaseAgent], ...]] = (Greeter,)

        async def run(self, task: str, scope: RunScope) -> Any:
            return told(await scope.delegate(Round, task))

    Round.members = (Round,)

    async def main() -> Any:
        async with (
            Runtime(AgentRegistry([Round]), Settings(home=tmp_path), model=ScriptedModel([])) as process,
            process.engines.for_user(UserExecutionContext.new("ada")) as engine,
        ):
            return (await engine.run("round", "go")).output

    code, message = run(main())
    assert code == "error"
    assert "round → round" in message


@pytest.mark.parametrize("how", ["cancel", "time"])
def test_a_run_that_is_stopped_ends_its_members_first(tmp_path: Path, how: str) -> None:
    async def main() -> list[DurableEvent]:
        world["is"] = World()
        seconds = 30 if how == "cancel" else 1
        async with runtime(tmp_path, agent_timeout_seconds=seconds) as process:
            accepted = await post(process, "all patient:x payer:y")
            await world["is"].held.wait()
            if how == "cancel":
                await process.admission.cancel("ada", accepted.run_id)
            return await follow(process, accepted.run_id)

    events = run(main())
    ends = [
        each for each in kinds(events) if each.endswith(("_completed", "_failed", "_cancelled")) and "tool" not in each
    ]
    if how == "cancel":
        assert ends[-1] == "0 lead agent_cancelled"
        assert sorted(ends[:-1]) == ["1 patient agent_cancelled", "1 payer agent_cancelled"]
        assert {each.by for each in events if hasattr(each, "by")} == {"ada"}
    else:
        assert sorted(ends[:-1]) == ["1 patient agent_failed", "1 payer agent_failed"]


def test_what_a_member_has_done_is_not_done_again_after_a_restart(tmp_path: Path) -> None:
    async def main() -> tuple[list[DurableEvent], list[str]]:
        world["is"] = World()
        async with runtime(tmp_path) as process:
            accepted = await post(process, "greeter:bob payer:bill deep:eve")
            await world["is"].held.wait()
        paid = world["is"].paid
        for _ in range(2):
            world["is"] = World()
            async with runtime(tmp_path) as process:
                await world["is"].held.wait()
            paid += world["is"].paid
        world["is"] = World()
        async with runtime(tmp_path) as process:
            await world["is"].held.wait()
            world["is"].go.set()
            return await follow(process, accepted.run_id), paid + world["is"].paid

    events, paid = run(main())
    assert paid == ["bill 1", "bill 2"]
    assert events[-1].output == ["Hello bob", ["paid bill 1", "paid bill 2"], "Hello eve"]
    started = [each for each in kinds(events) if each.endswith("agent_started")]
    assert started == [
        "0 lead agent_started",
        "1 greeter agent_started",
        "1 payer agent_started",
        "1 deep agent_started",
        "2 greeter agent_started",
    ]


def test_members_that_were_at_work_side_by_side_go_on_after_a_restart(tmp_path: Path) -> None:
    async def main() -> tuple[list[DurableEvent], list[str]]:
        world["is"] = World()
        model = ScriptedModel(["said"])
        async with runtime(tmp_path, model) as process:
            accepted = await post(process, "all payer:a teller:what payer:b")
            await world["is"].held.wait()
        before = world["is"].paid
        world["is"] = World()
        async with runtime(tmp_path, ScriptedModel([] if not model._scripts[None] else ["said"])) as process:
            world["is"].go.set()
            return await follow(process, accepted.run_id), before + world["is"].paid

    events, paid = run(main())
    assert sorted(paid) == ["a 1", "a 2", "b 1", "b 2"]
    assert events[-1].output == [["paid a 1", "paid a 2"], "said", ["paid b 1", "paid b 2"]]
