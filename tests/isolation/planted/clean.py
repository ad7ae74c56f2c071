"""The same kinds of application, done well: what is shared is under its owner's id, or nobody's words."""

import asyncio
from collections import Counter

from netra_apex import AgentRegistry, BaseAgent, ChatAgent, ChatOrchestrator, RunScope, ask_user, recall, remember, tool

NOTES: dict[str, str] = {}
CALLS: Counter[str] = Counter()


@tool
async def save_note(text: str, *, scope: RunScope) -> str:
    """Keeps a note."""
    CALLS["save_note"] += 1
    NOTES[scope.context.user_id] = text
    await asyncio.sleep(0)
    return NOTES[scope.context.user_id]


@tool
def shout(text: str) -> str:
    """In capitals."""
    CALLS["shout"] += 1
    return text.upper()


@tool(needs_approval=True)
async def send(text: str) -> str:
    """Sends it."""
    return f"sent {text}"


class Assistant(ChatAgent):
    name = "assistant"
    tools = (save_note, shout, send, remember, recall, ask_user)


class Writer(BaseAgent):
    name = "writer"

    async def run(self, task: str, scope: RunScope) -> str:
        self.lines = [task]
        await scope.think("writing")
        self.lines.append(await scope.tools.call(save_note, task))
        return " / ".join(self.lines)


class Desk(ChatOrchestrator):
    name = "desk"
    members = (Assistant, Writer)


registry = AgentRegistry([Assistant, Writer, Desk])
