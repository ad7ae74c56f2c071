"""The application that tests of other protocols serve: agents that answer, ask, hand on, wait, fail and may not."""

import asyncio
from pathlib import Path

from netra_apex import AgentRegistry, BaseAgent, ChatAgent, RunScope, SupervisorAgent, ask_user, tool

LOG = Path(__file__).with_name("tool.log")


def note(line: str) -> None:
    with LOG.open("a") as log:
        log.write(line + "\n")


@tool
async def look(query: str, *, scope: RunScope) -> str:
    """Looks something up."""
    note(f"look {scope.context.user_id}")
    return f"one order for {query}"


@tool(needs_approval=True)
async def pay(amount: int, *, scope: RunScope) -> str:
    """Pays."""
    note(f"pay {scope.context.user_id} {amount}")
    return f"paid {amount}"


class Assistant(ChatAgent):
    """Answers."""

    name = "assistant"
    instructions = "Answer briefly."
    tools = (look,)


class Payer(BaseAgent):
    """Asks how much, and pays it."""

    name = "payer"

    async def run(self, task: str, scope: RunScope) -> str:
        amount = await scope.tools.call(ask_user, "How much?")
        return await scope.tools.call(pay, int(amount))


class Boss(SupervisorAgent):
    """Has others do it."""

    name = "boss"
    members = (Payer, Assistant)

    async def run(self, task: str, scope: RunScope) -> str:
        found = await scope.delegate(Payer if task == "pay" else Assistant, task)
        return found.output if found.ok else f"Not done: {found.error.message}"


class Waiter(BaseAgent):
    """Waits until it is stopped."""

    name = "waiter"

    async def run(self, task: str, scope: RunScope) -> str:
        await scope.think("waiting")
        await asyncio.Event().wait()
        return task


class Reader(BaseAgent):
    """Tells what files came."""

    name = "reader"

    async def run(self, task: str, scope: RunScope) -> dict[str, object]:
        files = [{"name": file.name, "size": file.size} for file in await scope.store.files.list()]
        return {"task": task, "files": files}


class Guarded(BaseAgent):
    """For nobody here."""

    name = "guarded"
    requires = "orders:write"

    async def run(self, task: str, scope: RunScope) -> str:
        return task


registry = AgentRegistry([Assistant, Payer, Boss, Waiter, Reader, Guarded], default="assistant")
