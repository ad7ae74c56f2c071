"""Routes of administrators: `/api/admin/*`. Who is one is decided where it is done, with the row in the audit."""

from typing import Any, Self

from fastapi import APIRouter
from pydantic import BaseModel

from netra_apex.core.accounts import User
from netra_apex.core.administration import Actor, AuditEntry
from netra_apex.core.runs import Run, RunStatus
from netra_apex.server.auth import Principal
from netra_apex.server.callers import SECURITY, Caller, Running
from netra_apex.server.problems import responses
from netra_apex.server.shapes import Instant, Listing, RunShape, UserShape
from netra_apex.server.threads import Cursor, Limit

router = APIRouter(prefix="/api/admin", tags=["admin"], dependencies=SECURITY)


class AccountShape(UserShape):
    """An account, as an administrator sees it."""

    disabled: bool

    @classmethod
    def of(cls, user: User) -> Self:
        """From an account."""
        return cls(**dict(UserShape.of(user)), disabled=user.disabled)


class AnyRunShape(RunShape):
    """A run, as an administrator sees it."""

    user_id: str

    @classmethod
    def of(cls, run: Run) -> Self:
        """From a stored run."""
        return cls(**dict(RunShape.of(run)), user_id=run.user_id)


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


@router.post("/runs/{run_id}/cancel", operation_id="admin_cancel_run", responses=responses(401, 403, 404, 422))
async def cancel_run(run_id: str, principal: Caller, services: Running) -> AnyRunShape:
    """Has a run of any user end; the answer is the run as it was found."""
    return AnyRunShape.of(await services.runtime.stores.administration.cancel_run(actor_of(principal), run_id))


@router.get("/audit", operation_id="admin_read_audit", responses=responses(401, 403, 422))
async def read_audit(
    principal: Caller, services: Running, limit: Limit = 50, cursor: Cursor = None
) -> Listing[AuditShape]:
    """What was done as an administrator, the latest first."""
    page = await services.runtime.stores.administration.audit(actor_of(principal), limit=limit, cursor=cursor)
    return Listing[AuditShape].of(page, AuditShape.of)
