"""Routes of administrators: `/api/admin/*`. Who is one is decided where it is done, with the row in the audit."""

from typing import Annotated, Any, Self

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from netra_apex.core.accounts import User
from netra_apex.core.administration import Actor, AuditEntry
from netra_apex.core.runs import RunStatus
from netra_apex.server.auth import Principal
from netra_apex.server.callers import SECURITY, Caller, Running
from netra_apex.server.eventstream import MAX_SEQ, EventStream, after_of, wants_stream
from netra_apex.server.overview import AnyRunShape, OverviewShape, ProcessShape, RunStateShape, Watch
from netra_apex.server.problems import responses
from netra_apex.server.runs import EVENTS
from netra_apex.server.services import Services
from netra_apex.server.shapes import Instant, Listing, UserShape
from netra_apex.server.threads import Cursor, Limit

router = APIRouter(prefix="/api/admin", tags=["admin"], dependencies=SECURITY)

_OVERVIEW: dict[str, Any] = {
    "description": "How it stands, or the stream of that",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


class AccountShape(UserShape):
    """An account, as an administrator sees it."""

    disabled: bool

    @classmethod
    def of(cls, user: User) -> Self:
        """From an account."""
        return cls(**dict(UserShape.of(user)), disabled=user.disabled)


class AuditShape(BaseModel):
    """Something that was done as an administrator. `run_id` is the run in which a tool did it."""

    audit_id: str
    at: Instant
    actor: str
    action: str
    subject: str | None
    run_id: str | None
    details: dict[str, Any]

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """From a stored row."""
        return cls(
            audit_id=entry.audit_id,
            at=entry.at,
            actor=entry.actor,
            action=entry.action,
            subject=entry.subject,
            run_id=entry.run_id,
            details=dict(entry.details),
        )


def actor_of(principal: Principal) -> Actor:
    return Actor(user_id=principal.user_id, permissions=principal.permissions)


@router.get(
    "/overview",
    operation_id="admin_overview",
    response_model=OverviewShape,
    responses={200: _OVERVIEW, **responses(401, 403, 422, 429)},
)
async def overview(
    principal: Caller,
    services: Running,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """How everything stands; with `Accept: text/event-stream` every second, and one row in the audit for all of it."""
    await services.runtime.stores.administration.look(actor_of(principal), "watch", {})
    watch = Watch(services, principal)
    if not wants_stream(accept):
        return JSONResponse((await watch.once()).model_dump(mode="json"))
    return EventStream(
        watch.frames(),
        services.runtime.manager.stream(principal.user_id),
        services.runtime.settings.heartbeat_seconds,
        _asked_with_each_look,
    )


async def _asked_with_each_look() -> bool:
    return True


@router.get("/users", operation_id="admin_list_users", responses=responses(401, 403, 422))
async def list_users(
    principal: Caller, services: Running, limit: Limit = 50, cursor: Cursor = None
) -> Listing[AccountShape]:
    """The accounts, by name."""
    page = await services.runtime.stores.administration.users(actor_of(principal), limit=limit, cursor=cursor)
    return Listing[AccountShape].of(page, AccountShape.of)


@router.post("/users/{username}/disable", operation_id="admin_disable_user", responses=responses(401, 403, 404, 422))
async def disable_user(username: str, principal: Caller, services: Running) -> AccountShape:
    """Keeps a user from logging in, and ends the user's logins."""
    administration = services.runtime.stores.administration
    return AccountShape.of(await administration.set_disabled(actor_of(principal), username, disabled=True))


@router.post("/users/{username}/enable", operation_id="admin_enable_user", responses=responses(401, 403, 404, 422))
async def enable_user(username: str, principal: Caller, services: Running) -> AccountShape:
    """Lets a user who was disabled log in again."""
    administration = services.runtime.stores.administration
    return AccountShape.of(await administration.set_disabled(actor_of(principal), username, disabled=False))


@router.get("/runs", operation_id="admin_list_runs", responses=responses(401, 403, 422))
async def list_runs(
    principal: Caller,
    services: Running,
    status: RunStatus | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[AnyRunShape]:
    """All users' runs, the latest first: ids, states and times."""
    statuses = () if status is None else (status,)
    administration = services.runtime.stores.administration
    page = await administration.runs(actor_of(principal), statuses=statuses, limit=limit, cursor=cursor)
    return Listing[AnyRunShape].of(page, AnyRunShape.of)


@router.get("/runs/{run_id}", operation_id="admin_get_run", responses=responses(401, 403, 404, 422))
async def get_run(run_id: str, principal: Caller, services: Running) -> RunStateShape:
    """A run of any user, and how it is carried out."""
    return RunStateShape.of_state(await services.runtime.stores.administration.show_run(actor_of(principal), run_id))


@router.get(
    "/runs/{run_id}/events",
    operation_id="admin_list_events",
    response_class=Response,
    responses={200: EVENTS, **responses(401, 403, 404, 422, 429)},
)
async def events(
    run_id: str,
    principal: Caller,
    services: Running,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ, description="The last seq that is known already")] = 0,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
    last_event_id: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """What a run of any user told, read as its owner; with `Accept: text/event-stream` live."""
    # The row in the audit stands before anything is read.
    state = await services.runtime.stores.administration.read_events(actor_of(principal), run_id)
    reader, owner = services.runtime.reader, state.run.user_id
    if not wants_stream(accept):
        texts, last_seq = await reader.read(owner, run_id, after)
        return Response(f'{{"events":[{",".join(texts)}],"last_seq":{last_seq}}}', media_type="application/json")
    follower = await reader.follower(owner, run_id, after_of(last_event_id, after))
    return EventStream(
        reader.follow_on(owner, follower),
        services.runtime.manager.stream(principal.user_id),
        services.runtime.settings.heartbeat_seconds,
        lambda: _still_administers(services, principal),
    )


async def _still_administers(services: Services, principal: Principal) -> bool:
    if not await services.authenticator.still_valid(principal):
        return False
    return await services.runtime.stores.administration.is_administrator(actor_of(principal))


@router.post("/runs/{run_id}/cancel", operation_id="admin_cancel_run", responses=responses(401, 403, 404, 422))
async def cancel_run(run_id: str, principal: Caller, services: Running) -> AnyRunShape:
    """Has a run of any user end; the answer is the run as it was found."""
    return AnyRunShape.of(await services.runtime.stores.administration.cancel_run(actor_of(principal), run_id))


@router.post("/processes/{executor}/drain", operation_id="admin_drain_process", responses=responses(401, 403, 404, 422))
async def drain(executor: str, principal: Caller, services: Running) -> ProcessShape:
    """Has a process take no new work, within about a second; what runs there goes on."""
    administration = services.runtime.stores.administration
    return ProcessShape.of(await administration.drain(actor_of(principal), executor, draining=True))


@router.post(
    "/processes/{executor}/resume", operation_id="admin_resume_process", responses=responses(401, 403, 404, 422)
)
async def resume(executor: str, principal: Caller, services: Running) -> ProcessShape:
    """Has a process that was drained take work again."""
    administration = services.runtime.stores.administration
    return ProcessShape.of(await administration.drain(actor_of(principal), executor, draining=False))


@router.get("/audit", operation_id="admin_read_audit", responses=responses(401, 403, 422))
async def read_audit(
    principal: Caller, services: Running, limit: Limit = 50, cursor: Cursor = None
) -> Listing[AuditShape]:
    """What was done as an administrator, the latest first."""
    page = await services.runtime.stores.administration.audit(actor_of(principal), limit=limit, cursor=cursor)
    return Listing[AuditShape].of(page, AuditShape.of)
