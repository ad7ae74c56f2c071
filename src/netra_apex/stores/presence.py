"""Which processes on a Postgres database live: each holds a lock while its connection does, and is seen often.

Two signs, as neither is enough: a killed process's lock is free at once, but so are everybody's when the server was
restarted; a stopped one keeps its lock, but is seen no more.
"""

import asyncio
import contextlib

import structlog

from netra_apex.errors import ConfigurationError, StoreError
from netra_apex.stores.connecting import Connection, our_errors
from netra_apex.stores.database import Row, Transaction
from netra_apex.stores.postgres import Postgres
from netra_apex.stores.processes import note
from netra_apex.stores.sealing import Seal
from netra_apex.stores.statements import statements

SQL = statements("presence")
OFTEN_MS = 1_000  # who is seen less often than this was away: stopped, starved, or cut off
YOUNG_MS = 3_000  # a server that has just started has not heard of everybody yet
GOODBYE_SECONDS = 2.0
LOCK = "select pg_try_advisory_lock(hashtextextended('executor ' || $1, 0))"

log = structlog.get_logger()


class PostgresPresence:
    """See `core.processes.Presence`, which this is."""

    def __init__(self, database: Postgres, executor: str, secret: str | None = None) -> None:
        self._database = database
        self._executor = executor
        self._secret = None if secret is None else Seal.mark(secret)
        self._connection: Connection | None = None
        self._locked = False
        self._known = False

    async def seen(self, room: int) -> bool:
        """Says that this process lives. Whether it can judge others: neither it nor the server was away just now.

        Raises:
            StoreError: the database does not answer.
        """
        held = await self._hold()
        values = {"executor": self._executor, "room": room, "secret": self._secret}
        row = await self._database.write(lambda tx: tx.one(SQL["seen"], values), user=None, repeatable=True)
        assert row is not None
        silent_ms, server_ms = row
        often, self._known = silent_ms < OFTEN_MS or not self._known, True
        return held and often and server_ms > YOUNG_MS

    async def check_secret(self) -> None:
        """Makes sure that those who live have the same secret: theirs is what runs are kept and logins are made with.

        Raises:
            ConfigurationError: one has another.
        """
        values = {"executor": self._executor, "secret": self._secret}
        row = await self._database.read(lambda tx: tx.one(SQL["strangers"], values), user=None)
        if row is not None and row[0]:
            raise ConfigurationError(
                "processes on this database have another NETRA_SECRET_KEY: give all of them the same one"
            )

    async def others(self) -> tuple[tuple[str, int], ...]:
        """(executor, ms since it was seen) of every other process that is known or has runs."""
        values = {"executor": self._executor}
        rows = await self._database.read(lambda tx: tx.all(SQL["others"], values), user=None)
        return tuple((executor, ms) for executor, ms in rows)

    async def bury(self, executor: str, *, silent_ms: int, locked: bool) -> int | None:
        """Lets go, in its name, of what a dead process has; how many runs. None where it lives.

        Dead is who was silent for so long and whose lock is free; that of one that hangs may be `locked` still.
        """
        values = {"executor": executor, "silent_ms": silent_ms}

        async def job(tx: Transaction) -> int | None:
            # The lock first: of two who look at the same time one buries. And anew: it may have come back since.
            free: Row | None = await tx.one(SQL["try_lock"], values)
            if not locked and (free is None or not free[0]):
                return None
            if await tx.one(SQL["lives"], values) is not None:
                return None
            known = await tx.run(SQL["forget"], values)
            runs = await tx.run(SQL["leave_all"], values)
            if known or runs:  # another may have buried it in this moment
                await note(tx, "lost", executor, runs)
            return runs

        return await self._database.write(job, user=None, alone=True)

    async def close(self) -> None:
        """This process is gone: its name is free. Where the database does not answer, peers find that by themselves."""
        values = {"executor": self._executor}
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._database.write(lambda tx: tx.run(SQL["forget"], values), user=None)
        if self._connection is not None:
            self._connection.terminate()

    async def _hold(self) -> bool:
        """Takes the lock, where this process does not have it; whether it had it all the time.

        One that cannot have it now (no connection is free, or the server has not noticed the end of an old one) is
        seen all the same, and tries again with the next look.
        """
        if self._locked and self._connection is not None and not self._connection.is_closed():
            return True
        first = self._connection is None
        try:
            with our_errors():
                if self._connection is None or self._connection.is_closed():
                    self._locked = False
                    self._connection = await self._database.server.connect(application_name=f"netra {self._executor}")
                self._locked = bool(await self._connection.fetchval(LOCK, self._executor))
        except StoreError as error:
            log.warning("the lock of this process cannot be had for now", error=str(error))
            return False
        return first and self._locked
