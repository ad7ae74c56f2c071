"""A Pydantic AI agent as one of ours: its deps, its output, its model's name, and what of it runs may not share."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, FunctionToolset, ModelRetry, RunContext, ToolOutput, ToolReturn
from pydantic_ai.models.test import TestModel
from pydantic_ai.toolsets import ExternalToolset
from tests.support.bounded import run

from netra_apex import AgentRegistry, RunScope, Runtime, Settings, UserExecutionContext, from_pydantic_ai
from netra_apex.core.conversations import Post
from netra_apex.core.events import AgentCompleted, AgentFailed, DurableEvent, MessageCompleted, ToolCompleted, decode
from netra_apex.core.messages import SystemMessage
from netra_apex.errors import RegistryError
from netra_apex.testing import Outcome, ScriptedModel, calls, harness


class City(BaseModel):
    name: str
    people: int


expert = Agent(instructions="You know.")


@expert.tool_plain
async def measure(what: str) -> str:
    """Measure something."""
    return f"{what}: 5"


def ask(agent: Agent[Any, Any], *steps: Any, content: str = "x", **more: Any) -> tuple[Outcome, ScriptedModel]:
    async def main() -> tuple[Outcome, ScriptedModel]:
        registry = AgentRegistry([from_pydantic_ai(agent, name="agent", **more)])
        async with ScriptedModel(steps) as model, harness(registry, model=model) as app:
            return await app.ask(content), model

    # A broken agent is logged with its whole traceback, which a framework makes long.
    return run(main(), limit=60)


def refusal(agent: Any, **more: Any) -> str:
    with pytest.raises(RegistryError) as refused:
        AgentRegistry([from_pydantic_ai(agent, name="agent", **more)])
    return refused.value.reason


def test_its_output_is_of_its_output_type_and_asked_for_again_until_it_is() -> None:
    outcome, model = ask(Agent(output_type=City), '{"name": "Ulm"}', "no JSON")
    (failed,) = outcome.of(AgentFailed)
    assert failed.message.startswith("UnexpectedModelBehavior: Exceeded maximum")
    outcome, model = ask(
        Agent(output_type=City, retries=2), '{"name": "Ulm"}', "no JSON", '{"name": "Ulm", "people": 1}'
    )
    assert outcome.output == {"name": "Ulm", "people": 1}
    assert model.requests[0].output_schema is not None
    assert set(model.requests[0].output_schema["properties"]) == {"name", "people"}
    assert len(outcome.of(MessageCompleted)) == 3


def test_an_output_that_is_asked_for_as_a_tool_is_no_call() -> None:
    outcome, _ = ask(Agent(output_type=ToolOutput(City)), ("final_result", {"name": "Ulm", "people": 1}))
    assert outcome.output == {"name": "Ulm", "people": 1}
    assert outcome.of(ToolCompleted) == ()


def test_its_instructions_and_prompts_open_each_run_of_the_thread() -> None:
    agent = Agent(instructions="Be brief.", system_prompt="Be kind.")

    @agent.instructions
    def whose(ctx: RunContext[RunScope]) -> str:
        return f"For {ctx.deps.context.user_id}."

    async def main() -> ScriptedModel:
        registry = AgentRegistry([from_pydantic_ai(agent, name="agent")])
        async with ScriptedModel(["one", "two"]) as model, harness(registry, model=model) as app:
            first = await app.ask("a")
            await app.ask("b", thread_id=first.thread_id)
            return model

    for request in run(main()).requests:
        said = [each.content for each in request.messages if isinstance(each, SystemMessage)]
        assert said == ["Be brief.\n\nFor ada.", "Be kind."]


def test_a_tool_may_ask_to_be_called_again_and_may_return_what_only_the_model_sees() -> None:
    agent = Agent()

    @agent.tool_plain
    async def picky(number: int) -> ToolReturn:
        """Picky."""
        if number < 2:
            raise ModelRetry("take a larger one")
        return ToolReturn(return_value=number, metadata="unseen")

    outcome, model = ask(agent, ("picky", {"number": 1}), ("picky", {"number": 2}), "done")
    first, second = outcome.of(ToolCompleted)
    assert first.error
    assert (first.error.code, first.error.message, second.result) == ("error", "take a larger one", 2)
    assert model.requests[-1].messages[-1].content == "2"


@dataclass
class Cart:
    user: str
    items: list[str] = field(default_factory=list)


def cart(scope: RunScope) -> Cart:
    return Cart(scope.context.user_id)


def test_its_deps_are_made_for_each_run() -> None:
    agent = Agent(deps_type=Cart)

    @agent.tool
    async def put(ctx: RunContext[Cart], item: str) -> list[str]:
        """Put an item in the cart."""
        ctx.deps.items.append(f"{item} of {ctx.deps.user}")
        return ctx.deps.items

    assert refusal(agent) == "its deps are a Cart; pass deps=, a function that makes one from the run's scope"
    for _ in range(2):
        outcome, _ = ask(agent, ("put", {"item": "a"}), ("put", {"item": "b"}), "done", deps=cart)
        assert outcome.of(ToolCompleted)[-1].result == ["a of ada", "b of ada"]


def test_an_agent_that_a_tool_asks_is_part_of_the_call_and_not_asked_again(tmp_path: Path) -> None:
    resting = asyncio.Event()
    agent = Agent()

    @agent.tool
    async def consult(ctx: RunContext[RunScope], question: str) -> str:
        """Ask the expert."""
        answered = await expert.run(question, model=ctx.model, deps=ctx.deps)
        return answered.output

    async def rests(_: Any) -> str:
        resting.set()
        await asyncio.Event().wait()
        return ""

    made = from_pydantic_ai(agent, name="agent")
    ask_expert = [("measure", {"what": "it"}), "five"]

    async def main() -> list[DurableEvent]:
        settings = Settings(home=tmp_path, drain_seconds=0.01)
        steps = [calls(("consult", {"question": "a"})), *ask_expert, ("consult", {"question": "b"}), *ask_expert, rests]
        async with ScriptedModel(steps) as model, Runtime(AgentRegistry([made]), settings, model=model) as first:
            accepted = await first.admission.post("ada", frozenset(), Post(content="x"))
            await resting.wait()
        async with ScriptedModel(["done"]) as model, Runtime(AgentRegistry([made]), settings, model=model) as second:
            return [decode(body) async for seq, body in second.reader.follow("ada", accepted.run_id, 0) if seq]

    events = run(main())
    assert isinstance(events[-1], AgentCompleted), events[-1]
    assert [event.result for event in events if isinstance(event, ToolCompleted)] == ["five", "five"]
    assert events[-1].usage.requests == 7


def test_its_deps_may_be_the_runs_context() -> None:
    agent = Agent(deps_type=UserExecutionContext)

    @agent.tool
    async def who(ctx: RunContext[UserExecutionContext]) -> str:
        """Who asks."""
        return ctx.deps.user_id

    outcome, _ = ask(agent, ("who", {}), "done")
    assert outcome.of(ToolCompleted)[0].result == "ada"


def test_what_a_run_adds_to_its_agent_is_not_in_the_next_ones() -> None:
    agent = Agent()

    @agent.tool
    async def learn(ctx: RunContext[RunScope]) -> int:
        """Learn something."""
        mine = ctx.agent
        assert isinstance(mine, Agent)

        async def more() -> str:
            """More."""
            return "more"

        mine.tool_plain(more)
        return len(mine.toolsets[0].tools)  # type: ignore[attr-defined]

    made = from_pydantic_ai(agent, name="agent")

    async def main() -> list[Outcome]:
        steps = [("learn", {}), "done"] * 2
        async with ScriptedModel(steps) as model, harness(AgentRegistry([made]), model=model) as app:
            return [await app.ask("x"), await app.ask("x")]

    assert [outcome.of(ToolCompleted)[0].result for outcome in run(main())] == [2, 2]
    assert len(agent.toolsets[0].tools) == 1  # type: ignore[attr-defined]


def test_the_model_is_its_own_by_name_or_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert from_pydantic_ai(Agent("openai:gpt-5"), name="agent").model == "openai:gpt-5"
    assert from_pydantic_ai(Agent("openai:gpt-5", defer_model_check=True), name="agent").model == "openai:gpt-5"
    assert from_pydantic_ai(Agent(TestModel()), name="agent", model="openai:gpt-5").model == "openai:gpt-5"
    assert from_pydantic_ai(Agent(), name="agent").model is None
    assert refusal(Agent(TestModel())).startswith("its model is a TestModel, whose requests no journal would know")


class Shelf:
    def __init__(self) -> None:
        self.books: list[str] = []

    async def put(self, book: str) -> list[str]:
        """Put a book on the shelf."""
        self.books.append(book)
        return self.books


def with_closure() -> Agent[Any, Any]:
    seen: list[str] = []
    agent = Agent()

    @agent.tool_plain
    async def remember(text: str) -> list[str]:
        """Remember."""
        seen.append(text)
        return seen

    return agent


def with_instructions() -> Agent[Any, Any]:
    seen: dict[str, int] = {}
    agent = Agent()

    @agent.instructions
    def count() -> str:
        seen["count"] = seen.get("count", 0) + 1
        return str(seen)

    return agent


def with_default() -> Agent[Any, Any]:
    async def remember(text: str, seen: list[str] = []) -> list[str]:  # noqa: B006 - the point of the test
        """Remember."""
        return seen

    return Agent(tools=[remember])


def in_a_toolset() -> Agent[Any, Any]:
    return Agent(toolsets=[FunctionToolset([Shelf().put]).prefixed("shelf")])


@pytest.mark.parametrize(
    ("agent", "reason"),
    [
        (with_closure(), "its function remember closes over seen, which is a list, which every run would share"),
        (with_instructions(), "its function count closes over seen, which is a dict"),
        (with_default(), "its function remember has a default that could change (seen is a list)"),
        (Agent(tools=[Shelf().put]), "its method put of a Shelf, which is a Shelf"),
        (in_a_toolset(), "its method put of a Shelf, which is a Shelf"),
        (Agent(toolsets=[ExternalToolset([])]), "its toolset ExternalToolset is one object, which every run would"),
        (Agent, "it is a ABCMeta, and no pydantic_ai.Agent"),
    ],
)
def test_what_its_runs_would_share_is_refused(agent: Any, reason: str) -> None:
    assert refusal(agent).startswith(reason)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"put": {"isolated": True}}, "of its tool put 'isolated' cannot be said"),
        ({"put": {"requires": "Cart Put"}}, "its tool put cannot require that"),
        ({"put": {"on_unknown": "retry"}}, "of its tool put on_unknown is fail or ask, not 'retry'"),
    ],
)
def test_what_cannot_be_said_of_a_tool_is_refused(rules: Any, reason: str) -> None:
    assert refusal(Agent(), tools=rules).startswith(reason)
