"""The job's application: one agent, one tool that answers at once."""

from netra_apex import AgentRegistry, ChatAgent, tool


@tool
async def lookup(query: str) -> str:
    """Find an order by number or name."""
    return f"one order for {query}"


class Assistant(ChatAgent):
    """Answers with one tool call and a streamed text."""

    name = "assistant"
    instructions = "Answer briefly."
    tools = (lookup,)


registry = AgentRegistry([Assistant])
