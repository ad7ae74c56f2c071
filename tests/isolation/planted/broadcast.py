"""Cause 15: what is told to everybody who listens."""

import asyncio

from netra_apex import AgentRegistry, ChatAgent, tool

LISTENERS: set["asyncio.Queue[str]"] = set()


@tool
async def announce(news: str) -> str:
    """Tells the news, and what else is new."""
    mine: asyncio.Queue[str] = asyncio.Queue()
    LISTENERS.add(mine)
    try:
        await asyncio.sleep(0)
        for listener in LISTENERS:
            listener.put_nowait(news)
        await asyncio.sleep(0)
        return " / ".join(mine.get_nowait() for _ in range(mine.qsize()))
    finally:
        LISTENERS.discard(mine)


class Assistant(ChatAgent):
    name = "assistant"
    tools = (announce,)


registry = AgentRegistry([Assistant])
