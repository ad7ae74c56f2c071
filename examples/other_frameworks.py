"""The same agent in four ways: `netra serve examples/other_frameworks.py`, and ask any of them for order 7.

Needs the extras: `pip install "netra-apex[providers,langgraph,openai-agents]"`.
"""

from typing import Any

from agents import Agent as SDKAgent
from agents import RunContextWrapper, function_tool
from langchain_core.tools import tool as langchain_tool
from langgraph.graph import MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, ToolRuntime, tools_condition
from pydantic_ai import Agent, RunContext

from netra_apex import (
    AgentRegistry,
    RunScope,
    ScopeChatModel,
    from_function,
    from_langgraph,
    from_openai_agents,
    from_pydantic_ai,
    tool,
)

RULES: dict[str, Any] = {"find_order": {"requires": "orders:read"}}


def found(number: int, scope: RunScope) -> str:
    """What every tool here gives: the user comes with the run, never from the model."""
    return f"order {number} of {scope.context.user_id} is on its way"


# A plain function


@tool(requires="orders:read")
async def find_order(number: int, scope: RunScope) -> str:
    """Find an order of the user's."""
    return found(number, scope)


async def plain(task: str, scope: RunScope) -> str:
    """Finds the order whose number is in the message."""
    number = int("".join(filter(str.isdigit, task)) or 0)
    return await scope.tools.call(find_order, number)


# Pydantic AI

pydantic_agent = Agent(description="Finds orders, by Pydantic AI.", instructions="Find orders. Be brief.")


@pydantic_agent.tool(name="find_order")
async def find_for_pydantic(ctx: RunContext[RunScope], number: int) -> str:
    """Find an order of the user's."""
    return found(number, ctx.deps)


# LangGraph


@langchain_tool("find_order")
async def find_for_langgraph(number: int, runtime: ToolRuntime[RunScope]) -> str:
    """Find an order of the user's."""
    return found(number, runtime.context)


model = ScopeChatModel().bind_tools([find_for_langgraph])


async def answer(state: MessagesState) -> dict[str, Any]:
    """The graph's one node besides its tools."""
    return {"messages": [await model.ainvoke(state["messages"])]}


graph = StateGraph(MessagesState, context_schema=RunScope)
graph.add_node("answer", answer)
graph.add_node("tools", ToolNode([find_for_langgraph]))
graph.add_edge("__start__", "answer")
graph.add_conditional_edges("answer", tools_condition)
graph.add_edge("tools", "answer")


# OpenAI Agents SDK


@function_tool(name_override="find_order")
async def find_for_sdk(ctx: RunContextWrapper[RunScope], number: int) -> str:
    """Find an order of the user's."""
    return found(number, ctx.context)


sdk_agent = SDKAgent[RunScope](name="orders", instructions="Find orders. Be brief.", tools=[find_for_sdk])


registry = AgentRegistry(
    [
        from_function(plain, name="plain"),
        from_pydantic_ai(pydantic_agent, name="pydantic-ai", tools=RULES),
        from_langgraph(graph, name="langgraph", tools=RULES),
        from_openai_agents(sdk_agent, name="openai-agents", tools=RULES),
    ]
)
