"""A LangGraph graph as one of our agents: its state, its output, its stream, and what of it runs may not share."""

import asyncio
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool as langchain_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, create_react_agent, tools_condition
from langgraph.runtime import Runtime as GraphRuntime
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command
from pydantic import BaseModel
from tests.support.bounded import run

from netra_apex import AgentRegistry, RunScope, Runtime, ScopeChatModel, Settings, UserExecutionContext, from_langgraph
from netra_apex.core.conversations import Post
from netra_apex.core.events import AgentCompleted, AgentFailed, AgentThinking, DurableEvent, ToolCompleted, decode
from netra_apex.core.messages import ModelRequest, Reply, ToolCall, UserMessage
from netra_apex.core.voices import Deltas
from netra_apex.errors import RegistryError
from netra_apex.testing import Outcome, ScriptedModel, harness


class City(BaseModel):
    name: str
    people: int


class Found(TypedDict):
    question: str
    found: Annotated[list[str], operator.add]


model = ScopeChatModel()


def graph(
    *nodes: Callable[..., Any], state: Any = MessagesState, context_schema: Any = None
) -> StateGraph[Any, Any, Any, Any]:
    """A graph of these nodes, one after the other."""
    built: StateGraph[Any, Any, Any, Any] = StateGraph(state, context_schema=context_schema)
    before = "__start__"
    for node in nodes:
        built.add_node(node.__name__, node)
        built.add_edge(before, node.__name__)
        before = node.__name__
    return built


def ask(made: Any, *steps: Any, content: str = "x", **more: Any) -> tuple[Outcome, ScriptedModel]:
    async def main() -> tuple[Outcome, ScriptedModel]:
        registry = AgentRegistry([from_langgraph(made, name="agent", **more)])
        async with ScriptedModel(steps) as scripted, harness(registry, model=scripted) as app:
            return await app.ask(content), scripted

    return run(main())


def refusal(made: Any, **more: Any) -> str:
    with pytest.raises(RegistryError) as refused:
        AgentRegistry([from_langgraph(made, name="agent", **more)])
    return refused.value.reason


async def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await model.ainvoke(state["messages"])]}


def test_a_prebuilt_agent_calls_its_tools_by_the_dispatcher() -> None:
    @langchain_tool
    async def measure(what: str) -> dict[str, Any]:
        """Measure something."""
        return {"what": what, "is": 5}

    with pytest.warns(DeprecationWarning, match="create_react_agent"):
        made = create_react_agent(ScopeChatModel(), [measure], prompt="Measure.")
    outcome, scripted = ask(made, ("measure", {"what": "it"}), "five")
    assert outcome.types[2:4] == ("tool_executing", "tool_completed")
    assert (outcome.of(ToolCompleted)[0].result, outcome.output) == ({"what": "it", "is": 5}, "five")
    assert scripted.requests[0].messages[0].content == "Measure."


def test_its_output_is_of_the_type_that_it_asks_for() -> None:
    class Answer(MessagesState):
        structured_response: City

    asking = model.with_structured_output(City)

    async def typed(state: Answer) -> dict[str, Any]:
        return {"structured_response": await asking.ainvoke(state["messages"])}

    outcome, scripted = ask(graph(typed, state=Answer), '{"name": "Ulm", "people": 1}')
    assert outcome.output == {"name": "Ulm", "people": 1}
    assert scripted.requests[0].output_schema is not None
    assert set(scripted.requests[0].output_schema["properties"]) == {"name", "people"}


def opening(task: str, scope: RunScope) -> dict[str, Any]:
    return {"question": f"{task} of {scope.context.user_id}", "found": []}


def closing(state: dict[str, Any]) -> list[str]:
    return sorted(state["found"])


def test_its_state_may_be_any_and_what_a_node_writes_to_the_stream_is_a_thought() -> None:
    async def one(state: Found) -> dict[str, Any]:
        get_stream_writer()("looking")
        return {"found": [f"one {state['question']}"]}

    def two(state: Found) -> dict[str, Any]:
        return {"found": [f"two after {len(state['found'])}"]}

    made = graph(one, two, state=Found)
    assert refusal(made).startswith("its state has no messages; pass state=")
    outcome, _ = ask(made, state=opening, output=closing)
    assert outcome.output == ["one x of ada", "two after 1"]
    assert [thought.text for thought in outcome.of(AgentThinking)] == ["looking"]


