"""Routes of conversations: `/api/threads` and `/api/agents`."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator

from netra_apex.core.conversations import Order
from netra_apex.core.ids import new_id
from netra_apex.errors import NotFound
from netra_apex.server.callers import SECURITY, Caller, Running
from netra_apex.server.problems import responses
from netra_apex.server.shapes import (
    AgentShape,
    Listing,
    MessageShape,
    NewThread,
    OpenThread,
    RunShape,
    ThreadChange,
    ThreadShape,
    check_line,
)

router = APIRouter(prefix="/api", tags=["threads"], dependencies=SECURITY)
MAX_PAGE = 200

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items of a page")]
Cursor = Annotated[str | None, Query(max_length=256, description="The next_cursor of the page before")]
Search = Annotated[
    str | None,
    Query(max_length=200, description="Words of the title or of a message"),
    AfterValidator(lambda text: text if text is None else check_line(text)),
]


@router.get("/agents", operation_id="list_agents", responses=responses(401))
async def agents(principal: Caller, services: Running) -> Listing[AgentShape]:
    """The agents that this user may run."""
    described = services.runtime.registry.describe(principal.permissions)
    return Listing(items=[AgentShape(name=name, description=description) for name, description in described])


@router.get("/threads", operation_id="list_threads", responses=responses(401, 422))
async def list_threads(
    principal: Caller, services: Running, limit: Limit = 50, cursor: Cursor = None, q: Search = None
) -> Listing[ThreadShape]:
    """This user's threads, the one last used first."""
    conversations = services.runtime.stores.conversations
    page = await conversations.threads(principal.user_id, limit=limit, cursor=cursor, query=q or None)
    return Listing[ThreadShape].of(page, ThreadShape.of)


@router.post("/threads", operation_id="create_thread", status_code=201, responses=responses(401, 403, 413, 422))
async def create_thread(principal: Caller, services: Running, body: NewThread | None = None) -> ThreadShape:
    """Begins a thread."""
    title = (body.title if body is not None else None) or ""
    thread = await services.runtime.stores.conversations.add_thread(principal.user_id, new_id("thr"), title)
    return ThreadShape.of(thread)


@router.get("/threads/{thread_id}", operation_id="get_thread", responses=responses(401, 404, 422))
async def get_thread(thread_id: str, principal: Caller, services: Running) -> OpenThread:
    """A thread with its unfinished runs."""
    conversations = services.runtime.stores.conversations
    thread = await conversations.thread(principal.user_id, thread_id)
    if thread is None:
        raise NotFound("thread", thread_id)
    runs = await conversations.unfinished(principal.user_id, thread_id)
    shape = ThreadShape.of(thread)
    return OpenThread(**dict(shape), runs=[RunShape.of(run) for run in runs])


@router.patch("/threads/{thread_id}", operation_id="rename_thread", responses=responses(401, 403, 404, 413, 422))
async def rename_thread(thread_id: str, body: ThreadChange, principal: Caller, services: Running) -> ThreadShape:
    """Gives a thread another title."""
    thread = await services.runtime.stores.conversations.rename_thread(principal.user_id, thread_id, body.title)
    if thread is None:
        raise NotFound("thread", thread_id)
    return ThreadShape.of(thread)


@router.delete(
    "/threads/{thread_id}",
    operation_id="delete_thread",
    status_code=204,
    responses=responses(401, 403, 404, 409, 422),
)
async def delete_thread(thread_id: str, principal: Caller, services: Running) -> None:
    """Deletes a thread with its messages, runs and events; its unfinished runs are cancelled first.

    409 where another run begins meanwhile.
    """
    if not await services.runtime.admission.delete_thread(principal.user_id, thread_id):
        raise NotFound("thread", thread_id)


@router.get("/threads/{thread_id}/messages", operation_id="list_messages", responses=responses(401, 404, 422))
async def messages(
    thread_id: str,
    principal: Caller,
    services: Running,
    limit: Limit = 50,
    cursor: Cursor = None,
    order: Annotated[Order, Query(description="The oldest first, or (`desc`) the newest")] = "asc",
) -> Listing[MessageShape]:
    """What was said in a thread, oldest first unless asked otherwise."""
    conversations = services.runtime.stores.conversations
    page = await conversations.messages(principal.user_id, thread_id, limit=limit, cursor=cursor, order=order)
    if page is None:
        raise NotFound("thread", thread_id)
    return Listing[MessageShape].of(page, MessageShape.of)
