"""Service-level figures, read from what stands with each run: ids, states, times and amounts, never content.

They are read apart from the connections that serve people: what is counted of a hundred thousand runs takes the
database half a second.
"""

import asyncio
import contextlib
import time
from typing import Self, TypeVar

from netra_apex.core.blockers import LATELY_MS, ModelEnds, Standing, Unfinished
from netra_apex.core.golden import GoldenPath
from netra_apex.core.periods import Period
from netra_apex.core.runs import RunStatus
from netra_apex.core.service import BurnRate, Counted, Figures, Group, Latency, Minutes
from netra_apex.settings import Settings
from netra_apex.stores.database import Database, Job, Row, Transaction, run_now
from netra_apex.stores.rows import now_ms
from netra_apex.stores.sqlite import SQLite, SQLiteTransaction, connect
from netra_apex.stores.statements import statements

SQL = statements("service")
USERS = 50  # that are told by name: those who used most
FRESH_MS = 5_000  # whoever was seen so lately counts as a process
T = TypeVar("T")


class ServiceStore:
    """The figures of everybody who uses this database, whichever process asks. One question is read at a time."""

    def __init__(self, database: Database, path: GoldenPath) -> None:
        self.path = path
        self._database = database
        self._minutes = Minutes()
        self._reading = asyncio.Lock()

    @classmethod
    def of(cls, database: Database, settings: Settings) -> Self:
        """With the golden path that the settings name."""
        return cls(database, GoldenPath(seconds=settings.golden_path_seconds, objective=settings.golden_path_objective))

    async def figures(self, period: Period, *, overdue: int = 0) -> Figures:
        """What came of the runs that ended in this period; `overdue` are those that go on beyond the limit now."""
        values = {
            "since": period.since,
            "until": period.until,
            "width": period.width,
            "limit_ms": self.path.limit_ms,
            "users": USERS,
        }
        async with self._reading:
            rows = await self._read(lambda tx: tx.all(SQL["levels"], values))
        return Figures.of(_counted(rows), period, overdue)

    async def burn_rates(self, *, overdue: int = 0) -> tuple[BurnRate, ...]:
        """How fast the error budget is used up."""
        async with self._reading:
            now = now_ms()
            values = {"since": self._minutes.since(now), "limit_ms": self.path.limit_ms}
            rows = await self._read(lambda tx: tx.all(SQL["minutes"], values))
            self._minutes.learn(((row[0], row[1], row[2], row[3]) for row in rows), now)
        return self._minutes.rates(self.path, now, overdue)

    async def standing(self, *, database_ms: float | None = None) -> Standing:
        """How everything stands now; `database_ms` where it was measured by a write, else how long this reading took.

        `workers` is of Postgres alone: on SQLite there is one process, or none.
        """
        now, began = now_ms(), time.perf_counter()

        async def job(tx: Transaction) -> tuple[list[Row], list[Row], Row | None]:
            unfinished = await tx.all(SQL["standing"], {"now": now, "limit_ms": self.path.limit_ms})
            models = await tx.all(SQL["models"], {"since": now - LATELY_MS})
            return unfinished, models, await tx.one(SQL["workers"], {"fresh": FRESH_MS})

        unfinished, models, workers = await self._read(job)
        took = (time.perf_counter() - began) * 1000
        return Standing(
            unfinished=tuple(
                Unfinished(
                    user_id=user_id,
                    status=RunStatus(status),
                    taken=bool(taken),
                    overdue=bool(overdue),
                    runs=runs,
                    since=since,
                )
                for user_id, status, taken, overdue, runs, since in unfinished
            ),
            models=tuple(
                ModelEnds(ended_as=ended_as, model=model, runs=runs, first=first, last=last)
                for ended_as, model, runs, first, last in models
            ),
            workers=None if isinstance(self._database, SQLite) or workers is None else int(workers[0]),
            database_ms=took if database_ms is None else database_ms,
        )

    async def _read(self, job: Job[T]) -> T:
        """Reads on a connection of its own where there is one for all readers."""
        if not isinstance(self._database, SQLite):
            return await self._database.read(job, user=None)
        path = self._database.file.path

        def read() -> T:
            with contextlib.closing(connect(path)) as connection:
                connection.execute("pragma query_only = on")
                return run_now(job(SQLiteTransaction(connection)))

        return await asyncio.to_thread(read)


def _counted(rows: list[Row]) -> Counted:
    groups: dict[str, list[Group]] = {"group": [], "user": []}
    people: dict[int, int] = {}
    latencies: dict[tuple[str, int], Latency] = {}
    everybody = 0
    for part, bucket, name, other, ended_as, marks, runs, *amounts in rows:
        match part:
            case "people":
                people[bucket] = runs
            case "everybody":
                everybody = runs
            case "latency":
                latencies[name, bucket] = Latency(p50=amounts[0], p95=amounts[1], p99=amounts[2])
            case _:
                calls, ended, failed, input_tokens, output_tokens, requests, cost = amounts
                group = Group(
                    bucket=bucket,
                    name=name,
                    model=other,
                    ended_as=ended_as,
                    marks=marks,
                    runs=runs,
                    calls=calls,
                    calls_ended=ended,
                    calls_failed=failed,
                    input_tokens=input_tokens,
                    output_tokens=output_tokens,
                    requests=requests,
                    cost=cost,
                )
                groups[part].append(group)
    return Counted(
        groups=groups["group"], users=groups["user"], people=people, everybody=everybody, latencies=latencies
    )
