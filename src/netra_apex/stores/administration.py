"""What administrators do, and the audit of it (port: `core.administration.Administration`).

Whatever is done or shown stands in one transaction with its row in the audit: without the row there is nothing.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from netra_apex.core.accounts import User, check_username
from netra_apex.core.administration import OPERATOR, Actor, AuditEntry, Overview, ProcessState, RunState
from netra_apex.core.conversations import Page
from netra_apex.core.ids import new_id
from netra_apex.core.permissions import ADMIN, allows
from netra_apex.core.runs import Run, RunStatus
from netra_apex.errors import Forbidden, Invalid, NotFound
from netra_apex.stores.accounts import SQL as ACCOUNTS
from netra_apex.stores.accounts import user_of
from netra_apex.stores.database import Database, Row, Transaction
from netra_apex.stores.operation import incident_of, load_of, processes_of, state_of
from netra_apex.stores.rows import LATEST, from_ms, may_be_id, now_ms, page_of, read_cursor, run_of
from netra_apex.stores.statements import statements

SQL, RUNS = statements("administration"), statements("runs")
ADMINS = "the administrators"  # a lock, and no user: names have no blanks
SHOWN_OPEN, SHOWN_ENDED, SHOWN_INCIDENTS = 200, 50, 50
R = TypeVar("R")
Work = Callable[[Transaction, dict[str, Any]], Awaitable[R]]
"""What is done. It notes what the audit is to say in the row that it is given, and refuses before it writes."""


class AdministrationStore:
    """See `core.administration.Administration`. `on_changed` is called when something was done to others."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.on_changed: Callable[[], None] = lambda: None

    async def users(self, actor: Actor, *, limit: int = 50, cursor: str | None = None) -> Page[User]:
        """The accounts, by name.

        Raises:
            Forbidden: the actor is no administrator.
            Invalid: the cursor is none of ours.
        """
        after = "" if cursor is None else read_cursor(cursor)[1]
        rows = await self._listed(actor, "users", {"after": after}, limit)
        return page_of(rows, limit, user_of, lambda row: (0, row[0]))

    async def set_disabled(self, actor: Actor, user_id: str, *, disabled: bool) -> User:
        """Keeps a user from logging in and ends his logins, or lets him log in again.

        Raises:
            Forbidden: the actor is no administrator.
            NotFound: there is no such user.
            Invalid: it is oneself, so that one administrator is left.
        """
        name = _name(user_id)

        async def work(tx: Transaction, row: dict[str, Any]) -> User:
            found = await tx.one(ACCOUNTS["user"], {"user_id": name})
            if found is None:
                raise NotFound("user", user_id)
            if disabled and name == actor.user_id:
                raise Invalid("nobody disables himself: another administrator can")
            row["subject"] = name
            await tx.run(ACCOUNTS["set_disabled"], {"user_id": name, "disabled": int(disabled)})
            if disabled:
                await tx.run(ACCOUNTS["end_sessions_of"], {"user_id": name})
            return user_of((*found[:2], disabled, found[3]))

        done = await self._audited(actor, "disable_user" if disabled else "enable_user", work)
        self.on_changed()
        return done

    async def runs(
        self, actor: Actor, *, statuses: Sequence[RunStatus] = (), limit: int = 50, cursor: str | None = None
    ) -> Page[Run]:
        """Everybody's runs, the latest first.

        Raises:
            Forbidden: the actor is no administrator.
            Invalid: the cursor is none of ours.
        """
        named = msgspec.json.encode([str(status) for status in statuses]).decode() if statuses else None
        rows = await self._listed(actor, "runs", {"statuses": named} | _before(cursor), limit)
        return page_of(rows, limit, run_of, lambda row: (row[7], row[0]))

    async def cancel_run(self, actor: Actor, run_id: str) -> Run:
        """Has anybody's run end; one that has ended stays as it is.

        Raises:
            Forbidden: the actor is no administrator.
            NotFound: there is no such run.
        """

        async def work(tx: Transaction, row: dict[str, Any]) -> Run:
            found = await tx.one(RUNS["any_run"], {"run_id": run_id}) if may_be_id(run_id) else None
            if found is None:
                raise NotFound("run", run_id)
            run = run_of(found)
            row["subject"] = run.user_id
            row["details"] = {"run_id": run_id, "status": str(run.status)}
            await tx.run(RUNS["request_cancel"], {"run_id": run_id, "by": OPERATOR})
            return run

        done = await self._audited(actor, "cancel_run", work)
        self.on_changed()
        return done

    async def audit(self, actor: Actor, *, limit: int = 50, cursor: str | None = None) -> Page[AuditEntry]:
        """What was done as an administrator, the latest first; this look at it comes with the next.

        Raises:
            Forbidden: the actor is no administrator.
            Invalid: the cursor is none of ours.
        """
        rows = await self._listed(actor, "audit", _before(cursor), limit)
        return page_of(rows, limit, _entry, lambda row: (row[1], row[0]))

    async def look(self, actor: Actor, action: str, details: Mapping[str, Any]) -> float:
        """Leaves the row of a look at what takes too long to read in its transaction; how many ms that took.

        Raises:
            Forbidden: the actor is no administrator.
        """

        async def work(_: Transaction, row: dict[str, Any]) -> None:
            row["details"] = dict(details)

        began = time.perf_counter()
        await self._audited(actor, action, work)
        return (time.perf_counter() - began) * 1000

    async def overview(self, actor: Actor) -> Overview:
        """How it stands now, for one who began to watch.

        Raises:
            Forbidden: the actor is no administrator, or is none any more.
        """
        _check(actor, "watch")

        async def job(tx: Transaction) -> Overview:
            if await tx.one(SQL["is_admin"], {"user_id": actor.user_id}) is None:
                raise _no_admin(actor, "watch")
            return Overview(
                at=from_ms(now_ms()),
                loads=tuple(load_of(row) for row in await tx.all(SQL["loads"], {})),
                runs=tuple(state_of(row) for row in await tx.all(SQL["open_runs"], {"limit": SHOWN_OPEN})),
                ended=tuple(state_of(row) for row in await tx.all(SQL["ended_runs"], {"limit": SHOWN_ENDED})),
                processes=processes_of(await tx.all(SQL["processes"], {})),
                incidents=tuple(incident_of(row) for row in await tx.all(SQL["incidents"], {"limit": SHOWN_INCIDENTS})),
            )

        return await self._database.read(job, user=actor.user_id)

    async def show_run(self, actor: Actor, run_id: str) -> RunState:
        """A run of anybody, and how it is carried out.

        Raises:
            Forbidden: the actor is no administrator.
            NotFound: there is no such run.
        """
        return await self._of_run(actor, "show_run", run_id)

    async def read_events(self, actor: Actor, run_id: str) -> RunState:
        """Whose run it is, for one who is about to read, as its owner, what it told.

        The row in the audit is there before anything is read.

        Raises:
            Forbidden: the actor is no administrator.
            NotFound: there is no such run.
        """
        return await self._of_run(actor, "read_events", run_id)

    async def drain(self, actor: Actor, executor: str, *, draining: bool) -> ProcessState:
        """Asks a process to take no new work, or to take some again; it does so within about a second.

        Raises:
            Forbidden: the actor is no administrator.
            NotFound: there is no such process.
        """

        async def work(tx: Transaction, row: dict[str, Any]) -> ProcessState:
            named = {"executor": executor, "draining": int(draining)}
            if not may_be_id(executor) or not await tx.run(SQL["drain"], named):
                raise NotFound("process", executor)
            row["details"] = {"executor": executor}
            found = processes_of(await tx.all(SQL["processes"], {}))
            return next(each for each in found if each.executor == executor)

        done = await self._audited(actor, "drain_process" if draining else "resume_process", work)
        self.on_changed()
        return done

    async def is_administrator(self, actor: Actor) -> bool:
        """Whether the actor is one still: the account has the permission, and is not disabled."""
        if not allows(actor.permissions, ADMIN):
            return False
        asked = {"user_id": actor.user_id}
        return await self._database.read(lambda tx: tx.one(SQL["is_admin"], asked), user=actor.user_id) is not None

    async def _of_run(self, actor: Actor, action: str, run_id: str) -> RunState:
        async def work(tx: Transaction, row: dict[str, Any]) -> RunState:
            found = await tx.one(SQL["run"], {"run_id": run_id}) if may_be_id(run_id) else None
            if found is None:
                raise NotFound("run", run_id)
            state = state_of(found)
            row["subject"] = state.run.user_id
            row["details"] = {"run_id": run_id, "status": str(state.run.status)}
            return state

        return await self._audited(actor, action, work)

    async def _listed(self, actor: Actor, name: str, values: dict[str, Any], limit: int) -> list[Row]:
        async def work(tx: Transaction, row: dict[str, Any]) -> list[Row]:
            found = await tx.all(SQL[name], values | {"limit": limit + 1})
            row["details"] = {"shown": min(limit, len(found))}
            return found

        return await self._audited(actor, "read_audit" if name == "audit" else f"list_{name}", work)

    async def _audited(self, actor: Actor, action: str, work: Work[R]) -> R:
        """Does it in one transaction with its row in the audit."""
        _check(actor, action)

        async def job(tx: Transaction) -> R:
            # Two who disable one another at once: the second is found to be none any more.
            await tx.lock(ADMINS)
            if await tx.one(SQL["is_admin"], {"user_id": actor.user_id}) is None:
                raise _no_admin(actor, action)
            row: dict[str, Any] = {"subject": None, "details": {}}
            done = await work(tx, row)
            row |= {"audit_id": new_id("adt"), "now": now_ms(), "actor": actor.user_id, "action": action}
            row |= {"run_id": actor.run_id, "details": msgspec.json.encode(row["details"]).decode()}
            await tx.run(SQL["record"], row)
            return done

        return await self._database.write(job, user=actor.user_id, alone=True)


def _check(actor: Actor, action: str) -> None:
    if not allows(actor.permissions, ADMIN):
        raise Forbidden(f"{action} needs the permission {ADMIN}")


def _no_admin(actor: Actor, action: str) -> Forbidden:
    return Forbidden(f"{action} needs an account with the permission {ADMIN}, which {actor.user_id} has not")


def _before(cursor: str | None) -> dict[str, Any]:
    before, before_id = LATEST if cursor is None else read_cursor(cursor)
    return {"before": before, "before_id": before_id}


def _name(user_id: str) -> str:
    try:
        return check_username(user_id)
    except Invalid as error:
        raise NotFound("user", user_id) from error


def _entry(row: Row) -> AuditEntry:
    audit_id, at, actor, action, subject, run_id, details = row
    return AuditEntry(
        audit_id=audit_id,
        at=from_ms(at),
        actor=actor,
        action=action,
        subject=subject,
        run_id=run_id,
        details=msgspec.json.decode(details, type=dict[str, Any]),
    )
