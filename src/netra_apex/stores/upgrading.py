"""Bringing a schema up to date: a Postgres database's, and a SQLite file's where somebody asks for it."""

import contextlib
from pathlib import Path

import structlog

from netra_apex.errors import ConfigurationError, StoreError
from netra_apex.stores.connecting import RESTRICTED, Connection, Server, our_errors
from netra_apex.stores.roles import (
    SQL,
    allow,
    identifier,
    is_above_the_rules,
    make_login,
    make_role,
    may_serve,
    may_upgrade,
    schema_of,
)
from netra_apex.stores.sqlite import connect, migrate, prepare
from netra_apex.stores.statements import Migration, Phase, migrations

OLDEST = 13  # of PostgreSQL
_LOCK = "select pg_advisory_xact_lock(hashtextextended('netra schema', 0))"

log = structlog.get_logger()


def upgrade_file(path: Path) -> tuple[str, ...]:
    """Brings a SQLite file up to date, and makes it where there is none; answers what was applied.

    Raises:
        StoreError: it cannot be opened, or is newer than this version.
    """
    prepare(path)
    with contextlib.closing(connect(path)) as connection:
        before = int(connection.execute("pragma user_version").fetchone()[0])
        migrate(connection)
    return tuple(each.label for each in migrations() if each.version > before)


async def upgrade(server: Server, admin: Server | None = None, *, contract: bool = False) -> tuple[str, ...]:
    """Applies the migrations that are missing, all or none, and answers their names. A second time it changes nothing.

    With `admin` the tables are the admin's, and the server's own login is made where it is missing, with the password
    of its address, and may do nothing but read and write rows. Without, they are the login's own. `contract` also
    takes away what only older versions used.

    Raises:
        ConfigurationError: the two addresses do not go together.
        StoreError: the server cannot be reached, or refuses; or the login could do more than it is to.
    """
    login = server.address.user if admin is None else _checked(server, admin)
    at = admin or server
    with our_errors(at):
        # A migration may take its time, and so may another that is being carried out.
        async with at.connected(command_seconds=None) as connection, connection.transaction():
            await connection.execute(_LOCK)
            done = await _migrate(connection, at, contract=contract)
            if admin is not None:
                await make_login(connection, str(login), server.address.password)
                await allow(connection, str(login))
            elif await is_above_the_rules(connection):
                await make_role(connection, RESTRICTED)
                await allow(connection, RESTRICTED)
    if admin is not None:
        await _try(server)
    return done


async def prepared(server: Server, *, upgrading: bool, warning: bool = False) -> Server:
    """The server as this process is to act there, its schema being what this version needs.

    A login that owns its database brings the schema up to date itself, where it is `upgrading`. One that row-level
    security does not hold acts as a role that it holds; with a `warning` in the log, if that is wanted.

    Raises:
        StoreError: the schema is older, or newer than this version can use, and may not be changed from here; or the
            server cannot be reached.
    """
    with our_errors(server):
        async with server.connected() as connection:
            above = await is_above_the_rules(connection)
            reason = await unready(connection, server, RESTRICTED if above else None)
            may = await may_upgrade(connection)
    if reason is not None:
        if not may:
            raise StoreError(f"{reason}: run netra db upgrade --admin-url URL")
        if not upgrading:
            raise StoreError(f"{reason}: run netra db upgrade, or start netra serve")
        await upgrade(server)
    if above and warning:
        sentence = (
            f"the login of {server} is above row-level security: this process acts as the role {RESTRICTED};"
            " give it a login of its own with netra db upgrade --admin-url URL"
        )
        log.warning(sentence)
    return Server(server.address.url, role=RESTRICTED) if above else server


async def missing(connection: Connection, phase: Phase) -> list[Migration]:
    """The migrations of a phase that were not applied."""
    applied = {version for version, _ in await applied_migrations(connection)}
    return [each for each in migrations("postgres") if each.phase == phase and each.version not in applied]


