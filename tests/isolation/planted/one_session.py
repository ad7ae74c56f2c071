"""Cause 6: one session for everybody, which carries whoever logged in last."""

import asyncio

from netra_apex import AgentRegistry, ChatAgent, tool


class Session:
    def __init__(self) -> None:
        self.headers: dict[str, str] = {}

    async def get(self, path: str) -> str:
        await asyncio.sleep(0)
        return f"{path} as {self.headers['authorization']}"


SESSION = Session()


@tool
async def fetch(token: str) -> str:
    """Fetches the orders."""
    SESSION.headers["authorization"] = token
    return await SESSION.get("/orders")


class Assistant(ChatAgent):
    name = "assistant"
    tools = (fetch,)


registry = AgentRegistry([Assistant])
