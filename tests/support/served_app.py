"""The application that acceptance tests serve: `netra serve app.py`, from a folder of its own.

Its tools write down beside this file that they ran, so that a test sees side effects and not only what is told of them.
"""

import asyncio
from pathlib import Path

from netra_apex import AgentRegistry, BaseAgent, ChatAgent, RunScope, tool

LOG = Path(__file__).with_name("tool.log")


def note(scope: RunScope, tool_name: str, about: str) -> None:
    with LOG.open("a") as log:
        log.write(f"{tool_name} {scope.context.user_id} {scope.context.run_id} {about}\n")


@tool(requires="orders:read", timeout=10)
async def lookup(query: str, *, scope: RunScope) -> str:
    """Find an order by number or name."""
    note(scope, "lookup", query)
    return f"one order for {query}"


@tool
async def hold(query: str, *, scope: RunScope) -> str:
    """Never ends by itself."""
    note(scope, "hold", query)
    await asyncio.Event().wait()
    return query


@tool(idempotent=True)
async def retried(query: str, *, scope: RunScope) -> str:
    """Never ends the first time, and at once when it is called again."""
    key = scope.context.idempotency_key
    again = LOG.exists() and str(key) in LOG.read_text()
    note(scope, "retried", f"{query} {key}")
    if not again:
        await asyncio.Event().wait()
    return f"again {query}"


@tool(requires="orders:write")
async def destroy(query: str, *, scope: RunScope) -> str:
    """Nobody here may."""
    note(scope, "destroy", query)
    return query


class Assistant(ChatAgent):
    """Answers questions about orders."""

    name = "assistant"
    instructions = "Answer briefly."
    tools = (lookup, hold, retried, destroy)


class Greeter(BaseAgent):
    """Greets."""

    name = "greeter"

    async def run(self, task: str, scope: RunScope) -> str:
        await scope.think("choosing a greeting")
        return f"Hello {scope.context.user_id}: {task}"


class Waiter(BaseAgent):
    """Waits until it is stopped."""

    name = "waiter"

    async def run(self, task: str, scope: RunScope) -> str:
        await scope.think("waiting")
        await asyncio.Event().wait()
        return task


class Chronicler(BaseAgent):
    """Tells many large events: its task is `COUNT SIZE`."""

    name = "chronicler"

    async def run(self, task: str, scope: RunScope) -> str:
        count, size = map(int, task.split())
        for number in range(count):
            await scope.think(f"{number} ".ljust(size, "x"))
        return "told"


class Guarded(BaseAgent):
    """For nobody here."""

    name = "guarded"
    requires = "orders:write"

    async def run(self, task: str, scope: RunScope) -> str:
        return task


registry = AgentRegistry([Assistant, Greeter, Waiter, Chronicler, Guarded], default="assistant")
