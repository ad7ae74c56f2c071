"""What holds of an agent of ours holds of one that was written for another framework: told, stored, asked, stopped."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support import frameworks
from tests.support.bounded import passed, run, until
from tests.support.frameworks import FRAMEWORKS, World, world
from tests.support.wire_model import WireModel

from netra_apex import AgentRegistry, BaseAgent, Runtime, Settings
from netra_apex.core.conversations import Post
from netra_apex.core.events import AgentCompleted, AgentFailed, DurableEvent, ToolCompleted, decode
from netra_apex.core.messages import ModelMessage, SystemMessage, ToolCall, ToolMessage, UserMessage
from netra_apex.core.runs import RunStatus
from netra_apex.errors import ModelFailed
from netra_apex.providers.openai import OpenAIModel
from netra_apex.testing import Outcome, ScriptedModel, calls, harness

each_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
FIVE = ("agent_started", "agent_thinking", "tool_executing", "tool_completed", "message_completed", "agent_completed")


@pytest.fixture(autouse=True)
def new_world() -> None:
    world["is"] = World()


def made(framework: str) -> type[BaseAgent]:
    return FRAMEWORKS[framework]()


def asked(framework: str, content: str, *steps: Any, **more: Any) -> tuple[Outcome, ScriptedModel]:
    """One message of ada's to the agent of a framework, whose model says these steps."""

    async def main() -> tuple[Outcome, ScriptedModel]:
        registry = AgentRegistry([made(framework)])
        async with ScriptedModel(steps) as model, harness(registry, model=model) as app:
            return await app.ask(content, **more), model

    return run(main())


def conversation(model: ScriptedModel) -> list[tuple[ModelMessage, ...]]:
    return [request.messages for request in model.requests]


def ends(outcome: Outcome) -> list[tuple[str, str]]:
    """Each call's tool, and what it gave or why it did not."""
    return [(event.tool, event.error.code if event.error else str(event.result)) for event in outcome.of(ToolCompleted)]


# --- The same question


@each_framework
def test_the_same_question_is_told_by_the_same_events_and_asked_in_the_same_words(framework: str) -> None:
    steps = (("lookup", {"query": "a bicycle"}), "You have one.")
    outcome, model = asked(framework, "What do I have?", *steps)
    native, native_model = asked("native", "What do I have?", *steps)
    assert outcome.types == native.types == FIVE
    assert conversation(model) == conversation(native_model)
    assert model.requests[0].messages == (SystemMessage("Answer briefly."), UserMessage("What do I have?"))
    for request, same in zip(model.requests, native_model.requests, strict=True):
        assert {tool.name: tool.description for tool in request.tools} == {
            tool.name: tool.description for tool in same.tools
        }
        assert [sorted(tool.parameters["properties"]) for tool in request.tools] == [
            sorted(tool.parameters["properties"]) for tool in same.tools
        ]
    assert outcome.output == "You have one."
    assert (outcome.events[-1].usage, outcome.events[1].text) == (native.events[-1].usage, native.events[1].text)
    assert ends(outcome) == [("lookup", "a bicycle of ada")]


@each_framework
def test_calls_side_by_side_are_each_told_and_answered_in_their_order(framework: str) -> None:
    both = calls(("lookup", {"query": "x"}), ("add", {"first": 1, "second": 2}), ("lookup", {"query": "y"}))
    outcome, model = asked(framework, "both", both, "done")
    assert outcome.ok
    assert sorted(ends(outcome)) == [("add", "3"), ("lookup", "x of ada"), ("lookup", "y of ada")]
    answers = [each.content for each in model.requests[1].messages if isinstance(each, ToolMessage)]
    assert answers == ["x of ada", "3", "y of ada"]


@each_framework
def test_over_the_wire_it_is_the_same(framework: str) -> None:
    async def main(url: str) -> Outcome:
        model = OpenAIModel("openai:wire", api_key="sk-wire", base_url=url)
        try:
            async with harness(AgentRegistry([made(framework)]), model=model) as app:
                return await app.ask("look [[call=lookup chunks=3]]")
        finally:
            await model.aclose()

    with WireModel() as wire:
        outcome = run(main(wire.url))
        requests = wire.requests()
    assert outcome.types == FIVE
    assert outcome.output == "word0 word1 word2 "
    assert [len(request["messages"]) for request in requests] == [2, 4]
    assert outcome.events[-1].usage.input_tokens > 0


@each_framework
def test_what_was_said_in_the_thread_is_known_in_the_next_run(framework: str) -> None:
    async def main() -> ScriptedModel:
        steps = [("lookup", {"query": "x"}), "first answer", "second answer"]
        async with ScriptedModel(steps) as model, harness(AgentRegistry([made(framework)]), model=model) as app:
            first = await app.ask("first")
            await app.ask("second", thread_id=first.thread_id)
            return model

    last = run(main()).requests[-1].messages
    assert [type(each).__name__.removesuffix("Message") for each in last] == [
        "System", "User", "Assistant", "Tool", "Assistant", "User",
    ]  # fmt: skip
    assert [each.content for each in last if isinstance(each, UserMessage)] == ["first", "second"]


