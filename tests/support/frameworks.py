"""One agent, written natively and for each framework: the same instructions, the same four tools, the same answers."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from agents import Agent as OpenAIAgent
from agents import RunContextWrapper, function_tool
from langchain_core.messages import SystemMessage
from langchain_core.tools import tool as langchain_tool
from langgraph.graph import MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, ToolRuntime, tools_condition
from pydantic_ai import Agent, RunContext

from netra_apex import (
    BaseAgent,
    ChatAgent,
    RunScope,
    ScopeChatModel,
    from_langgraph,
    from_openai_agents,
    from_pydantic_ai,
    tool,
)

INSTRUCTIONS = "Answer briefly."


class World:
    """What outlives a process: what was done and by whom, and what holds it up."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.keys: list[str] = []
        self.threads: list[str] = []
        self.inside = asyncio.Event()
        self.release = asyncio.Event()
        self.blocked = threading.Event()
        self.unblock = threading.Event()
        self.barrier: asyncio.Barrier | None = None


world: dict[str, World] = {}


async def looked_up(scope: RunScope, query: str) -> str:
    """What `lookup` does in every framework; with a barrier, users wait for each other inside of it."""
    here = world["is"]
    if here.barrier is not None:
        await here.barrier.wait()
    here.did.append(f"lookup {query}")
    here.keys.append(str(scope.context.idempotency_key))
    return f"{query} of {scope.context.user_id}"


async def refunded(order: int) -> str:
    world["is"].did.append(f"refund {order}")
    return f"refunded {order}"


async def opened() -> str:
    world["is"].did.append("vault")
    return "the vault is open"


async def held() -> str:
    world["is"].inside.set()
    await world["is"].release.wait()
    return "released"


def added(first: int, second: int) -> int:
    """What a tool that is not async does, in a thread; with numbers below 0 it blocks."""
    if first < 0:
        world["is"].blocked.set()
        world["is"].unblock.wait(20)
    world["is"].threads.append(threading.current_thread().name)
    return first + second


RULES: dict[str, Any] = {"refund": {"needs_approval": True}, "vault": {"requires": "vault:open"}}


# --- Native


@tool
async def lookup(query: str, scope: RunScope) -> str:
    """Look something up."""
    return await looked_up(scope, query)


@tool(needs_approval=True)
async def refund(order: int) -> str:
    """Pay an order back."""
    return await refunded(order)


@tool(requires="vault:open")
async def vault() -> str:
    """Open the vault."""
    return await opened()


@tool
async def hold() -> str:
    """Wait."""
    return await held()


@tool
def add(first: int, second: int) -> int:
    """Add two numbers."""
    return added(first, second)


class Native(ChatAgent):
    """Answers."""

    name = "agent"
    instructions = INSTRUCTIONS
    tools = (lookup, refund, vault, hold, add)
    max_turns = 4


# --- Pydantic AI


def pydantic_ai(**more: Any) -> type[BaseAgent]:
    agent = Agent(instructions=INSTRUCTIONS, description="Answers.")

    @agent.tool
    async def lookup(ctx: RunContext[RunScope], query: str) -> str:
        """Look something up."""
        return await looked_up(ctx.deps, query)

    @agent.tool_plain(requires_approval=True)
    async def refund(order: int) -> str:
        """Pay an order back."""
        return await refunded(order)

    @agent.tool_plain
    async def vault() -> str:
        """Open the vault."""
        return await opened()

    @agent.tool_plain
    async def hold() -> str:
        """Wait."""
        return await held()

    @agent.tool_plain
    def add(first: int, second: int) -> int:
        """Add two numbers."""
        return added(first, second)

    rules = {"vault": RULES["vault"]}
    return from_pydantic_ai(agent, name="agent", tools=rules, max_turns=4, **more)


# --- LangGraph


def langgraph(**more: Any) -> type[BaseAgent]:
    @langchain_tool
    async def lookup(query: str, runtime: ToolRuntime[RunScope]) -> str:
        """Look something up."""
        return await looked_up(runtime.context, query)

    @langchain_tool
    async def refund(order: int) -> str:
        """Pay an order back."""
        return await refunded(order)

    @langchain_tool
    async def vault() -> str:
        """Open the vault."""
        return await opened()

    @langchain_tool
    async def hold() -> str:
        """Wait."""
        return await held()

    @langchain_tool
    def add(first: int, second: int) -> int:
        """Add two numbers."""
        return added(first, second)

    tools = [lookup, refund, vault, hold, add]
    model = ScopeChatModel().bind_tools(tools)

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke([SystemMessage(INSTRUCTIONS), *state["messages"]])]}

    graph = StateGraph(MessagesState, context_schema=RunScope)
    graph.add_node("answer", answer)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge("__start__", "answer")
    graph.add_conditional_edges("answer", tools_condition)
    graph.add_edge("tools", "answer")
    return from_langgraph(graph, name="agent", tools=RULES, max_turns=4, **more)


# --- OpenAI Agents SDK


def openai_agents(**more: Any) -> type[BaseAgent]:
    @function_tool
    async def lookup(ctx: RunContextWrapper[RunScope], query: str) -> str:
        """Look something up."""
        return await looked_up(ctx.context, query)

    @function_tool(needs_approval=True)
    async def refund(order: int) -> str:
        """Pay an order back."""
        return await refunded(order)

    @function_tool
    async def vault() -> str:
        """Open the vault."""
        return await opened()

    @function_tool
    async def hold() -> str:
        """Wait."""
        return await held()

    @function_tool
    def add(first: int, second: int) -> int:
        """Add two numbers."""
        return added(first, second)

    agent = OpenAIAgent[RunScope](
        name="agent",
        instructions=INSTRUCTIONS,
        handoff_description="Answers.",
        tools=[lookup, refund, vault, hold, add],
    )
    return from_openai_agents(agent, name="agent", tools={"vault": RULES["vault"]}, max_turns=4, **more)


FRAMEWORKS: dict[str, Callable[[], type[BaseAgent]]] = {
    "native": lambda: Native,
    "pydantic_ai": pydantic_ai,
    "langgraph": langgraph,
    "openai_agents": openai_agents,
}
