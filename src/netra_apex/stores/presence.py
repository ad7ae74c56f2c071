"""Which processes on a Postgres database live: each holds a lock while its connection does, and is seen often.

Two signs, as neither is enough: a killed process's lock is free at once, but so are everybody's when the server was
restarted; a stopped one keeps its lock, but is seen no more.
"""

from netra_apex.stores.connecting import Connection, our_errors
from netra_apex.stores.database import Transaction
from netra_apex.stores.postgres import Postgres
from netra_apex.stores.statements import statements

SQL = statements("presence")


class PostgresPresence:
    """See `core.ports.Presence`, which this is."""

    def __init__(self, database: Postgres, executor: str) -> None:
        self._database = database
        self._executor = executor
        self._connection: Connection | None = None

    async def seen(self, room: int) -> bool:
        """Says that this process lives; True where it had to begin anew: its connection, and so its lock, was lost."""
        anew = self._connection is None or self._connection.is_closed()
        if anew:
            with our_errors():
                self._connection = await self._database.server.connect(application_name=f"netra {self._executor}")
                # Nobody else has this name: it is free at once, unless the server has not noticed an old
                # connection's end, and then it is as good as ours.
                await self._connection.execute(
                    "select pg_try_advisory_lock(hashtextextended('executor ' || $1, 0))", self._executor
                )
        values = {"executor": self._executor, "room": room}
        await self._database.write(lambda tx: tx.run(SQL["seen"], values), user=None)
        return anew

    async def others(self) -> tuple[tuple[str, int], ...]:
        """(executor, ms since it was seen) of every other process that is known or has runs."""
        values = {"executor": self._executor}
        rows = await self._database.read(lambda tx: tx.all(SQL["others"], values), user=None)
        return tuple((executor, ms) for executor, ms in rows)

    async def bury(self, executor: str, *, whatever: bool) -> int | None:
        """Lets go, in its name, of what a dead process has; how many runs.

        None where it lives: somebody holds its lock. `whatever`: also where it does, as one that was stopped may.
        """
        values = {"executor": executor}

        async def job(tx: Transaction) -> int | None:
            row = await tx.one(SQL["try_lock"], values)
            if not whatever and (row is None or not row[0]):
                return None
            await tx.run(SQL["forget"], values)
            return await tx.run(SQL["leave_all"], values)

        return await self._database.write(job, user=None, alone=True)

    async def close(self) -> None:
        """This process is gone: its name is free."""
        if self._connection is not None and not self._connection.is_closed():
            values = {"executor": self._executor}
            await self._database.write(lambda tx: tx.run(SQL["forget"], values), user=None)
            await self._connection.close()
