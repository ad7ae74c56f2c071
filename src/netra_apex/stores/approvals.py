"""Calls that wait for a person's word, and runs that wait for a person (port: `core.ports.Approvals`)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from netra_apex.core.conversations import Approval, Page, Verdict
from netra_apex.core.journal import Decision
from netra_apex.core.runs import RunStatus
from netra_apex.errors import AlreadyDecided, Forbidden, NotFound
from netra_apex.stores.database import Database, Row, Transaction
from netra_apex.stores.rows import EARLIEST, from_ms, may_be_id, now_ms, page_of, read_cursor
from netra_apex.stores.statements import statements

SQL = statements("approvals")
QUESTIONS = statements("questions")

_permissions: "msgspec.json.Decoder[frozenset[str]]" = msgspec.json.Decoder(frozenset[str])


async def check_may(tx: Transaction, run: Mapping[str, Any], may: frozenset[str]) -> None:
    """That whoever speaks to a run, in its user's name, may all that the run may: else it would act for him.

    Raises:
        Forbidden: the run may more. What its user has lost since it was accepted, it has lost, too.
    """
    row = await tx.one(SQL["permissions"], run)
    if row is None:
        return
    has = _permissions.decode(row[0])
    lacking = (has if row[1] is None else has & _permissions.decode(row[1])) - may
    if lacking:
        raise Forbidden(f"the run that asks has the permission {', '.join(sorted(lacking))}, which you lack")


class ApprovalStore:
    """See `core.ports.Approvals`, which this is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, user_id: str, *, limit: int = 50, cursor: str | None = None) -> Page[Approval]:
        """Those that may be decided now, the oldest first.

        Raises:
            Invalid: the cursor is none of ours.
        """
        after, after_id = EARLIEST if cursor is None else read_cursor(cursor)
        values = {"user_id": user_id, "now": now_ms(), "after": after, "after_id": after_id, "limit": limit + 1}
        rows = await self._database.read(lambda tx: tx.all(SQL["pending"], values), user=user_id)
        return page_of(rows, limit, lambda row: _approval(row[:-1]), lambda row: (row[-1], row[0]))

    async def decide(
        self, user_id: str, approval_id: str, verdict: Verdict, note: str | None, *, may: frozenset[str] | None = None
    ) -> Approval:
        """Decides, once; a run that waits for nothing else has its turn again.

        Raises:
            NotFound: the user has no such approval.
            Forbidden: the run has a permission that is not in `may`.
            AlreadyDecided: it was decided before, has expired, or its run has ended.
        """
        if not may_be_id(approval_id):
            raise NotFound("approval", approval_id)
        values: dict[str, Any] = {"user_id": user_id, "approval_id": approval_id, "by": user_id, "note": note}
        values |= {"decision": verdict, "now": now_ms()}

        async def job(tx: Transaction) -> Row:
            row = await tx.one(SQL["approval"], values)
            if row is None:
                raise NotFound("approval", approval_id)
            run = values | {"run_id": row[1]}
            # The run's row is held first, by who parks it too: of the two the second sees what the first did.
            if not await tx.run(SQL["hold"], run):
                raise AlreadyDecided("the run that asked has ended")
            if may is not None:
                await check_may(tx, run, may)
            if not await tx.run(SQL["decide"], values):
                raise AlreadyDecided("this was decided before, or its time is over")
            await tx.run(SQL["wake"], run)
            return row

        return _approval((*(await self._database.write(job, user=user_id, alone=True))[:-1], verdict))

    async def decisions(self, user_id: str, run_id: str) -> Mapping[str, Decision]:
        """What was decided on the run's approvals, and answered to its questions, by their ids."""
        values = {"user_id": user_id, "run_id": run_id}
        rows = await self._database.read(lambda tx: tx.all(SQL["decisions"], values), user=user_id)
        return {approval_id: Decision(decision, by, note) for approval_id, decision, by, note in rows}

    async def park(self, user_id: str, run_id: str, epoch: int) -> bool:
        """The run waits for a person and is nobody's; False where a decision is there already, and it has its turn."""
        values: dict[str, Any] = {"user_id": user_id, "run_id": run_id, "epoch": epoch}

        async def job(tx: Transaction) -> bool:
            await tx.run(SQL["hold"], values)
            untold = await tx.one(SQL["decided_and_not_told"], values)
            open_ones = await tx.one(SQL["undecided"], values)
            assert untold is not None
            assert open_ones is not None
            waits = not untold[0] and bool(open_ones[0])
            status = RunStatus.WAITING if waits else RunStatus.QUEUED
            _, wakes_at, since, approvals_open, questions_open = open_ones
            until, parked_at = (wakes_at, now_ms()) if waits else (None, None)
            left = {"status": status, "wakes_at": until, "parked_at": parked_at, "waits_since": since}
            left |= {"approvals_open": approvals_open, "questions_open": questions_open}
            await tx.run(SQL["park"], values | left)
            return waits

        # In the user's lane: after everything that the run has told.
        return await self._database.write(job, user=user_id)

    async def expire(self) -> int:
        """Decides those whose time is over, of all users; how many runs have their turn again."""
        overdue = await self._database.read(lambda tx: tx.all(SQL["overdue"], {"now": now_ms()}), user=None)
        for user_id, run_id in overdue:
            await self._expire(user_id, run_id)
        return len(overdue)

    async def _expire(self, user_id: str, run_id: str) -> None:
        values = {"user_id": user_id, "run_id": run_id, "now": now_ms()}

        async def job(tx: Transaction) -> None:
            await tx.run(SQL["hold"], values)
            await tx.run(SQL["expire"], values)
            await tx.run(QUESTIONS["expire"], values)
            await tx.run(SQL["wake"], values)

        await self._database.write(job, user=user_id, alone=True)


def _approval(row: Row) -> Approval:
    approval_id, run_id, thread_id, call_id, tool, arguments, requested_at, expires_at, again, decision = row
    return Approval(
        approval_id=approval_id,
        run_id=run_id,
        thread_id=thread_id,
        call_id=call_id,
        tool=tool,
        arguments=arguments,
        requested_at=from_ms(requested_at),
        expires_at=from_ms(expires_at),
        again=bool(again),
        decision=decision,
    )
