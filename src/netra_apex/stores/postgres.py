"""Postgres, as the stores see it: connections that write in lanes, others that read (`stores.database.Database`).

Every transaction names the user that it acts for, and row-level security shows it that user's rows alone. What a user
asks for is written in one lane, in order; everything that a lane is asked for while a transaction of its is on its way
shares the next one. A database that goes away for some seconds is waited for: jobs may be run a second time.
"""

import asyncio
import re
from collections.abc import Awaitable, Coroutine, Iterable
from dataclasses import dataclass
from functools import lru_cache
from secrets import token_hex
from typing import Any, Self, TypeVar, cast
from zlib import crc32

import structlog

from netra_apex.errors import Refused, StoreError
from netra_apex.stores.connecting import (
    Connection,
    Pool,
    Server,
    as_ours,
    drop,
    give_back,
    is_open,
    lost,
    our_errors,
)
from netra_apex.stores.database import Job, Row, Values
from netra_apex.stores.patience import Patience
from netra_apex.stores.rows import now_ms
from netra_apex.stores.statements import statements

T = TypeVar("T")

SQL = statements("commits")
LANES = 10
CONNECTIONS = 20  # lanes included; further ones are one for what others tell, one for this process's own lock
LINGER_SECONDS = 0.003
MARKS_KEPT_MS = 24 * 60 * 60 * 1000  # of processes that ended before they could take theirs away
RIDE_OUT_SECONDS = 30.0  # how long a database that is gone is waited for, by whoever asks something of it
_WRITE, _READ = "begin", "begin read only"
# A value's name; not the second half of `::`, which Postgres's own casts have.
_NAMED = re.compile(r"(?<!:):([a-z_]+)")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A job that waits for its transaction, with who it is for and who waits for it."""

    job: Job[Any]
    user: str | None
    answer: "asyncio.Future[Any]"

    def settle(self, result: Any, error: BaseException | None) -> None:
        if self.answer.done():
            return  # whoever asked was cancelled
        if error is None:
            self.answer.set_result(result)
        else:
            self.answer.set_exception(as_ours(error))


class Postgres:
    """A database on a Postgres server. See `stores.database.Database`, which this is; made by `open`."""

    def __init__(self, server: Server, pool: Pool, ride_out_seconds: float) -> None:
        self.server = server
        self._pool = pool
        self.patience = Patience(ride_out_seconds)
        self._lanes = [_Lane(self) for _ in range(LANES)]
        self._tasks: set[asyncio.Task[None]] = set()
        self._settled: list[str] = []
        self._closed = False

    @classmethod
    async def open(cls, server: Server, *, ride_out_seconds: float = RIDE_OUT_SECONDS) -> Self:
        """Connects. From then on a server that is gone is waited for so long.

        Raises:
            StoreError: the server cannot be reached, or refuses.
        """
        with our_errors(server):
            return cls(server, await server.pool(CONNECTIONS), ride_out_seconds)

    def write(
        self, job: Job[T], *, user: str | None, linger: bool = False, alone: bool = False, repeatable: bool = False
    ) -> Awaitable[T]:
        """See `Database.write`."""
        asked = self._asked(job, user)
        if alone or user is None:
            self._spawn(self._by_itself(asked, _WRITE, repeatable=repeatable))
        else:
            self._lanes[crc32(user.encode()) % LANES].add(asked, linger=linger)
        return asked.answer

    def read(self, job: Job[T], *, user: str | None) -> Awaitable[T]:
        """See `Database.read`."""
        asked = self._asked(job, user)
        self._spawn(self._by_itself(asked, _READ, repeatable=True))
        return asked.answer

    def hurry(self) -> None:
        """See `Database.hurry`."""
        for lane in self._lanes:
            lane.hurry()

    def give_up_soon(self) -> None:
        """See `Database.give_up_soon`."""
        self.patience.give_up_soon()

    def trouble(self) -> str | None:
        """See `Database.trouble`."""
        error = self.patience.trouble
        return None if error is None else str(as_ours(error, self.server))

    async def check(self) -> None:
        """See `Database.check`."""

        async def job(tx: "PostgresTransaction") -> None:
            await tx.one("select pg_current_xact_id()::text", {})

        await self.write(cast("Job[None]", job), user=None)

    async def changed_elsewhere(self) -> bool:
        """See `Database.changed_elsewhere`. Nobody counts other processes' commits here: it may always be so."""
        return not self._closed

    async def close(self) -> None:
        """See `Database.close`."""
        self._closed = True
        for lane in self._lanes:
            await lane.close()
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._pool.terminate()

    async def acquire(self) -> Connection:
        """A connection of the pool, to be given back with `release`."""
        return await self._pool.acquire()

    async def release(self, connection: Connection) -> None:
        """Gives a connection back; one that is in the middle of something is of no more use."""
        if is_open(connection) and connection.is_in_transaction():
            connection.terminate()
        await give_back(self._pool, connection)

    def _asked(self, job: Job[Any], user: str | None) -> _Asked:
        if self._closed:
            raise StoreError("the database is closed")
        return _Asked(job, user, asyncio.get_running_loop().create_future())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        # In a task of the database: whoever asked may be cancelled, and a transaction is not left half done for it.
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _by_itself(self, asked: _Asked, begin: str, *, repeatable: bool) -> None:
        doubt = None
        if not repeatable:
            doubt, self._settled = _Doubt(self._settled), []

        async def attempt() -> "list[_Outcome]":
            connection = await self.acquire()
            try:
                if doubt is not None and await doubt.was_committed(PostgresTransaction(connection)):
                    return doubt.outcomes
                return await _transaction(connection, begin, [asked], doubt)
            except asyncio.CancelledError:
                drop(connection)
                raise
            finally:
                await self.release(connection)

        try:
            ((_, result, error),) = await self.patience.riding_out(attempt)
            if doubt is not None:
                self._settled.append(doubt.token)
        except Exception as raised:  # noqa: BLE001 - handed to whoever asked
            result, error = None, raised
        asked.settle(result, error)


