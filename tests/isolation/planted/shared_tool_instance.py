"""Cause 1: an attribute on an object that every run shares."""

import asyncio

from netra_apex import AgentRegistry, ChatAgent, RunScope, tool


class Toolkit:
    def __init__(self) -> None:
        self.asked_by = ""


TOOLKIT = Toolkit()


@tool
async def look_up(query: str, *, scope: RunScope) -> str:
    """Looks something up."""
    TOOLKIT.asked_by = query
    await asyncio.sleep(0)
    return f"{TOOLKIT.asked_by} is found"


class Assistant(ChatAgent):
    name = "assistant"
    tools = (look_up,)


registry = AgentRegistry([Assistant])
