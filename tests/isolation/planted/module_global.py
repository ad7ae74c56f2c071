"""Cause 3: a module's global, and a variable of the environment."""

import os

from netra_apex import AgentRegistry, ChatAgent, tool

last_query = ""


@tool
def look_up(query: str) -> str:
    """Looks something up."""
    global last_query
    last_query = query
    os.environ["LAST_QUERY"] = query
    return "found"


class Assistant(ChatAgent):
    name = "assistant"
    tools = (look_up,)


registry = AgentRegistry([Assistant])