class _Doubt:
    """A transaction whose commit may have been carried out, though the connection broke before that was answered.

    It leaves a mark, which is looked for before the job is run again: that would find its own rows, and take them for
    somebody else's. (What lanes write knows itself again, and does without the round trip that this costs.)
    """

    def __init__(self, settled: list[str]) -> None:
        self.outcomes: list[_Outcome] = []
        self.token = token_hex(16)
        self._settled = settled  # marks of transactions about which there is no doubt any more
        self._xact: str | None = None

    async def begun(self, tx: "PostgresTransaction") -> None:
        """The transaction has begun."""
        self.outcomes = []
        now = now_ms()
        marks = {"token": self.token, "settled": self._settled, "now": now, "long_ago": now - MARKS_KEPT_MS}
        row = await tx.one(SQL["mark"], marks)
        self._xact = None if row is None else str(row[0])

    async def was_committed(self, tx: "PostgresTransaction") -> bool:
        """Whether it had come to its commit, and this was carried out."""
        if not self.outcomes:
            return False
        if await tx.one(SQL["under_way"], {"xact": self._xact}) == (True,):
            raise ConnectionError("the transaction that was broken off is still under way")
        return await tx.one(SQL["marked"], {"token": self.token}) is not None


class _Lane:
    """Writes the jobs of some users, in order, each batch in one transaction."""

    def __init__(self, database: Postgres) -> None:
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._pending: list[_Asked] = []
        self._urgent = False
        self._due: asyncio.Handle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._connection: Connection | None = None

    def add(self, asked: _Asked, *, linger: bool) -> None:
        """Takes a job in."""
        self._pending.append(asked)
        if not linger:
            self.hurry()
        elif self._due is None and self._writing is None:
            self._due = self._loop.call_later(LINGER_SECONDS, self._begin)

    def hurry(self) -> None:
        """What waits goes at the end of this turn of the loop."""
        if self._urgent or not self._pending:
            return
        self._urgent = True
        if self._writing is None:
            if self._due is not None:
                self._due.cancel()
            self._due = self._loop.call_soon(self._begin)

    async def close(self) -> None:
        """Ends it, once what was asked for is done."""
        while self._pending or self._writing is not None:
            if self._writing is None:
                if self._due is not None:
                    self._due.cancel()
                self._begin()
            assert self._writing is not None
            await asyncio.wait({self._writing})
        if self._connection is not None:
            await self._database.release(self._connection)
            self._connection = None

    def _begin(self) -> None:
        self._due = None
        self._urgent = False
        if self._pending:
            batch, self._pending = self._pending, []
            self._writing = self._loop.create_task(self._write(batch))

    async def _write(self, batch: list[_Asked]) -> None:
        try:
            for asked, result, error in await self._commit(batch):
                asked.settle(result, error)
        finally:
            self._writing = None
            if self._urgent:
                self._begin()
            elif self._pending:
                self._due = self._loop.call_later(LINGER_SECONDS, self._begin)

    async def _commit(self, batch: list[_Asked]) -> "list[_Outcome]":
        try:
            return await self._database.patience.riding_out(lambda: self._transaction(batch))
        except Exception as error:  # noqa: BLE001 - handed to whoever asked; the lane serves the others on
            if len(batch) == 1 or lost(error):
                return [(asked, None, error) for asked in batch]
        # One job failed and took the others with it: each alone, so that only it fails.
        return [outcome for asked in batch for outcome in await self._commit([asked])]

    async def _transaction(self, batch: list[_Asked]) -> "list[_Outcome]":
        if self._connection is None:
            self._connection = await self._database.acquire()
        try:
            return await _transaction(self._connection, _WRITE, batch)
        finally:
            if not is_open(self._connection) or self._connection.is_in_transaction():
                broken, self._connection = self._connection, None
                await self._database.release(broken)


