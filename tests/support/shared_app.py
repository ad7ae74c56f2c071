"""The application that several processes share in acceptance tests; it writes down what it does beside this file."""

import asyncio
import os
from pathlib import Path

from netra_apex import AgentRegistry, BaseAgent, ChatAgent, RunScope, tool
from netra_apex.core.messages import UserMessage

PLACE = Path(__file__).parent


def note(*words: object) -> None:
    """Writes a line, at once and whole."""
    with (PLACE / "notes.log").open("a") as log:
        log.write(" ".join(map(str, words)) + "\n")


@tool(idempotent=True)
async def tick(number: int, *, scope: RunScope) -> int:
    """Takes a moment."""
    await asyncio.sleep(0.05)
    note("tick", scope.context.run_id, number, os.getpid())
    return number


@tool(requires="orders:read", idempotent=True)
async def lookup(query: str, *, scope: RunScope) -> str:
    """Find an order by number or name."""
    note("lookup", scope.context.run_id, os.getpid())
    return f"one order for {query}"


class Assistant(ChatAgent):
    """Answers questions about orders."""

    name = "assistant"
    instructions = "Answer briefly."
    tools = (lookup,)


class Ticker(BaseAgent):
    """Its task is `TICKS CHUNKS`: so many calls, then an answer of so many pieces."""

    name = "ticker"

    async def run(self, task: str, scope: RunScope) -> list[int]:
        ticks, chunks = map(int, task.split())
        await scope.think("counting")
        told = [await scope.tools.call(tick, number) for number in range(ticks)]
        if chunks:
            await scope.model([UserMessage(f"tell {task} [[chunks={chunks} delay=20]]")])
        return told


class Gated(BaseAgent):
    """Waits until there is a file of its task's name; says when it begins and when it ends."""

    name = "gated"

    async def run(self, task: str, scope: RunScope) -> str:
        await scope.think("waiting")
        note("begins", scope.context.run_id, task, os.getpid())
        while not (PLACE / task).exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
        note("ends", scope.context.run_id, task, os.getpid())
        return task


class Waiter(BaseAgent):
    """Waits until it is stopped."""

    name = "waiter"

    async def run(self, task: str, scope: RunScope) -> str:
        await scope.think("waiting")
        await asyncio.Event().wait()
        return task


registry = AgentRegistry([Assistant, Ticker, Gated, Waiter], default="assistant")
