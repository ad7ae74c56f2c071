"""Cause 8: a connection that goes back to its pool with an answer in it that nobody read."""

import asyncio

from netra_apex import AgentRegistry, ChatAgent, tool


class Connection:
    """Answers in order, a little later."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def ask(self, query: str) -> str:
        self.sent.append(query)
        for _ in range(20):
            await asyncio.sleep(0)
        return f"rows of {self.sent.pop(0)}"


class Pool:
    def __init__(self) -> None:
        self.free = [Connection()]

    def take(self) -> Connection:
        return self.free.pop() if self.free else Connection()


POOL = Pool()


@tool
async def query_orders(query: str) -> str:
    """Asks the database."""
    connection = POOL.take()
    try:
        return await connection.ask(query)
    finally:
        POOL.free.append(connection)


class Assistant(ChatAgent):
    name = "assistant"
    tools = (query_orders,)


registry = AgentRegistry([Assistant])