_Outcome = tuple[_Asked, Any, BaseException | None]


async def _transaction(
    connection: Connection, begin: str, batch: list[_Asked], doubt: _Doubt | None = None
) -> list[_Outcome]:
    """The jobs of a batch in one transaction, each on behalf of its own user."""
    tx = PostgresTransaction(connection)
    # In one message, which the server answers at once. `local`: it ends with the transaction, whatever ends that.
    try:
        await connection.execute(f"{begin}; {_acting_for(batch[0].user)}")
    except BaseException:
        # Where a transaction does not even begin, nobody knows in what state its connection is.
        drop(connection)
        raise
    try:
        if doubt is not None:
            await doubt.begun(tx)
        outcomes: list[_Outcome] = []
        user = batch[0].user
        for asked in batch:
            if asked.user != user:
                user = asked.user
                await connection.execute(_acting_for(user))
            try:
                outcomes.append((asked, await asked.job(tx), None))
            except Refused as refusal:
                outcomes.append((asked, None, refusal))
        if doubt is not None:
            doubt.outcomes = outcomes
        await connection.execute("commit")
    except asyncio.CancelledError:
        drop(connection)  # given up: a server that does not answer takes no rollback either
        raise
    except BaseException:
        if is_open(connection):
            await connection.execute("rollback")
        raise
    return outcomes


def _acting_for(user: str | None) -> str:
    name = "" if user is None else user.replace("'", "''")
    return f"set local app.user_id = '{name}'"


class PostgresTransaction:
    """See `stores.database.Transaction`, which this is."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def one(self, statement: str, values: Values) -> Row | None:
        """See `Transaction.one`."""
        text, names = _numbered(statement)
        row = await self._connection.fetchrow(text, *[values[name] for name in names])
        return None if row is None else tuple(row)

    async def all(self, statement: str, values: Values) -> list[Row]:
        """See `Transaction.all`."""
        text, names = _numbered(statement)
        return [tuple(row) for row in await self._connection.fetch(text, *[values[name] for name in names])]

    async def run(self, statement: str, values: Values) -> int:
        """See `Transaction.run`."""
        text, names = _numbered(statement)
        status = await self._connection.execute(text, *[values[name] for name in names])
        # "UPDATE 3", "INSERT 0 1", "DELETE 2".
        return int(status.rpartition(" ")[2])

    async def run_each(self, statement: str, rows: Iterable[Values]) -> None:
        """See `Transaction.run_each`."""
        text, names = _numbered(statement)
        given = [[row[name] for name in names] for row in rows]
        if len(given) == 1:
            await self._connection.execute(text, *given[0])
        elif given:
            await self._connection.executemany(text, given)

    async def lock(self, user_id: str) -> None:
        """See `Transaction.lock`."""
        await self._connection.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"user {user_id}")


@lru_cache(maxsize=512)
def _numbered(statement: str) -> tuple[str, tuple[str, ...]]:
    """The statement with `$1`, `$2`, … for its names, and the names in this order."""
    names: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        return f"${names.setdefault(found[1], len(names) + 1)}"

    return _NAMED.sub(number, statement), tuple(names)
