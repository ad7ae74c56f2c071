"""Tools of an operator's agent, for users with the permission `admin`: `tools = admin_tools`.

Each is a tool like any other, denied to whoever has not the permission; what it does is asked for once more where it is
done (`core.administration`), and leaves a row in the audit. Those that do something to others wait for a yes.
"""

from typing import Annotated, Any

from pydantic import Field

from netra_apex.core.accounts import User
from netra_apex.core.permissions import ADMIN
from netra_apex.core.runs import RunStatus
from netra_apex.core.scope import RunScope
from netra_apex.tools.tool import tool

Limit = Annotated[int, Field(ge=1, le=200)]
Cursor = Annotated[str | None, Field(description="next_cursor of the page before.")]
Name = Annotated[str, Field(description="The user's name.")]


@tool(requires=ADMIN, idempotent=True)
async def list_users(limit: Limit = 50, cursor: Cursor = None, *, scope: RunScope) -> dict[str, Any]:
    """List the accounts: names, permissions, and who is disabled."""
    page = await scope.store.admin.users(limit=limit, cursor=cursor)
    return {"users": [_user(user) for user in page.items], "next_cursor": page.next_cursor}


@tool(requires=ADMIN, idempotent=True, needs_approval=True)
async def disable_user(user_id: Name, *, scope: RunScope) -> dict[str, Any]:
    """Keep a user from logging in, and end the user's logins."""
    return _user(await scope.store.admin.set_disabled(user_id, disabled=True))


@tool(requires=ADMIN, idempotent=True, needs_approval=True)
async def enable_user(user_id: Name, *, scope: RunScope) -> dict[str, Any]:
    """Let a user who was disabled log in again."""
    return _user(await scope.store.admin.set_disabled(user_id, disabled=False))


@tool(requires=ADMIN, idempotent=True)
async def list_runs(
    status: RunStatus | None = None, limit: Limit = 50, cursor: Cursor = None, *, scope: RunScope
) -> dict[str, Any]:
    """List all users' runs, the latest first: ids, states and times, and nothing of what was said."""
    statuses = () if status is None else (status,)
    page = await scope.store.admin.runs(statuses=statuses, limit=limit, cursor=cursor)
    return {
        "runs": [
            {"run_id": run.run_id, "user_id": run.user_id, "agent": run.agent, "status": run.status}
            | {"created_at": run.created_at, "ended_at": run.ended_at}
            for run in page.items
        ],
        "next_cursor": page.next_cursor,
    }


@tool(requires=ADMIN, idempotent=True, needs_approval=True)
async def cancel_run(run_id: str, *, scope: RunScope) -> str:
    """Cancel a run of any user."""
    run = await scope.store.admin.cancel_run(run_id)
    return f"it was {run.status} already" if run.status.ended else "it is being cancelled"


@tool(requires=ADMIN, idempotent=True)
async def read_audit(limit: Limit = 50, cursor: Cursor = None, *, scope: RunScope) -> dict[str, Any]:
    """Read what was done by administrators, the latest first."""
    page = await scope.store.admin.audit(limit=limit, cursor=cursor)
    return {
        "entries": [
            {"at": entry.at, "actor": entry.actor, "action": entry.action, "subject": entry.subject}
            | {"run_id": entry.run_id, "details": dict(entry.details)}
            for entry in page.items
        ],
        "next_cursor": page.next_cursor,
    }


admin_tools = (list_users, disable_user, enable_user, list_runs, cancel_run, read_audit)


def _user(user: User) -> dict[str, Any]:
    return {"user_id": user.user_id, "permissions": sorted(user.permissions), "disabled": user.disabled}
