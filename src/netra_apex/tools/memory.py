"""Tools by which agents remember: for an agent's `tools`. What is remembered is its user's, and his agents share it."""

from typing import Annotated, Any

from pydantic import Field

from netra_apex.core.memories import Memory
from netra_apex.core.scope import RunScope
from netra_apex.tools.tool import tool


@tool(idempotent=True)
async def remember(
    text: Annotated[str, Field(description="One fact, in a sentence that can be understood by itself.")],
    key: Annotated[str | None, Field(description="A name for the fact, where a new one is to replace it.")] = None,
    *,
    scope: RunScope,
) -> dict[str, Any]:
    """Remember a fact about the user for later conversations, such as a preference or a decision. Never a secret."""
    return _shown(await scope.store.memory.remember(text, key=key))


@tool(idempotent=True)
async def recall(
    query: Annotated[str, Field(description="Words that what is sought has in it; synonyms help.")],
    limit: Annotated[int, Field(ge=1, le=20)] = 5,
    *,
    scope: RunScope,
) -> list[dict[str, Any]]:
    """Search what was remembered about the user before, in this or earlier conversations."""
    return [_shown(memory) for memory in await scope.store.memory.search(query, limit=limit)]


@tool(idempotent=True)
async def forget(
    memory_id: Annotated[str, Field(description="As recall or remember gave it.")], *, scope: RunScope
) -> str:
    """Forget something that was remembered about the user, for good."""
    return "forgotten" if await scope.store.memory.forget(memory_id) else "there is no such memory"


def _shown(memory: Memory) -> dict[str, Any]:
    named = {} if memory.key is None else {"key": memory.key}
    at = memory.created_at.isoformat(timespec="seconds")
    return {"memory_id": memory.memory_id, "text": memory.text, **named, "created_at": at}
