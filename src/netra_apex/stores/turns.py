"""Whose turn it is, decided in the table of runs itself (port: `core.ports.Turns`)."""

from typing import Any

import msgspec

from netra_apex.core.conversations import IfBusy
from netra_apex.core.runs import Claim, Seat, Traced
from netra_apex.errors import Busy, QueueFull
from netra_apex.stores.database import Database, Row, Transaction
from netra_apex.stores.rows import attachments, now_ms, run_of
from netra_apex.stores.statements import statements

SQL = statements("turns")
FRESH_MS = 5_000  # whoever was seen so lately counts as a process that has room


class TurnStore:
    """See `core.ports.Turns`, which this is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self) -> tuple[tuple[str, int], ...]:
        """(user, how many of theirs are carried out) of everybody of whom a run waits."""
        rows = await self._database.read(lambda tx: tx.all(SQL["waiting"], {}), user=None)
        return tuple((user_id, taken) for user_id, taken in rows)

    async def take(self, user_id: str, executor: str, *, per_user: int) -> Claim | None:
        """Takes up the first of this user's runs whose turn it is; None where it is none's."""
        values: dict[str, Any] = {"user_id": user_id, "executor": executor}

        async def job(tx: Transaction) -> Row | None:
            await tx.lock(user_id)
            taken = await tx.one(SQL["taken"], values)
            if taken is None or taken[0] >= per_user:
                return None
            found = await tx.one(SQL["next"], values)
            if found is None:
                return None
            run_id, waited = found
            claimed = await tx.one(SQL["claim"], values | {"run_id": run_id})
            return None if claimed is None else (waited, *claimed)

        return _claim(await self._database.write(job, user=user_id, alone=True))

    async def claim(self, user_id: str, run_id: str, executor: str | None = None) -> Claim | None:
        """Takes up this run, which waits, whatever the limits."""
        values = {"user_id": user_id, "run_id": run_id, "executor": executor}
        claimed = await self._database.write(lambda tx: tx.one(SQL["claim"], values), user=user_id, alone=True)
        return _claim(None if claimed is None else (False, *claimed))

    async def leave(self, user_id: str, run_id: str, epoch: int, executor: str) -> None:
        """Lets go of a run that this process has: it waits for another one. Left in order, it was no crash."""
        values = {"user_id": user_id, "run_id": run_id, "epoch": epoch, "executor": executor}
        await self._database.write(lambda tx: tx.run(SQL["leave"], values), user=user_id)

    async def leave_all_of(self, executor: str) -> int:
        """Lets go, in its name, of everything that a process has that is no more. Answers how many."""
        return await self._database.write(lambda tx: tx.run(SQL["leave_all"], {"executor": executor}), user=None)

    async def held(self, executor: str) -> tuple[tuple[str, str, int], ...]:
        """(user, run, epoch) of the posted runs that stand in a process's name."""
        rows = await self._database.read(lambda tx: tx.all(SQL["held"], {"executor": executor}), user=None)
        return tuple((user_id, run_id, epoch) for user_id, run_id, epoch in rows)

    async def recent(self, user_id: str, thread_id: str, seconds: float) -> tuple[str, ...]:
        """The runs of a thread that have not ended, or were accepted within so many seconds; oldest first."""
        values = {"user_id": user_id, "thread_id": thread_id, "since": now_ms() - round(1000 * seconds)}
        rows = await self._database.read(lambda tx: tx.all(SQL["recent"], values), user=user_id)
        return tuple(str(row[0]) for row in rows)

    async def executors(self) -> frozenset[str]:
        """Processes that have runs."""
        rows = await self._database.read(lambda tx: tx.all(SQL["executors"], {}), user=None)
        return frozenset(str(row[0]) for row in rows)

    async def ahead(self, user_id: str, run_id: str) -> int | None:
        """How many of the user's runs wait before this one; None where it does not wait, or is none of theirs."""
        values = {"user_id": user_id, "run_id": run_id}
        row = await self._database.read(lambda tx: tx.one(SQL["ahead"], values), user=user_id)
        return None if row is None else int(row[0])

    async def waiting_runs(self) -> int:
        """How many runs wait, of all users."""
        row = await self._database.read(lambda tx: tx.one(SQL["waiting_runs"], {}), user=None)
        return 0 if row is None else int(row[0])


async def standing(tx: Transaction, values: dict[str, Any]) -> Row:
    """How the user stands: runs under way, runs that wait, runs of this thread, and whether this run is there already.

    The caller holds the user's lock, in the transaction that accepts the run.
    """
    found = await tx.one(SQL["standing"], values)
    assert found is not None
    return found


async def reason_to_wait(
    tx: Transaction, seat: Seat, if_busy: IfBusy, stands: Row, values: dict[str, Any]
) -> str | None:
    """Why a run that is being accepted has to wait, its user standing so; None where it need not.

    Raises:
        Busy: its thread has a run, and the post would rather not wait.
        QueueFull: as many of the user's runs wait as may.
    """
    taken, waiting, in_thread, _ = stands
    if in_thread and if_busy == "reject":
        raise Busy("the thread has a run under way")
    starting = 0
    if waiting and taken < seat.per_user:
        row = await tx.one(SQL["about_to_start"], values)
        starting = 0 if row is None else min(row[0], seat.per_user - taken)
    reason = await _reason(tx, seat, taken + starting, in_thread, values)
    if reason is None:
        return None
    ahead = waiting - starting
    if ahead >= seat.queued_per_user:
        raise QueueFull(f"{seat.queued_per_user} of your runs are waiting already")
    return f"{reason}; {ahead} of yours {'waits' if ahead == 1 else 'wait'} before it" if ahead else reason


async def _reason(tx: Transaction, seat: Seat, active: int, in_thread: int, values: dict[str, Any]) -> str | None:
    if in_thread:
        return "another run of this thread is under way"
    if active >= seat.per_user:
        return "as many of your runs as may be are under way"
    if seat.executor is None:
        # Others execute: it waits where none of them has room.
        found = await tx.one(SQL["free_room"], {"fresh": FRESH_MS})
        assert found is not None
        room, runs = found
        if not room:
            return "no process executes runs at present"
        return None if room > runs else "the server is busy"
    return None if seat.room else "the server is busy"


def _claim(row: Row | None) -> Claim | None:
    if row is None:
        return None
    waited, trace, trace_last, epoch, recoveries, posted, permissions, task, files, *run = row
    return Claim(
        waited=bool(waited),
        epoch=epoch,
        recoveries=recoveries,
        posted=bool(posted),
        permissions=frozenset(msgspec.json.decode(permissions, type=list[str])),
        task=task,
        run=run_of(tuple(run)),
        files=attachments(files),
        traced=None if trace is None else Traced(trace, trace_last),
    )
