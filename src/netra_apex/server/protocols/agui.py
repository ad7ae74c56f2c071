"""Routes of AG-UI 1.0: `/api/agui`. What serves them is imported with the first request: few servers have one."""

import asyncio
import sys
from importlib import import_module
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from netra_apex.core.conversations import MAX_KEY
from netra_apex.server.callers import SECURITY, Caller, Running
from netra_apex.server.eventstream import MAX_SEQ, after_of
from netra_apex.server.problems import responses
from netra_apex.server.protocols.tailing import OpeningStream

DOOR = "netra_apex.server.protocols.agui_door"
router = APIRouter(prefix="/api/agui", tags=["agui"], dependencies=SECURITY)

_STREAM: dict[str, Any] = {
    "description": "AG-UI events",
    "content": {"text/event-stream": {"schema": {}}},
}
_CAPABILITIES: dict[str, Any] = {
    "description": "AG-UI's AgentCapabilities",
    "content": {"application/json": {"schema": {"type": "object"}}},
}
_INPUT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "AG-UI's RunAgentInput",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["threadId", "runId", "messages"],
                    "properties": {
                        "threadId": {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
                        "runId": {"type": "string", "minLength": 1},
                        "messages": {"type": "array", "items": {"type": "object"}},
                        "resume": {"type": "array", "items": {"type": "object"}},
                    },
                }
            }
        },
    }
}
LastEventId = Annotated[str | None, Header(include_in_schema=False)]


class Known(BaseModel):
    """What a client that comes back knows of a run."""

    after: int = Field(0, ge=0, le=MAX_SEQ, description="The last seq that is known already")
    thread: str | None = Field(None, max_length=MAX_KEY, description="What the client calls the thread")
    run: str | None = Field(None, max_length=MAX_KEY, description="What the client calls the run")


async def _door():
    """What serves the protocol. Its package takes a tenth of a second to import: not while everybody else waits."""
    if DOOR not in sys.modules:
        await asyncio.to_thread(import_module, DOOR)
    from netra_apex.server.protocols import agui_door

    return agui_door


@router.post(
    "/{agent}",
    operation_id="agui_run",
    response_class=Response,
    responses={200: _STREAM, **responses(401, 403, 404, 409, 413, 422, 429)},
    openapi_extra=_INPUT,
)
async def run(
    agent: str, request: Request, principal: Caller, services: Running, last_event_id: LastEventId = None
) -> Response:
    """Starts a run of an agent and streams it, or answers what a run waits for. The same `runId` again attaches."""
    body = await request.body()
    door = await _door()
    given = door.read(body, request.headers.get("content-type"))
    begin = door.opening(services.runtime, principal, agent, given, last_event_id)
    return OpeningStream(services, principal, begin)


@router.get(
    "/{agent}",
    operation_id="agui_capabilities",
    response_class=Response,
    responses={200: _CAPABILITIES, **responses(401, 403, 404, 422)},
)
async def capabilities(agent: str, principal: Caller, services: Running) -> Response:
    """What an agent can do here."""
    door = await _door()
    return Response(door.capabilities(services.runtime, principal, agent), media_type="application/json")


@router.get(
    "/runs/{run_id}",
    operation_id="agui_attach",
    response_class=Response,
    responses={200: _STREAM, **responses(401, 404, 422, 429)},
)
async def attach(
    run_id: str,
    principal: Caller,
    services: Running,
    known: Annotated[Known, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """Goes on with a run's stream after an event; `thread` and `run` are what the client calls them."""
    door = await _door()
    after = after_of(last_event_id, known.after)
    begin = door.attaching(services.runtime, principal.user_id, run_id, after, (known.thread, known.run))
    return OpeningStream(services, principal, begin)
