"""Routes of what agents remember of a user, for the user himself: `/api/me/memories`."""

from typing import Self

from fastapi import APIRouter
from pydantic import BaseModel

from netra_apex.core.memories import Memory
from netra_apex.errors import NotFound
from netra_apex.server.callers import SECURITY, Caller, Running
from netra_apex.server.problems import responses
from netra_apex.server.shapes import Instant, Listing
from netra_apex.server.threads import Cursor, Limit, Search

router = APIRouter(prefix="/api/me/memories", tags=["memory"], dependencies=SECURITY)


class MemoryShape(BaseModel):
    """Something that is remembered of a user. `key` is what agents call it by, where they gave it a name."""

    memory_id: str
    text: str
    key: str | None
    created_at: Instant

    @classmethod
    def of(cls, memory: Memory) -> Self:
        """From a stored memory."""
        return cls(memory_id=memory.memory_id, text=memory.text, key=memory.key, created_at=memory.created_at)


@router.get("", operation_id="list_memories", responses=responses(401, 422))
async def list_memories(
    principal: Caller, services: Running, limit: Limit = 50, cursor: Cursor = None, q: Search = None
) -> Listing[MemoryShape]:
    """What is remembered of this user, the latest first; with `q` what has words of it, the most fitting first."""
    memories = services.runtime.stores.memories
    page = await memories.page(principal.user_id, limit=limit, cursor=cursor, query=q or None)
    return Listing[MemoryShape].of(page, MemoryShape.of)


@router.delete("/{memory_id}", operation_id="forget", status_code=204, responses=responses(401, 403, 404, 422))
async def forget(memory_id: str, principal: Caller, services: Running) -> None:
    """Forgets it for good."""
    if not await services.runtime.stores.memories.forget(principal.user_id, memory_id):
        raise NotFound("memory", memory_id)