def test_its_context_is_the_runs_scope_or_context_or_made_of_it() -> None:
    async def scoped(state: MessagesState, runtime: GraphRuntime[RunScope]) -> dict[str, Any]:
        return {"messages": [HumanMessage(runtime.context.context.user_id)]}

    async def plain(state: MessagesState, runtime: GraphRuntime[UserExecutionContext]) -> dict[str, Any]:
        return {"messages": [HumanMessage(runtime.context.user_id)]}

    async def own(state: MessagesState, runtime: GraphRuntime[City]) -> dict[str, Any]:
        return {"messages": [HumanMessage(runtime.context.name)]}

    assert ask(graph(scoped, context_schema=RunScope))[0].output == "ada"
    assert ask(graph(plain, context_schema=UserExecutionContext))[0].output == "ada"
    assert refusal(graph(own, context_schema=City)).startswith("its context is a City; pass context=")
    assert ask(graph(own, context_schema=City), context=city_of)[0].output == "ada"


def city_of(scope: RunScope) -> City:
    return City(name=scope.context.user_id, people=1)


def test_nodes_side_by_side_are_taken_up_without_asking_twice(tmp_path: Path) -> None:
    resting = asyncio.Event()

    async def left(state: Found) -> dict[str, Any]:
        return {"found": [(await model.ainvoke("left")).text]}

    async def right(state: Found) -> dict[str, Any]:
        return {"found": [(await model.ainvoke("right")).text]}

    async def last(state: Found) -> dict[str, Any]:
        return {"found": [(await model.ainvoke("last")).text]}

    async def rests(_: Any) -> str:
        resting.set()
        await asyncio.Event().wait()
        return ""

    built: StateGraph[Any, Any, Any, Any] = StateGraph(Found)
    for node in (left, right, last):
        built.add_node(node.__name__, node)
    built.add_edge("__start__", "left")
    built.add_edge("__start__", "right")
    built.add_edge(["left", "right"], "last")
    made = from_langgraph(built, name="agent", state=opening, output=closing)

    async def main() -> list[DurableEvent]:
        settings = Settings(home=tmp_path, drain_seconds=0.01)
        scripts: dict[str, list[Any]] = {"left": ["L"], "right": ["R"], "last": [rests]}
        async with ScriptedModel(scripts) as first, Runtime(AgentRegistry([made]), settings, model=first) as runtime:
            accepted = await runtime.admission.post("ada", frozenset(), Post(content="x"))
            await resting.wait()
        async with ScriptedModel(["Z"]) as second, Runtime(AgentRegistry([made]), settings, model=second) as runtime:
            return [decode(body) async for seq, body in runtime.reader.follow("ada", accepted.run_id, 0) if seq]

    ending = run(main())[-1]
    assert isinstance(ending, AgentCompleted), ending
    assert ending.output == ["L", "R", "Z"]


class Counting:
    """A model whose calls all have the same id; `left` it answers after `right`, as long as it is `slow`."""

    name = "counting:model"

    def __init__(self, *, slow: bool) -> None:
        self.slow = slow
        self.answered = asyncio.Event()
        self.resting = asyncio.Event()
        self.asked: list[str] = []

    async def complete(self, request: ModelRequest, deltas: Deltas) -> Reply:
        first, last = request.messages[0].content, request.messages[-1].content
        self.asked.append(last)
        if last == "left" and self.slow:
            await self.answered.wait()
        if isinstance(request.messages[-1], UserMessage) and last != "last":
            return Reply(text="", tool_calls=(ToolCall("call_0", "measure", "{}"),))
        if last == "last" and self.slow:
            self.resting.set()
            await asyncio.Event().wait()
        self.answered.set()
        return Reply(text=f"re {first}")

    async def check(self) -> None:
        return None

    async def aclose(self) -> None:
        return None


def test_nodes_side_by_side_whose_models_count_their_calls_alike_are_taken_up(tmp_path: Path) -> None:
    async def asks(what: str) -> dict[str, Any]:
        asking, schema = HumanMessage(what), {"type": "object", "properties": {}}
        measure = {"type": "function", "function": {"name": "measure", "description": "", "parameters": schema}}
        said = await model.bind_tools([measure]).ainvoke([asking])
        told = ToolMessage("5", tool_call_id=said.tool_calls[0]["id"])
        return {"found": [(await model.ainvoke([asking, said, told])).text]}

    async def left(state: Found) -> dict[str, Any]:
        return await asks("left")

    async def right(state: Found) -> dict[str, Any]:
        return await asks("right")

    async def last(state: Found) -> dict[str, Any]:
        return {"found": [(await model.ainvoke("last")).text]}

    built: StateGraph[Any, Any, Any, Any] = StateGraph(Found)
    for node in (left, right, last):
        built.add_node(node.__name__, node)
    built.add_edge("__start__", "left")
    built.add_edge("__start__", "right")
    built.add_edge(["left", "right"], "last")
    made = from_langgraph(built, name="agent", state=opening, output=closing)

    async def main() -> tuple[DurableEvent, list[str]]:
        settings = Settings(home=tmp_path, drain_seconds=0.01)
        first, second = Counting(slow=True), Counting(slow=False)
        async with Runtime(AgentRegistry([made]), settings, model=first) as runtime:
            accepted = await runtime.admission.post("ada", frozenset(), Post(content="x"))
            await first.resting.wait()
        async with Runtime(AgentRegistry([made]), settings, model=second) as runtime:
            events = [decode(body) async for seq, body in runtime.reader.follow("ada", accepted.run_id, 0) if seq]
            return events[-1], second.asked

    ending, asked = run(main())
    assert isinstance(ending, AgentCompleted), ending
    assert (ending.output, asked) == (["re last", "re left", "re right"], ["last"])


