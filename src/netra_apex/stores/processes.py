"""What a process says of itself, and what became of processes (port: `core.administration.Processes`)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from netra_apex.core.ids import new_id
from netra_apex.stores.database import Database, Transaction
from netra_apex.stores.rows import now_ms
from netra_apex.stores.statements import statements

SQL = statements("processes")
KEPT_MS = 30 * 24 * 60 * 60 * 1000


class ProcessStore:
    """See `core.administration.Processes`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self) -> frozenset[str]:
        """Every process that has said that it began, and not that it ended."""
        rows = await self._database.read(lambda tx: tx.all(SQL["known"], {}), user=None)
        return frozenset(str(row[0]) for row in rows)

    async def enter(self, executor: str, room: int, figures: Mapping[str, Any]) -> None:
        """This process begins."""
        values = _said(executor, room, figures)

        async def job(tx: Transaction) -> None:
            await tx.one(SQL["report"], values)
            await tx.run(SQL["tidy"], {"long_ago": now_ms() - KEPT_MS})
            await note(tx, "started", executor)

        await self._database.write(job, user=None, alone=True)

    async def report(self, executor: str, room: int, figures: Mapping[str, Any]) -> bool:
        """What it says of itself now; whether it is asked to take no new work."""
        values = _said(executor, room, figures)
        row = await self._database.write(lambda tx: tx.one(SQL["report"], values), user=None, repeatable=True)
        return row is not None and bool(row[0])

    async def is_asked_to_drain(self, executor: str) -> bool:
        """Whether it is asked to take no new work."""
        row = await self._database.read(lambda tx: tx.one(SQL["asked"], {"executor": executor}), user=None)
        return row is not None and bool(row[0])

    async def lost(self, executor: str, runs: int) -> None:
        """A process is gone that did not say so. (On Postgres its peers note that as they bury it.)"""
        await self._gone("lost", executor, runs)

    async def leave(self, executor: str, runs: int) -> None:
        """This process ends, and leaves so many runs to others."""
        await self._gone("stopped", executor, runs)

    async def _gone(self, kind: str, executor: str, runs: int) -> None:
        async def job(tx: Transaction) -> None:
            await tx.run(SQL["forget"], {"executor": executor})
            await note(tx, kind, executor, runs)

        await self._database.write(job, user=None, alone=True)


async def note(tx: Transaction, kind: str, executor: str, runs: int = 0) -> None:
    """Keeps what became of a process."""
    values = {"incident_id": new_id("inc"), "now": now_ms(), "kind": kind, "executor": executor, "runs": runs}
    await tx.run(SQL["note"], values)


def _said(executor: str, room: int, figures: Mapping[str, Any]) -> dict[str, Any]:
    said = msgspec.json.encode(figures).decode()
    return {"executor": executor, "room": room, "now": now_ms(), "figures": said}
