"""Cause 10: the model says for whom a tool acts."""

from netra_apex import AgentRegistry, ChatAgent, RunScope, tool

NOTES: dict[str, str] = {}


@tool
async def save_note(text: str, *, scope: RunScope) -> str:
    """Keeps a note."""
    NOTES[scope.context.user_id] = text
    return "kept"


@tool
async def read_notes(user_id: str) -> str:
    """The notes of a user."""
    return NOTES.get(user_id, "none")


class Assistant(ChatAgent):
    name = "assistant"
    tools = (save_note, read_notes)


registry = AgentRegistry([Assistant])
