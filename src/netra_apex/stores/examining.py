"""Looking at a Postgres database without changing it: what `netra doctor` tells of one."""

import time
from dataclasses import dataclass

from netra_apex.stores.connecting import RESTRICTED, Connection, Server, our_errors
from netra_apex.stores.roles import is_above_the_rules, may_upgrade, unprotected
from netra_apex.stores.statements import migrations
from netra_apex.stores.upgrading import applied_migrations, unready

ROUND_TRIPS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """What was found. `unready` is why nobody can serve from it as it is, None where one can.

    `unprotected` are tables of what people say that row-level security does not guard as it should. The clock is so
    many seconds ahead of this machine's, behind where that is negative.
    """

    version: str
    login: str
    unready: str | None
    schema: int
    known: int
    above_row_security: bool
    owns_schema: bool
    unprotected: tuple[str, ...]
    round_trip_ms: float
    clock_ahead_seconds: float


async def examine(server: Server) -> Examined:
    """Looks.

    Raises:
        StoreError: the server cannot be reached, or refuses.
    """
    with our_errors(server):
        async with server.connected() as connection:
            above = await is_above_the_rules(connection)
            reason = await unready(connection, server, RESTRICTED if above else None)
            applied = await applied_migrations(connection)
            round_trip, ahead = await _timed(connection)
            return Examined(
                version=str(await connection.fetchval("show server_version")),
                login=str(await connection.fetchval("select session_user")),
                unready=reason,
                schema=max((version for version, _ in applied), default=0),
                known=max(each.version for each in migrations("postgres")),
                above_row_security=above,
                owns_schema=await may_upgrade(connection),
                unprotected=await unprotected(connection),
                round_trip_ms=round_trip * 1000,
                clock_ahead_seconds=ahead,
            )


async def _timed(connection: Connection) -> tuple[float, float]:
    """The quickest of some round trips in seconds, and how far the server's clock is ahead, told by that one."""
    found: list[tuple[float, float]] = []
    for _ in range(ROUND_TRIPS):
        before, began = time.time(), time.perf_counter()
        there = float(await connection.fetchval("select extract(epoch from clock_timestamp())"))
        took = time.perf_counter() - began
        found.append((took, there - before - took / 2))
    return min(found)
