"""Roles of a Postgres server: who may look past row-level security, and the ones that may not, which serve.

A role that serves as `netra db upgrade --admin-url` makes it may read and write rows, those of the audit only read and
add, and nothing else: what it must not see it cannot open up for itself.
"""

from netra_apex.errors import StoreError
from netra_apex.stores.connecting import Connection, already_there
from netra_apex.stores.scram import verifier
from netra_apex.stores.statements import content_tables, statements, tables

SQL = statements("catalog")
MIGRATIONS = "schema_migrations"
AUDIT = "audit"
_ROWS = ("select", "insert", "update", "delete")
_ADDED_TO = ("select", "insert")


async def is_above_the_rules(connection: Connection) -> bool:
    """Whether row-level security does not hold the login of this connection."""
    return bool(await connection.fetchval(SQL["above"]))


async def schema_of(connection: Connection) -> str | None:
    """The schema that our tables are in, or would be made in; None where there is none for them."""
    return await connection.fetchval(SQL["schema"])


async def may_upgrade(connection: Connection) -> bool:
    """Whether this connection's login may change our tables, or make them where there are none."""
    return bool(await connection.fetchval(SQL["may_upgrade"]))


async def may_serve(connection: Connection, role: str | None = None) -> bool:
    """Whether a role, this connection's login unless it is named, may read and write the rows of each table of ours."""
    name = role or await connection.fetchval("select session_user")
    if await connection.fetchval(SQL["role"], name) is None:
        return False
    rights = [(MIGRATIONS, "select")]
    rights += [(table, right) for table in await _ours(connection) for right in _rights(table)]
    missing = await connection.fetchval(SQL["not_allowed"], name, *map(list, zip(*rights, strict=True)))
    return missing is None


async def make_login(connection: Connection, name: str, password: str | None) -> None:
    """A role that logs in, with this password where it has one; one that is there is left as it is.

    Raises:
        StoreError: it is there, and may not log in.
    """
    may = await connection.fetchval(SQL["role"], name)
    if may is None:
        word = "" if password is None else f" password '{verifier(password)}'"
        await connection.execute(
            f"create role {identifier(name)} login nosuperuser nobypassrls nocreatedb nocreaterole{word}"
        )
    elif not may:
        raise StoreError(f"role {name} is there already, and may not log in: alter role {identifier(name)} login")


async def make_role(connection: Connection, name: str) -> None:
    """A role that nobody logs in as; this connection's login may act as it."""
    if await connection.fetchval(SQL["role"], name) is None:
        # Roles are the whole server's: somebody who upgrades another database may be making it now.
        with already_there():
            async with connection.transaction():
                await connection.execute(f"create role {identifier(name)} nologin nosuperuser nobypassrls")
    if not await connection.fetchval(SQL["superuser"]):
        await connection.execute(f"grant {identifier(name)} to session_user")


async def allow(connection: Connection, name: str) -> None:
    """Lets a role read and write the rows of our tables, and nothing else.

    Raises:
        StoreError: it could do more than that, whatever it is allowed here.
    """
    ours, schema = await _ours(connection), await schema_of(connection)
    more = await connection.fetchval(SQL["more_than_rows"], name, [MIGRATIONS, *ours], schema)
    if more is not None:
        raise StoreError(f"role {name} {more}: it cannot be the one that serves; name another in NETRA_DATABASE_URL")
    role, place = identifier(name), identifier(str(schema))
    database = identifier(await connection.fetchval("select current_database()"))
    await connection.execute(f"grant connect on database {database} to {role}")
    await connection.execute(f"grant usage on schema {place} to {role}")
    await connection.execute(f"grant select on {MIGRATIONS} to {role}")
    for table in ours:
        await connection.execute(f"grant {', '.join(_rights(table))} on {table} to {role}")


def _rights(table: str) -> tuple[str, ...]:
    """What a role that serves may do with the rows of a table: those of the audit stay as they are."""
    return _ADDED_TO if table == AUDIT else _ROWS


def identifier(name: str) -> str:
    """A name as SQL has it."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


async def unprotected(connection: Connection) -> tuple[str, ...]:
    """The tables of what people say that do not stand under row-level security as they should."""
    there = [table for table in await _ours(connection) if table in content_tables()]
    return tuple(row[0] for row in await connection.fetch(SQL["unprotected"], there))


async def _ours(connection: Connection) -> list[str]:
    """Our tables that are there: a newer version's are its own business."""
    return [row[0] for row in await connection.fetch(SQL["those_there"], sorted(tables()))]