# --- Tools by the dispatcher


@each_framework
def test_a_tool_acts_for_its_user_with_the_calls_own_key(framework: str) -> None:
    outcome, _ = asked(framework, "x", ("lookup", {"query": "x"}), "done")
    (event,) = outcome.of(ToolCompleted)
    assert world["is"].keys == [f"{outcome.run_id}:{event.call_id}"]


@each_framework
def test_a_tool_that_is_not_async_runs_in_a_thread(framework: str) -> None:
    outcome, _ = asked(framework, "x", ("add", {"first": 1, "second": 2}), "done")
    assert ends(outcome) == [("add", "3")]
    assert world["is"].threads != []
    assert "MainThread" not in world["is"].threads


@each_framework
def test_a_tool_that_a_user_may_not_use_is_not_offered_and_denied(framework: str) -> None:
    outcome, model = asked(framework, "open", ("vault", {}), "no")
    assert [tool.name for tool in model.requests[0].tools] == ["lookup", "refund", "hold", "add"]
    assert ends(outcome) == [("vault", "denied")]
    assert (outcome.ok, world["is"].did) == (True, [])
    outcome, _ = asked(framework, "open", ("vault", {}), "yes", permissions=("vault:open",))
    assert ends(outcome) == [("vault", "the vault is open")]


@each_framework
@pytest.mark.parametrize(
    ("call", "code"),
    [
        (("nothing", {}), "unknown_tool"),
        (("lookup", {"question": "x"}), "invalid_arguments"),
        (("lookup", '{"query": '), "invalid_arguments"),
        (("lookup", "[]"), "invalid_arguments"),
    ],
)
def test_a_call_that_is_unknown_or_ill_formed_is_told_and_the_model_goes_on(
    framework: str, call: Any, code: str
) -> None:
    # Three times, as frameworks give up after a second one.
    outcome, model = asked(framework, "x", call, call, call, "well")
    assert ends(outcome) == [(call[0], code)] * 3
    assert (outcome.output, world["is"].did) == ("well", [])
    assert str(model.requests[-1].messages[-1].content).startswith(f"Error ({code})")


@each_framework
def test_a_call_beside_one_that_is_unknown_is_not_lost_in_silence(framework: str) -> None:
    beside = calls(("lookup", {"query": "x"}), ("nothing", {}))
    outcome, _ = asked(framework, "x", beside, ("lookup", {"query": "x"}), "done")
    assert outcome.ok
    assert ends(outcome)[-1] == ("lookup", "x of ada")


@each_framework
def test_a_model_that_counts_its_calls_from_0_in_each_answer_is_answered_each_time(framework: str) -> None:
    first, second = (ToolCall("call_0", "lookup", f'{{"query": "{query}"}}') for query in "xy")
    outcome, model = asked(framework, "x", first, second, "done")
    assert ends(outcome) == [("lookup", "x of ada"), ("lookup", "y of ada")]
    answers = [each.content for each in model.requests[2].messages if isinstance(each, ToolMessage)]
    assert answers == ["x of ada", "y of ada"]


def played(framework: str, home: Path, main: Callable[[Runtime], Awaitable[Any]], *steps: Any) -> Any:
    """What comes of it in a runtime on this home."""

    async def bounded() -> Any:
        settings = Settings(home=home, drain_seconds=0.01)
        async with (
            ScriptedModel(steps) as model,
            Runtime(AgentRegistry([made(framework)]), settings, model=model) as it,
        ):
            return await main(it)

    return run(bounded())


async def told(runtime: Runtime, run_id: str) -> list[DurableEvent]:
    return [decode(text) async for seq, text in runtime.reader.follow("ada", run_id, 0) if seq is not None]


async def post(runtime: Runtime, content: str, user: str = "ada") -> str:
    return (await runtime.admission.post(user, frozenset(), Post(content=content))).run_id


def kinds(events: list[DurableEvent]) -> list[str]:
    return [str(event.__struct_config__.tag) for event in events]


@each_framework
@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_call_that_needs_approval_waits_without_its_process_and_is_made_once(
    framework: str, decision: str, tmp_path: Path
) -> None:
    async def first(runtime: Runtime) -> str:
        run_id = await post(runtime, "pay back")
        while True:
            found = await runtime.stores.runs.run("ada", run_id)
            assert found is not None
            assert not found.status.ended
            if found.status is RunStatus.WAITING:
                return run_id
            await passed(0.01)

    async def second(runtime: Runtime) -> list[DurableEvent]:
        (asked,) = (await runtime.stores.approvals.pending("ada")).items
        assert (asked.tool, asked.arguments) == ("refund", '{"order":7}')
        await runtime.house.decide("ada", asked.approval_id, decision, None)
        return await told(runtime, asked.run_id)

    played(framework, tmp_path, first, ("refund", {"order": 7}))
    assert world["is"].did == []
    events = played(framework, tmp_path, second, "so it is")
    assert kinds(events) == [
        "agent_started", "agent_thinking", "tool_executing", "approval_requested", "approval_decided",
        "tool_completed", "message_completed", "agent_completed",
    ]  # fmt: skip
    assert world["is"].did == (["refund 7"] if decision == "approve" else [])