def test_what_a_tool_asks_is_part_of_its_call_and_not_asked_again(tmp_path: Path) -> None:
    resting = asyncio.Event()

    @langchain_tool
    async def consult(question: str) -> str:
        """Ask an expert."""
        return str((await model.ainvoke(question)).text)

    async def rests(_: Any) -> str:
        resting.set()
        await asyncio.Event().wait()
        return ""

    with pytest.warns(DeprecationWarning, match="create_react_agent"):
        made = from_langgraph(create_react_agent(ScopeChatModel(), [consult]), name="agent")

    async def main() -> list[DurableEvent]:
        settings = Settings(home=tmp_path, drain_seconds=0.01)
        steps = [("consult", {"question": "a"}), "five", rests]
        async with ScriptedModel(steps) as first, Runtime(AgentRegistry([made]), settings, model=first) as runtime:
            accepted = await runtime.admission.post("ada", frozenset(), Post(content="x"))
            await resting.wait()
        async with ScriptedModel(["done"]) as second, Runtime(AgentRegistry([made]), settings, model=second) as runtime:
            return [decode(body) async for seq, body in runtime.reader.follow("ada", accepted.run_id, 0) if seq]

    ending = run(main())[-1]
    assert isinstance(ending, AgentCompleted), ending
    assert (ending.output, ending.usage.requests) == ("done", 3)


def test_tools_of_a_graph_in_a_graph_are_the_dispatchers_too() -> None:
    @langchain_tool
    async def measure(what: str) -> str:
        """Measure something."""
        return f"{what}: 5"

    @langchain_tool
    async def hand_over() -> Command[Any]:
        """Hand over."""
        return Command(goto="other")

    inner: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)
    bound = model.bind_tools([measure, hand_over])

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await bound.ainvoke(state["messages"])]}

    inner.add_node("think", think)
    inner.add_node("tools", ToolNode([measure, hand_over]))
    inner.add_edge("__start__", "think")
    inner.add_conditional_edges("think", tools_condition)
    inner.add_edge("tools", "think")
    outer: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)
    outer.add_node("inner", inner.compile())
    outer.add_edge("__start__", "inner")
    outcome, _ = ask(
        outer, ("measure", {"what": "it"}), ("hand_over", {}), "five", tools={"measure": {"requires": "m:x"}}
    )
    denied, command = outcome.errors()
    assert (denied.code, outcome.output) == ("denied", "five")
    assert command.message.startswith("it gave a Command, which no journal can keep")


def test_a_graph_that_goes_in_a_circle_comes_to_an_end() -> None:
    def again(state: MessagesState) -> dict[str, Any]:
        return {}

    made = graph(again)
    made.add_edge("again", "again")
    (failed,) = ask(made)[0].of(AgentFailed)
    assert (failed.code, failed.message) == ("max_turns", "the graph came to no end in 1000 steps")


def test_a_model_that_is_not_awaited_or_not_in_a_run_says_so() -> None:
    def blocks(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    (failed,) = ask(graph(blocks))[0].of(AgentFailed)
    assert failed.message.startswith("a ScopeChatModel is awaited")
    with pytest.raises(Exception, match="inside a run of from_langgraph's agent alone"):
        run(model.ainvoke("x"))


def seeing() -> Callable[..., Any]:
    seen: list[str] = []

    async def sees(state: MessagesState) -> dict[str, Any]:
        seen.append(str(state["messages"][-1].content))
        return {}

    return sees


class Provider:
    async def ainvoke(self, messages: Any) -> str:
        return ""


def with_a_model_of_its_own() -> Callable[..., Any]:
    chat = Provider()

    async def asks(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await chat.ainvoke(state["messages"])]}

    return asks


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (graph(answer).compile(checkpointer=InMemorySaver()), "its checkpointer would hold what all users said in one"),
        (graph(answer).compile(store=InMemoryStore()), "its store would hold what all users said in one place"),
        (graph(answer).compile(interrupt_before=["answer"]), "it interrupts before or after nodes"),
        (graph(seeing()), "its function sees closes over seen, which is a list, which every run would share"),
        (graph(with_a_model_of_its_own()), "its function asks closes over chat, which is a Provider, which every run"),
        (ToolNode([]), "it is a ToolNode, and no graph of LangGraph"),
    ],
)
def test_what_its_runs_would_share_is_refused(made: Any, reason: str) -> None:
    assert refusal(made).startswith(reason)
