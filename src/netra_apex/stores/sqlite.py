"""One SQLite file: a connection that writes, in a thread of its own, one that reads, in another, and a third for
copying the write-ahead log back (`stores.checkpoints`). `SQLite` is what the stores see of it (`stores.database`).

Why one writer: SQLite has one write lock, and a queue in front of it is fairer and cheaper than contention on it.
Everything that is asked for while a transaction is on its way to the disk shares the next one (group commit), so the
cost of a commit is divided among the runs of the moment.
"""

import asyncio
import contextlib
import fcntl
import queue
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

from netra_apex.errors import HomeInUse, Refused, StoreError
from netra_apex.stores.checkpoints import Checkpointer
from netra_apex.stores.database import Job, Row, Values, run_now
from netra_apex.stores.statements import migrations

T = TypeVar("T")
FileJob = Callable[[sqlite3.Connection], T]

LINGER_SECONDS = 0.003
CHECKPOINT_PAGES = 4_000  # of 4 KiB each: how long the write-ahead log grows
CHECKPOINT_COMMITS = 200  # after so many it is copied back beside the writing
BUSY_MS = 5_000  # how long a write of another process (a command beside the server) is waited for
_Pending = tuple[FileJob[Any], "asyncio.Future[Any]"]
_Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


def connect(path: Path) -> sqlite3.Connection:
    """A connection as every part uses it: WAL, full synchronisation, foreign keys, explicit transactions.

    Raises:
        StoreError: the file cannot be opened, or is no database.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
        connection.execute(f"pragma busy_timeout = {BUSY_MS}")
        _use_wal(connection)
        # FULL: NORMAL outlives a killed process but not a power cut, and an event that was told must (G1).
        connection.execute("pragma synchronous = full")
        connection.execute("pragma foreign_keys = on")
        # Pages that change again and again are copied back into the file once instead of four times.
        connection.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}")
    except sqlite3.Error as error:
        raise StoreError(f"the database {path} cannot be opened: {error}") from error
    return connection


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


# Of processes that open a new file together each wants it for itself here, which the busy time-out does not cover:
# SQLite answers at once where waiting could be a deadlock.
@retry(
    retry=retry_if_exception(_is_busy),
    stop=stop_after_delay(BUSY_MS / 1000),
    wait=wait_random(0.005, 0.05),
    reraise=True,
)
def _use_wal(connection: sqlite3.Connection) -> None:
    connection.execute("pragma journal_mode = wal")


def migrate(connection: sqlite3.Connection) -> int:
    """Brings the schema up to date, each migration in one transaction; returns its version.

    Raises:
        StoreError: the database was made by a newer version, or a statement failed.
    """
    known = migrations()
    latest = max(each.version for each in known)
    try:
        for migration in known:
            # Asked under the write lock: of two processes that start together one migrates and one finds it done.
            connection.execute("begin immediate")
            current = int(connection.execute("pragma user_version").fetchone()[0])
            if current < migration.version:
                for (
                    statement
                ) in migration.statements:  # not `executescript`, which would commit first and so let go of the lock
                    connection.execute(statement)
                connection.execute(f"pragma user_version = {migration.version}")
            connection.execute("commit")
        current = int(connection.execute("pragma user_version").fetchone()[0])
    except sqlite3.Error as error:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("rollback")
        raise StoreError(f"the schema cannot be brought up to date: {error}") from error
    if current > latest:
        raise StoreError(f"the database has schema {current}, made by a newer version; this one knows {latest}")
    return current


class ExecutorLock:
    """The exclusive lock that makes a process the only one that executes runs on this database, for its life.

    The kernel drops it with the process, however that ends.
    """

    def __init__(self, database: Path) -> None:
        # Of the file itself: a link to it is the same database.
        real = database.resolve()
        self._path = real.with_name(real.name + ".lock")
        self._path.touch(mode=0o600)
        self._file = self._path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise HomeInUse(str(database.parent)) from error

    def release(self) -> None:
        """Lets another process execute."""
        self._file.close()


class SQLiteFile:
    """The two threads and their queues. Every method is called on the loop that opened it; `close` ends it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._loop = asyncio.get_running_loop()
        self._pending: list[_Pending] = []
        self._writing = False
        self._urgent = False
        self._due: asyncio.Handle | None = None
        self._closed = False
        self._handed: queue.SimpleQueue[list[_Pending] | None] = queue.SimpleQueue()
        self._asked: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        with contextlib.ExitStack() as opened:
            self._writer = opened.enter_context(contextlib.closing(connect(path)))
            self.schema_version = migrate(self._writer)
            self._reader = opened.enter_context(contextlib.closing(connect(path)))
            self._reader.execute("pragma query_only = on")
            self._copier = opened.enter_context(contextlib.closing(connect(path)))
            opened.pop_all()
        self._checkpointer = Checkpointer(self._copier, every=CHECKPOINT_COMMITS)
        self._seen_version = _data_version(self._writer)
        self._threads = [
            threading.Thread(target=self._write_forever, name="netra-writer", daemon=True),
            threading.Thread(target=self._read_forever, name="netra-reader", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def write(self, job: FileJob[T], *, linger: bool = False) -> "asyncio.Future[T]":
        """Runs `job` in a write transaction; done once it is on disk. Jobs keep the order in which they were asked.

        With `linger` it waits up to 3 ms for others to share its transaction, unless somebody is in a `hurry`.

        A job that raises `Refused` must not have written anything. Any other error undoes what this job wrote, and
        only that; so a job may be run a second time, and does nothing but talk to its connection.

        Raises:
            StoreError: the database is closed; from the answer: it refused.
        """
        self._check_open()
        future: asyncio.Future[T] = self._loop.create_future()
        self._pending.append((job, future))
        if not linger:
            self.hurry()
        elif self._due is None and not self._writing:
            self._due = self._loop.call_later(LINGER_SECONDS, self._hand_over)
        return future

    def hurry(self) -> None:
        """Somebody waits: what has been asked for goes to the disk at the end of this turn of the loop."""
        if self._urgent:
            return
        self._urgent = True
        if self._writing:
            return
        if self._due is not None:
            self._due.cancel()
        self._due = self._loop.call_soon(self._hand_over)

    def read(self, job: FileJob[T]) -> "asyncio.Future[T]":
        """Runs `job` on the reading connection, which sees what has been committed."""
        self._check_open()
        future: asyncio.Future[T] = self._loop.create_future()
        self._asked.put((job, future))
        return future

    async def check(self) -> None:
        """Writes what is there already, down to the disk.

        Raises:
            StoreError: nothing can be written: the disk is full, or the file may not be.
        """
        await self.write(lambda connection: connection.execute(f"pragma user_version = {self.schema_version}"))

    async def changed_elsewhere(self) -> bool:
        """Whether another process has written since this was last asked."""
        version = await self.write(_data_version)
        changed = version != self._seen_version
        self._seen_version = version
        return changed

    async def close(self) -> None:
        """Ends both threads, after what was asked for has been done."""
        self._closed = True
        if self._due is not None:
            self._due.cancel()
        # What lingers goes before the end of the queue, so everybody who asked gets an answer.
        self._hand_over()
        self._handed.put(None)
        self._asked.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        await asyncio.to_thread(self._checkpointer.close)
        self._copier.close()
        self._reader.close()
        self._writer.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the database is closed")

    def _hand_over(self) -> None:
        self._due = None
        self._urgent = False
        if self._pending:
            self._writing = True
            batch, self._pending = self._pending, []
            self._handed.put(batch)

    def _handed_back(self) -> None:
        self._writing = False
        self._checkpointer.committed()
        if self._urgent:
            self._hand_over()
        elif self._pending:
            self._due = self._loop.call_later(LINGER_SECONDS, self._hand_over)

    def _write_forever(self) -> None:
        while (batch := self._handed.get()) is not None:
            self._deliver(self._commit(batch), then=self._handed_back)

    def _read_forever(self) -> None:
        while (asked := self._asked.get()) is not None:
            job, future = asked
            try:
                outcome: _Outcome = (future, job(self._reader), None)
            except Exception as error:  # noqa: BLE001 - handed to whoever asked; the thread serves the others on
                outcome = (future, None, error)
            self._deliver([outcome])

    def _commit(self, batch: list[_Pending]) -> list[_Outcome]:
        try:
            return self._transaction(batch)
        except Exception as error:  # noqa: BLE001 - handed to whoever asked; the thread serves the others on
            if len(batch) == 1:
                return [(batch[0][1], None, error)]
            # One job failed and took the others with it: each alone, so that only it fails.
            return [outcome for pending in batch for outcome in self._commit([pending])]

    def _transaction(self, batch: list[_Pending]) -> list[_Outcome]:
        connection = self._writer
        connection.execute("begin immediate")
        try:
            outcomes = [_attempt(connection, job, future) for job, future in batch]
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise
        return outcomes

    def _deliver(self, outcomes: list[_Outcome], then: Callable[[], None] | None = None) -> None:
        def on_loop() -> None:
            if then is not None:
                then()
            for future, result, error in outcomes:
                if future.cancelled():
                    continue
                if error is not None:
                    future.set_exception(_domain(error))
                else:
                    future.set_result(result)

        with contextlib.suppress(RuntimeError):  # the loop was closed under us: nobody waits any more
            self._loop.call_soon_threadsafe(on_loop)


class SQLite:
    """The database of the stores, on one file. See `stores.database.Database`, which this is."""

    def __init__(self, path: Path) -> None:
        self.file = SQLiteFile(path)

    def write(
        self, job: Job[T], *, user: str | None, linger: bool = False, alone: bool = False, repeatable: bool = False
    ) -> Awaitable[T]:
        """See `Database.write`. There is one writer, so that every job is alone with what it decides."""
        del user, alone, repeatable
        return self.file.write(lambda connection: run_now(job(SQLiteTransaction(connection))), linger=linger)

    def read(self, job: Job[T], *, user: str | None) -> Awaitable[T]:
        """See `Database.read`."""
        del user
        return self.file.read(lambda connection: run_now(job(SQLiteTransaction(connection))))

    def hurry(self) -> None:
        """See `Database.hurry`."""
        self.file.hurry()

    def give_up_soon(self) -> None:
        """See `Database.give_up_soon`. A file is waited for by nobody."""

    def trouble(self) -> str | None:
        """See `Database.trouble`. What is wrong with a file is found by asking it."""
        return None

    async def check(self) -> None:
        """See `Database.check`."""
        await self.file.check()

    async def changed_elsewhere(self) -> bool:
        """See `Database.changed_elsewhere`."""
        return await self.file.changed_elsewhere()

    async def close(self) -> None:
        """See `Database.close`."""
        await self.file.close()


class SQLiteTransaction:
    """See `stores.database.Transaction`, which this is: its methods never wait, as it is used in the file's threads."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def one(self, statement: str, values: Values) -> Row | None:
        """See `Transaction.one`."""
        return self._connection.execute(statement, values).fetchone()

    async def all(self, statement: str, values: Values) -> list[Row]:
        """See `Transaction.all`."""
        return self._connection.execute(statement, values).fetchall()

    async def run(self, statement: str, values: Values) -> int:
        """See `Transaction.run`."""
        return self._connection.execute(statement, values).rowcount

    async def run_each(self, statement: str, rows: Iterable[Values]) -> None:
        """See `Transaction.run_each`."""
        for row in rows:
            self._connection.execute(statement, row)

    async def lock(self, user_id: str) -> None:
        """See `Transaction.lock`. A transaction that writes has the whole file to itself."""


def _data_version(connection: sqlite3.Connection) -> int:
    # The number changes when *another* connection commits, and every write of this process goes through the one
    # connection that is asked here: so it tells of other processes alone.
    return int(connection.execute("pragma data_version").fetchone()[0])


def _attempt(connection: sqlite3.Connection, job: FileJob[Any], future: "asyncio.Future[Any]") -> _Outcome:
    try:
        return future, job(connection), None
    except Refused as refusal:
        return future, None, refusal


def _domain(error: BaseException) -> BaseException:
    """Driver errors become ours here and nowhere else."""
    if isinstance(error, sqlite3.Error):
        ours = StoreError(f"the database refused: {error}")
        ours.__cause__ = error
        return ours
    return error


def prepare(path: Path) -> None:
    """Makes the database's folder (mode 0700) and file (mode 0600) where they are missing.

    Raises:
        StoreError: they cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
    except OSError as error:
        raise StoreError(f"the database {path} cannot be made: {error}") from error