# --- Taken up, cancelled, failed


@each_framework
def test_taken_up_again_it_repeats_no_request_and_no_call_that_had_ended(framework: str, tmp_path: Path) -> None:
    async def forever(_: Any) -> str:
        world["is"].inside.set()
        await asyncio.Event().wait()
        return ""

    async def first(runtime: Runtime) -> str:
        run_id = await post(runtime, "x")
        await world["is"].inside.wait()
        return run_id

    both = calls(("lookup", {"query": "x"}), ("lookup", {"query": "y"}))
    run_id = played(framework, tmp_path, first, both, ("add", {"first": 1, "second": 1}), forever)
    events = played(framework, tmp_path, lambda runtime: told(runtime, run_id), "done")
    assert isinstance(events[-1], AgentCompleted), events[-1]
    assert sorted(world["is"].did) == ["lookup x", "lookup y"]
    assert len(world["is"].threads) == 1
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].usage.requests == 3


@each_framework
def test_a_call_that_the_end_of_its_process_cut_off_is_not_made_again(framework: str, tmp_path: Path) -> None:
    async def first(runtime: Runtime) -> str:
        run_id = await post(runtime, "x")
        await world["is"].inside.wait()
        return run_id

    run_id = played(framework, tmp_path, first, ("hold", {}))
    events = played(framework, tmp_path, lambda runtime: told(runtime, run_id))
    failed = events[-1]
    assert isinstance(failed, AgentFailed), failed
    assert failed.code == "tool_outcome_unknown"


@each_framework
@pytest.mark.parametrize("where", ["tool", "model"])
def test_a_cancelled_run_ends_at_once_wherever_it_is(framework: str, where: str, tmp_path: Path) -> None:
    async def waits(_: Any) -> str:
        await frameworks.held()
        return ""

    async def main(runtime: Runtime) -> list[DurableEvent]:
        run_id = await post(runtime, "x")
        await world["is"].inside.wait()
        async with asyncio.timeout(2):
            await runtime.admission.cancel("ada", run_id)
            return await told(runtime, run_id)

    events = played(framework, tmp_path, main, ("hold", {}) if where == "tool" else waits)
    assert kinds(events)[-1] == "agent_cancelled"
    codes = [event.error.code for event in events if isinstance(event, ToolCompleted) and event.error]
    assert codes == (["cancelled"] if where == "tool" else [])


@each_framework
def test_a_cancelled_run_does_not_wait_for_a_tool_that_blocks(framework: str, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> list[DurableEvent]:
        run_id = await post(runtime, "x")
        await until(world["is"].blocked.is_set)
        try:
            async with asyncio.timeout(2):
                await runtime.admission.cancel("ada", run_id)
                return await told(runtime, run_id)
        finally:
            world["is"].unblock.set()

    events = played(framework, tmp_path, main, ("add", {"first": -1, "second": 1}))
    assert kinds(events)[-2:] == ["tool_completed", "agent_cancelled"]


@each_framework
def test_a_model_that_fails_and_one_that_never_comes_to_an_end_are_told_by_their_codes(framework: str) -> None:
    outcome, _ = asked(framework, "x", ModelFailed("test:scripted failed", model="test:scripted"))
    (failed,) = outcome.of(AgentFailed)
    assert failed.code == "model_error"
    outcome, _ = asked(framework, "x", *[("add", {"first": 1, "second": 1})] * 4)
    (failed,) = outcome.of(AgentFailed)
    assert failed.code == "max_turns"


# --- Apart


@each_framework
def test_two_users_inside_the_same_tool_at_once_each_see_their_own_context(framework: str) -> None:
    async def main() -> list[Outcome]:
        world["is"].barrier = asyncio.Barrier(2)
        steps = {name: [("lookup", {"query": name}), f"for {name}"] for name in ("anna", "berta")}
        registry = AgentRegistry([made(framework)])
        async with ScriptedModel(steps) as model, harness(registry, model=model) as app:
            return await asyncio.gather(*[app.ask(name, user=name) for name in steps])

    for name, outcome in zip(("anna", "berta"), run(main()), strict=True):
        assert outcome.output == f"for {name}"
        assert ends(outcome) == [("lookup", f"{name} of {name}")]


# --- Not installed


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("from_pydantic_ai", "pydantic_ai", "providers"),
        ("from_langgraph", "langgraph", "langgraph"),
        ("from_openai_agents", "agents", "openai-agents"),
    ],
)
def test_a_framework_that_is_not_installed_is_told_with_what_to_install(name: str, package: str, extra: str) -> None:
    source = f"""
import sys
sys.modules[{package!r}] = None
import netra_apex
try:
    netra_apex.{name}
except netra_apex.ConfigurationError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)
    assert f'pip install "netra-apex[{extra}]"' in done.stdout
