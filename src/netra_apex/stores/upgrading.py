"""Bringing a Postgres schema up to date, and making the role that may not look past row-level security."""

import contextlib
from collections.abc import AsyncGenerator

from netra_apex.errors import StoreError
from netra_apex.stores.connecting import RESTRICTED, Connection, Server, our_errors
from netra_apex.stores.statements import Migration, Phase, migrations

_LOCK = "select pg_advisory_xact_lock(hashtextextended('netra schema', 0))"
_APPLIED = """
create table if not exists schema_migrations (
    version    integer primary key,
    phase      text not null,
    name       text not null,
    applied_at timestamptz not null default now()
)"""
_ALLOWED = "select, insert, update, delete"


async def upgrade(server: Server, admin: Server | None = None, *, contract: bool = False) -> tuple[str, ...]:
    """Applies the migrations that are missing, in one transaction; answers their names.

    With `admin` the tables are the admin's, and the server's own login is made where it is missing, with the password
    of its address, and may do nothing but read and write rows. Without, they are the login's own. `contract` also
    takes away what only older versions used.

    Raises:
        StoreError: the server cannot be reached, or refuses.
    """
    with our_errors():
        async with connected(admin or server) as connection, connection.transaction():
            await connection.execute(_LOCK)
            done = await _migrate(connection, contract=contract)
            if admin is not None and server.user is not None:
                await _make_login(connection, server.user, server.password)
                await _allow(connection, server.user)
            elif await _is_above_the_rules(connection):
                await _make_role(connection, RESTRICTED)
                await _allow(connection, RESTRICTED)
    return done


async def prepared(server: Server, *, may_upgrade: bool) -> Server:
    """The server as this process is to act there, its schema being what this version needs.

    A login that owns its database brings the schema up to date itself, where it `may_upgrade`.

    Raises:
        StoreError: the schema is older and may not be changed from here; or the server cannot be reached.
    """
    with our_errors():
        async with connected(server) as connection:
            missing = await _missing(connection, "expand")
            above = await _is_above_the_rules(connection)
            owner = above or await connection.fetchval("select has_schema_privilege(current_schema(), 'create')")
    if missing and not (owner and may_upgrade):
        names = ", ".join(f"{each.version:04}_{each.name}" for each in missing)
        raise StoreError(f"the schema of {server} lacks {names}: run netra db upgrade --admin-url URL")
    if missing:
        await upgrade(server)
    return Server(server.url, role=RESTRICTED) if above else server


@contextlib.asynccontextmanager
async def connected(server: Server) -> AsyncGenerator[Connection]:
    """A connection for the time of an `async with`."""
    connection = await server.connect()
    try:
        yield connection
    finally:
        await connection.close()


async def schema_version(connection: Connection) -> int:
    """The newest migration that was applied; 0 for an empty database."""
    if await connection.fetchval("select to_regclass('schema_migrations')") is None:
        return 0
    return int(await connection.fetchval("select coalesce(max(version), 0) from schema_migrations"))


async def _missing(connection: Connection, phase: Phase) -> list[Migration]:
    known = [each for each in migrations("postgres") if each.phase == phase]
    if await connection.fetchval("select to_regclass('schema_migrations')") is None:
        return known
    applied = {row[0] for row in await connection.fetch("select version from schema_migrations")}
    return [each for each in known if each.version not in applied]


async def _migrate(connection: Connection, *, contract: bool) -> tuple[str, ...]:
    await connection.execute(_APPLIED)
    missing = await _missing(connection, "expand")
    if contract:
        missing += await _missing(connection, "contract")
    for each in missing:
        await connection.execute(each.script)
        await connection.execute(
            "insert into schema_migrations (version, phase, name) values ($1, $2, $3)",
            each.version,
            each.phase,
            each.name,
        )
    return tuple(f"{each.version:04}_{each.phase}_{each.name}" for each in missing)


async def _is_above_the_rules(connection: Connection) -> bool:
    return bool(await connection.fetchval("select rolsuper or rolbypassrls from pg_roles where rolname = session_user"))


async def _make_login(connection: Connection, name: str, password: str | None) -> None:
    there = await connection.fetchrow("select rolsuper or rolbypassrls from pg_roles where rolname = $1", name)
    if there is None:
        word = "" if password is None else f" password {_literal(password)}"
        await connection.execute(f"create role {_identifier(name)} login nosuperuser nobypassrls{word}")
    elif there[0]:
        raise StoreError(f"role {name} is above row-level security, so it cannot be the one that serves")


async def _make_role(connection: Connection, name: str) -> None:
    if await connection.fetchval("select 1 from pg_roles where rolname = $1", name) is None:
        await connection.execute(f"create role {_identifier(name)} nologin nosuperuser nobypassrls")


async def _allow(connection: Connection, name: str) -> None:
    """Rows and nothing else: no tables of its own, and none of these changed."""
    role, schema = _identifier(name), await connection.fetchval("select quote_ident(current_schema())")
    database = await connection.fetchval("select quote_ident(current_database())")
    await connection.execute(f"grant connect on database {database} to {role}")
    await connection.execute(f"grant usage on schema {schema} to {role}")
    await connection.execute(f"grant {_ALLOWED} on all tables in schema {schema} to {role}")
    await connection.execute(f"revoke insert, update, delete on schema_migrations from {role}")


def _identifier(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _literal(text: str) -> str:
    doubled = text.replace("'", "''").replace("\\", "\\\\")
    return f"E'{doubled}'"
