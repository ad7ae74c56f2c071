"""An agent of the OpenAI Agents SDK as one of ours: its output, its handovers, and what of it runs may not share."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, FunctionTool, RunContextWrapper, Runner, WebSearchTool, function_tool, handoff
from agents.mcp import MCPServerStdio
from agents.tool_context import ToolContext
from pydantic import BaseModel
from tests.support.bounded import run

from netra_apex import AgentRegistry, RunScope, Runtime, Settings, from_openai_agents
from netra_apex.core.conversations import Post
from netra_apex.core.events import AgentCompleted, AgentThinking, DurableEvent, ToolCompleted, decode
from netra_apex.core.messages import SystemMessage
from netra_apex.errors import RegistryError
from netra_apex.testing import Outcome, ScriptedModel, harness


class City(BaseModel):
    name: str
    people: int


def ask(agent: Agent[Any], *steps: Any, content: str = "x", **more: Any) -> tuple[Outcome, ScriptedModel]:
    async def main() -> tuple[Outcome, ScriptedModel]:
        registry = AgentRegistry([from_openai_agents(agent, name="agent", **more)])
        async with ScriptedModel(steps) as model, harness(registry, model=model) as app:
            return await app.ask(content), model

    return run(main())


def refusal(agent: Any, **more: Any) -> str:
    with pytest.raises(RegistryError) as refused:
        AgentRegistry([from_openai_agents(agent, name="agent", **more)])
    return refused.value.reason


@function_tool
async def measure(what: str) -> str:
    """Measure something."""
    return f"{what}: 5"


@function_tool
async def fail() -> str:
    """Fail."""
    raise ValueError("it broke")


def test_its_output_is_of_its_output_type_and_asked_for_again_until_it_is() -> None:
    agent = Agent[Any](name="cities", output_type=City)
    outcome, model = ask(agent, '{"name": "Ulm"}', "no JSON", '{"name": "Ulm", "people": 1}')
    assert outcome.output == {"name": "Ulm", "people": 1}
    assert model.requests[0].output_schema is not None
    assert set(model.requests[0].output_schema["properties"]) == {"name", "people"}


def test_handing_over_is_a_thought_and_the_next_agents_tools_are_the_dispatchers_too() -> None:
    expert = Agent[Any](name="expert", instructions="You measure.", tools=[measure])
    front = Agent[Any](name="front", instructions="You greet.", handoffs=[expert])
    expert.handoffs.append(handoff(front))  # in a circle
    steps = (("transfer_to_expert", {}), ("measure", {"what": "it"}), ("transfer_to_front", {}), "five")
    outcome, model = ask(front, *steps, tools={"measure": {"requires": "m:x"}})
    assert outcome.output == "five"
    assert [error.code for error in outcome.errors()] == ["denied"]
    assert [thought.text for thought in outcome.of(AgentThinking)][1:] == [
        "front hands over to expert.", "expert hands over to front.",
    ]  # fmt: skip
    said = [request.messages[0] for request in model.requests]
    assert said == [SystemMessage(f"You {what}.") for what in ("greet", "measure", "measure", "greet")]


def test_a_tool_that_fails_is_told_as_failed() -> None:
    outcome, model = ask(Agent[Any](name="agent", tools=[fail]), ("fail", {}), "well")
    assert [(error.code, error.message) for error in outcome.errors()] == [("error", "ValueError: it broke")]
    assert outcome.output == "well"
    assert "it broke" in model.requests[1].messages[-1].content


def test_an_agent_that_a_tool_asks_is_part_of_the_call_and_not_asked_again(tmp_path: Path) -> None:
    resting = asyncio.Event()
    expert = Agent[Any](name="expert", tools=[measure])
    consult = expert.as_tool("consult", "Ask the expert.")
    made = from_openai_agents(Agent[Any](name="agent", tools=[consult]), name="agent")

    async def rests(_: Any) -> str:
        resting.set()
        await asyncio.Event().wait()
        return ""

    async def main() -> list[DurableEvent]:
        settings = Settings(home=tmp_path, drain_seconds=0.01)
        steps = [("consult", {"input": "a"}), ("measure", {"what": "it"}), "five", rests]
        async with ScriptedModel(steps) as model, Runtime(AgentRegistry([made]), settings, model=model) as first:
            accepted = await first.admission.post("ada", frozenset(), Post(content="x"))
            await resting.wait()
        async with ScriptedModel(["done"]) as model, Runtime(AgentRegistry([made]), settings, model=model) as second:
            return [decode(body) async for seq, body in second.reader.follow("ada", accepted.run_id, 0) if seq]

    events = run(main())
    assert isinstance(events[-1], AgentCompleted), events[-1]
    assert [event.result for event in events if isinstance(event, ToolCompleted)] == ["five"]
    assert events[-1].usage.requests == 4


class Cart:
    def __init__(self, scope: RunScope) -> None:
        self.user = scope.context.user_id
        self.items: list[str] = []


def cart(scope: RunScope) -> Cart:
    return Cart(scope)


@function_tool
async def put(ctx: RunContextWrapper[Cart], item: str) -> str:
    """Put an item in the cart."""
    ctx.context.items.append(f"{item} of {ctx.context.user}")
    return ", ".join(ctx.context.items)


def test_its_context_is_made_for_each_run() -> None:
    agent = Agent[Any](name="shop", tools=[put])
    for _ in range(2):
        outcome, _ = ask(agent, ("put", {"item": "a"}), ("put", {"item": "b"}), "done", context=cart)
        assert outcome.of(ToolCompleted)[-1].result == "a of ada, b of ada"


def test_what_a_run_adds_to_its_agent_is_not_in_the_next_ones() -> None:
    async def invoke(ctx: ToolContext[Any], arguments: str) -> str:
        agent = ctx.agent
        assert agent is not None
        agent.tools.append(measure)
        return str(len(agent.tools))

    learn = FunctionTool("learn", "Learn.", {"type": "object", "properties": {}}, invoke, strict_json_schema=False)
    agent = Agent[Any](name="agent", tools=[learn])
    for _ in range(2):
        outcome, _ = ask(agent, ("learn", {}), "done")
        assert outcome.of(ToolCompleted)[0].result == "2"
    assert agent.tools == [learn]


def test_the_model_is_its_own_by_name_or_another_one() -> None:
    assert from_openai_agents(Agent[Any](name="a", model="gpt-5"), name="agent").model == "openai:gpt-5"
    assert from_openai_agents(Agent[Any](name="a"), name="agent").model is None
    assert from_openai_agents(Agent[Any](name="a", model="gpt-5"), name="agent", model="groq:x").model == "groq:x"
    assert refusal(Agent[Any](name="a", model="litellm/groq/x")).startswith("its model is litellm/groq/x; name it as")
    other = Agent[Any](name="b", model="gpt-5-mini")
    assert refusal(Agent[Any](name="a", model="gpt-5", handoffs=[other])).startswith("its model is no name, or several")


def remembering() -> Agent[Any]:
    seen: list[str] = []

    @function_tool
    async def remember(text: str) -> str:
        """Remember."""
        seen.append(text)
        return ", ".join(seen)

    return Agent(name="agent", tools=[remember])


def instructing() -> Agent[Any]:
    seen: list[str] = []

    def instructions(context: Any, agent: Any) -> str:
        seen.append("x")
        return ", ".join(seen)

    return Agent(name="agent", instructions=instructions)


async def whether(context: Any, arguments: Any, call_id: str) -> bool:
    return True


@function_tool(needs_approval=whether)
async def asking() -> str:
    """Ask."""
    return ""


server = MCPServerStdio({"command": "true"})


@pytest.mark.parametrize(
    ("agent", "reason"),
    [
        (remembering(), "its function remember closes over seen, which is a list, which every run would share"),
        (instructing(), "its function instructions closes over seen, which is a list, which every run would share"),
        (Agent(name="a", mcp_servers=[server]), "its agent a has MCP servers, whose sessions every run would share"),
        (Agent(name="a", handoffs=[Agent(name="b", mcp_servers=[server])]), "its agent b has MCP servers"),
        (Agent(name="a", tools=[WebSearchTool()]), "its agent a has a WebSearchTool, which is called beside the run"),
        (Agent(name="a", prompt={"id": "p"}), "its agent a has a prompt that is kept at OpenAI"),
        (Agent(name="a", tools=[asking]), "its agent a asks a function whether asking needs approval"),
        (Runner, "it is a type, and no agents.Agent"),
    ],
)  # fmt: skip
def test_what_its_runs_would_share_is_refused(agent: Any, reason: str) -> None:
    assert refusal(agent).startswith(reason)
