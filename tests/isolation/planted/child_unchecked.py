"""Cause 11: the parent's owner is checked where it is made, the child's is not."""

from netra_apex import AgentRegistry, ChatAgent, RunScope, tool

COMMENTS: dict[str, list[str]] = {}


@tool
async def comment(thread_id: str, text: str, *, scope: RunScope) -> str:
    """Adds a comment to a thread, and gives all that it has."""
    comments = COMMENTS.setdefault(thread_id, [])
    comments.append(text)
    return " / ".join(comments)


class Assistant(ChatAgent):
    name = "assistant"
    tools = (comment,)


registry = AgentRegistry([Assistant])
