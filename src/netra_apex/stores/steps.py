"""The journals of runs, steps with sealed results, and taking runs up (port: `core.ports.Journals`)."""

from typing import Any

import msgspec

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.journal import LedgerEntry, Step
from netra_apex.errors import StoreError
from netra_apex.stores.database import Database, Row
from netra_apex.stores.rows import now_ms
from netra_apex.stores.sealing import Seal
from netra_apex.stores.statements import statements

SQL = statements("journal")


class StepRows:
    """Makes rows of steps, and steps of rows. Without a seal it refuses to: only who executes runs has the secret."""

    def __init__(self, seal: Seal | None) -> None:
        self._seal = seal

    def row(self, context: UserExecutionContext, step: Step) -> dict[str, Any]:
        """The columns of a step of this context's run."""
        # The digest too: a short secret could be guessed from it.
        plain = msgspec.json.encode((step.digest, step.result))
        return {
            "step": step.key,
            "kind": step.kind,
            "name": step.name,
            "state": step.state,
            "call_id": step.call_id,
            "attempt": step.attempt,
            "heard": step.heard,
            "charge": step.charge,
            "content": self._sealing().close(plain, context.user_id, context.run_id, step.key),
            "now": (now := now_ms()),
            "ended_at": None if step.state == "started" else now,
        }

    def step(self, user_id: str, run_id: str, row: Row) -> Step:
        """A step from its columns, in the order in which `runs.sql` selects them.

        Raises:
            StoreError: it was sealed with another secret.
        """
        key, kind, name, state, call_id, attempt, sealed = row
        digest, result = msgspec.json.decode(self._sealing().open(sealed, user_id, run_id, key))
        return Step(
            key=key,
            kind=kind,
            name=name,
            digest=digest,
            state=state,
            call_id=call_id,
            attempt=attempt,
            result=result,
        )

    def _sealing(self) -> Seal:
        if self._seal is None:
            raise StoreError("the journal is read and written by who executes runs, with the server's secret")
        return self._seal


class JournalStore:
    """See `core.ports.Journals`, which this is."""

    def __init__(self, database: Database, rows: StepRows) -> None:
        self._database = database
        self._rows = rows

    async def steps(self, user_id: str, run_id: str) -> tuple[Step, ...]:
        """The run's journal, in the order of its keys.

        Raises:
            StoreError: it was sealed with another secret.
        """
        values = {"user_id": user_id, "run_id": run_id}
        rows = await self._database.read(lambda tx: tx.all(SQL["steps"], values), user=user_id)
        return tuple(self._rows.step(user_id, run_id, row) for row in rows)

    async def ledger(self, user_id: str, run_id: str) -> tuple[LedgerEntry, ...]:
        """The run's steps without their results, in the order in which they began."""
        values = {"user_id": user_id, "run_id": run_id}
        rows = await self._database.read(lambda tx: tx.all(SQL["ledger"], values), user=user_id)
        return tuple(LedgerEntry(**dict(zip(LedgerEntry.__struct_fields__, row, strict=True))) for row in rows)