async def applied_migrations(connection: Connection) -> list[tuple[int, str]]:
    """Version and phase of what was applied; nothing in an empty database, or one that may not be looked into."""
    if not await connection.fetchval(SQL["is_there"]) or not await connection.fetchval(SQL["readable"]):
        return []
    rows = await connection.fetch(SQL["applied"])
    return [(int(row[0]), str(row[1])) for row in rows]


async def refuse_newer(connection: Connection, server: Server) -> None:
    """Raises: StoreError: a newer version has taken away what this one uses. What it has added alone does no harm."""
    known = {each.version for each in migrations("postgres")}
    found = await applied_migrations(connection)
    if any(phase == "contract" and version not in known for version, phase in found):
        raise StoreError(
            f"{server} has schema {found[-1][0]}, made by a newer version, which took away what this one uses;"
            f" this one knows {max(known)}"
        )


def _checked(server: Server, admin: Server) -> str:
    """The login that is to be made."""
    login = server.address.user
    if login is None:
        raise ConfigurationError("NETRA_DATABASE_URL names no user: --admin-url makes the one that is in it")
    if login == admin.address.user:
        raise ConfigurationError(
            f"NETRA_DATABASE_URL and --admin-url both log in as {login}: the first is the one that serves,"
            " the second the one that makes it"
        )
    if server.address.database != admin.address.database:
        raise ConfigurationError(
            f"NETRA_DATABASE_URL names the database {server.address.database}, and --admin-url"
            f" {admin.address.database}: both must name the one that is to be brought up to date"
        )
    return login


async def unready(connection: Connection, server: Server, role: str | None) -> str | None:
    """Why nobody can serve from this database as it is, in this role where it is named; None where one can.

    Raises:
        StoreError: nothing that could be done to it would help this version.
    """
    await _check_version(connection, server)
    if not await connection.fetchval(SQL["readable"]):
        return f"the login of {server} may not read and write its tables"
    await refuse_newer(connection, server)
    if lacking := await missing(connection, "expand"):
        return f"the schema of {server} lacks {', '.join(each.label for each in lacking)}"
    if not await may_serve(connection, role):
        return f"the {'login' if role is None else f'role {role}'} of {server} may not read and write its tables"
    return None


async def _check_version(connection: Connection, server: Server) -> None:
    version = int(await connection.fetchval("select current_setting('server_version_num')"))
    if version < OLDEST * 10_000:
        raise StoreError(f"{server} is PostgreSQL {version // 10_000}; {OLDEST} is the oldest that will do")


async def _migrate(connection: Connection, server: Server, *, contract: bool) -> tuple[str, ...]:
    await _check_version(connection, server)
    await refuse_newer(connection, server)
    phases: tuple[Phase, ...] = ("expand", "contract") if contract else ("expand",)
    # In their order: what an expansion builds on may be what a contraction before it has left.
    lacking = sorted(
        [each for phase in phases for each in await missing(connection, phase)], key=lambda each: each.version
    )
    if not lacking:
        return ()
    schema = await schema_of(connection)
    if schema is None:
        raise StoreError(f"{server}: there is no schema for the tables; create one that is in the role's search_path")
    if not await may_upgrade(connection):
        raise StoreError(
            f"the login of {server} may not change its schema, which lacks {', '.join(each.label for each in lacking)}:"
            " run netra db upgrade --admin-url URL"
        )
    # Where the tables are already, whatever else the search path of who upgrades them says.
    await connection.execute(f"set local search_path = {identifier(schema)}")
    if not await connection.fetchval(SQL["is_there"]):
        await connection.execute(SQL["make_migrations"])
    for each in lacking:
        await connection.execute(each.script)
        await connection.execute(SQL["apply"], each.version, each.phase, each.name)
    return tuple(each.label for each in lacking)


async def _try(server: Server) -> None:
    """Logs in as who is to serve.

    Raises:
        StoreError: it cannot, or does not find the tables.
    """
    try:
        await prepared(server, upgrading=False)
    except StoreError as error:
        raise StoreError(f"the schema is up to date, but cannot be served from: {error}") from error
