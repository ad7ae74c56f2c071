"""Routes of runs: posting a message, a run's state, its end, its events."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from pydantic import Field
from starlette.responses import Response

from netra_apex.core.runs import RunStatus
from netra_apex.errors import NotFound
from netra_apex.server.callers import SECURITY, Caller, Running
from netra_apex.server.eventstream import MAX_SEQ, EventStream, after_of, wants_stream
from netra_apex.server.problems import responses
from netra_apex.server.shapes import AcceptedShape, NewRun, RunShape

router = APIRouter(prefix="/api", tags=["runs"], dependencies=SECURITY)

EVENTS: dict[str, Any] = {
    "description": "The events, or their stream",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["events", "last_seq"],
                "properties": {
                    "events": {"type": "array", "items": {"type": "object"}},
                    "last_seq": {"type": "integer", "minimum": 0},
                },
            }
        },
        "text/event-stream": {"schema": {"type": "string"}},
    },
}


class RunStanding(RunShape):
    """A run, and its place while it waits: how many of its user's runs wait before it; null where it does not wait."""

    ahead: Annotated[int, Field(ge=0)] | None


@router.post(
    "/threads/{thread_id}/runs",
    operation_id="create_run",
    status_code=202,
    responses=responses(401, 403, 404, 409, 413, 422, 429),
)
async def create_run(thread_id: str, body: NewRun, principal: Caller, services: Running) -> AcceptedShape:
    """Posts a message, which an agent answers in a run. The same idempotency key again gets the same answer."""
    accepted = await services.runtime.admission.post(principal.user_id, principal.permissions, body.post(thread_id))
    return AcceptedShape(
        run_id=accepted.run_id,
        thread_id=accepted.thread_id,
        message_id=accepted.message_id,
        status=accepted.status,
    )


@router.get("/runs/{run_id}", operation_id="get_run", responses=responses(401, 404, 422))
async def get_run(run_id: str, principal: Caller, services: Running) -> RunStanding:
    """A run's state, and its place while it waits."""
    stores = services.runtime.stores
    run = await stores.runs.run(principal.user_id, run_id)
    if run is None:
        raise NotFound("run", run_id)
    ahead = await stores.turns.ahead(principal.user_id, run_id) if run.status is RunStatus.QUEUED else None
    return RunStanding(**dict(RunShape.of(run)), ahead=ahead)


@router.post("/runs/{run_id}/cancel", operation_id="cancel_run", responses=responses(401, 403, 404, 422))
async def cancel_run(run_id: str, principal: Caller, services: Running) -> RunShape:
    """Ends a run; one that has ended stays as it is."""
    return RunShape.of(await services.runtime.admission.cancel(principal.user_id, run_id))


@router.get(
    "/runs/{run_id}/events",
    operation_id="list_events",
    response_class=Response,
    responses={200: EVENTS, **responses(401, 404, 422, 429)},
)
async def events(
    run_id: str,
    principal: Caller,
    services: Running,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ, description="The last seq that is known already")] = 0,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
    last_event_id: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """The durable events after a seq; or, for `Accept: text/event-stream`, those and then everything live."""
    reader = services.runtime.reader
    if not wants_stream(accept):
        texts, last_seq = await reader.read(principal.user_id, run_id, after)
        # The stored texts as they are: replay gives the same bytes (G1).
        body = f'{{"events":[{",".join(texts)}],"last_seq":{last_seq}}}'
        return Response(body, media_type="application/json")
    # Refused before the stream begins, while a status can still say so.
    follower = await reader.follower(principal.user_id, run_id, after_of(last_event_id, after))
    return EventStream(
        reader.follow_on(principal.user_id, follower),
        services.runtime.manager.stream(principal.user_id),
        services.runtime.settings.heartbeat_seconds,
        lambda: services.authenticator.still_valid(principal),
    )
