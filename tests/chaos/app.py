"""The application that is killed: an agent that uses every kind of step, and writes down each effect that it has.

`die-NAME` beside this file makes the process kill itself at that boundary, once.
"""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from netra_apex import AgentRegistry, BaseAgent, RunScope, tool
from netra_apex.core.messages import AssistantMessage, UserMessage

PLACE = Path(__file__).parent
BOUNDARIES = (
    "start", "thought", "call-begun", "call-done", "called", "step-done", "stepped", "left", "right", "side by side",
    "asked", "answered", "told",
)  # fmt: skip


def boundary(name: str) -> None:
    """Dies here, if the test has said so."""
    order = PLACE / f"die-{name}"
    if order.exists():
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def note(*words: object) -> None:
    """Writes an effect down, at once and whole, as another process's payment would be."""
    with (PLACE / "effects.log").open("a") as log:
        log.write(" ".join(map(str, words)) + "\n")


@tool(idempotent=True)
async def put(what: str, *, scope: RunScope) -> str:
    """Put something somewhere."""
    note("begun", scope.context.run_id, scope.context.idempotency_key)
    boundary("call-begun" if what == "first" else what)
    await asyncio.sleep(0.02)
    note("done", scope.context.run_id, scope.context.idempotency_key)
    boundary("call-done")
    return f"put {what}"


async def count(scope: RunScope, task: str) -> dict[str, int]:
    """A step of the agent's own."""
    note("begun", scope.context.run_id, "step:count")
    await asyncio.sleep(0.01)
    note("done", scope.context.run_id, "step:count")
    boundary("step-done")
    return {"letters": len(task)}


class Worker(BaseAgent):
    """Works through every kind of step."""

    name = "worker"

    async def run(self, task: str, scope: RunScope) -> Any:
        boundary("start")
        await scope.think("planning")
        boundary("thought")
        first = await scope.tools.call(put, "first")
        boundary("called")
        counted = await scope.step("count", count, scope, task)
        boundary("stepped")
        sides = await asyncio.gather(scope.tools.call(put, "left"), scope.tools.call(put, "right"))
        boundary("side by side")
        asked = UserMessage(f"{task} [[call=put chunks=12 delay=10]]")
        reply = await scope.model([asked], tools=(put,))
        boundary("asked")
        answers = await scope.tools.answer(reply.tool_calls)
        boundary("answered")
        last = await scope.model([asked, AssistantMessage(reply.text, reply.tool_calls), *answers], tools=(put,))
        boundary("told")
        return {"first": first, "counted": counted, "sides": sides, "said": last.text}


registry = AgentRegistry([Worker])
