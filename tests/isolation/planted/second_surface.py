"""Cause 12: reading asks whose it is, listing does not."""

from netra_apex import AgentRegistry, ChatAgent, RunScope, tool

NOTES: dict[str, str] = {}


@tool
async def save_note(text: str, *, scope: RunScope) -> str:
    """Keeps a note."""
    NOTES[scope.context.user_id] = text
    return "kept"


@tool
async def read_note(*, scope: RunScope) -> str:
    """The user's note."""
    return NOTES.get(scope.context.user_id, "none")


@tool
async def list_notes() -> list[str]:
    """All notes."""
    return list(NOTES.values())


class Assistant(ChatAgent):
    name = "assistant"
    instructions = "Call `save_note` and `list_notes`."
    tools = (save_note, read_note, list_notes)


registry = AgentRegistry([Assistant])
