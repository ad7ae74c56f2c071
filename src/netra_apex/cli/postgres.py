"""The checks of `netra doctor` for a Postgres database."""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from netra_apex.cli.finding import Check
from netra_apex.errors import StoreError
from netra_apex.settings import Settings

if TYPE_CHECKING:
    from netra_apex.stores.examining import Examined

SLOW_MS = 20.0  # a round trip: a run has some tens of them, one after another
CLOCK_SECONDS = 2.0


async def check_postgres(settings: Settings) -> AsyncGenerator[Check]:
    """Whether it can be reached and served from, as whom, what guards people's rows, and how far away it is."""
    from netra_apex.stores.connecting import Server
    from netra_apex.stores.examining import examine

    assert settings.database_url is not None
    server = Server(settings.database_url)
    try:
        found = await examine(server)
    except StoreError as error:
        yield Check("database", "wrong", str(error))
        return
    yield Check("database", "ok", f"{server} answers, PostgreSQL {found.version}")
    yield _schema(found)
    yield _role(found)
    if found.schema:
        yield _rows(found)
    far = found.round_trip_ms > SLOW_MS
    yield Check("round trip", "warning" if far else "ok", f"{found.round_trip_ms:.1f} ms")
    ahead = found.clock_ahead_seconds
    wrong = abs(ahead) > CLOCK_SECONDS
    where = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    yield Check("clock", "warning" if wrong else "ok", f"the database's clock is {where}")


def _schema(found: "Examined") -> Check:
    if found.unready is None:
        return Check("schema", "ok", f"schema {found.schema}; this version knows {found.known}")
    if not found.owns_schema:
        return Check("schema", "wrong", f"{found.unready}: run netra db upgrade --admin-url URL")
    return Check("schema", "warning", f"{found.unready}: netra db upgrade, or the next start, brings it up to date")


def _role(found: "Examined") -> Check:
    if found.above_row_security:
        said = f"{found.login} is above row-level security, so it acts as netra_app"
        return Check("role", "warning", f"{said}; netra db upgrade --admin-url URL makes a role that it holds")
    if found.owns_schema:
        return Check("role", "ok", f"{found.login} owns its tables; row-level security is forced on it too")
    return Check("role", "ok", f"{found.login} may read and write rows, and nothing else")


def _rows(found: "Examined") -> Check:
    if found.unprotected:
        return Check("row security", "wrong", f"people's rows are not guarded in {', '.join(found.unprotected)}")
    return Check("row security", "ok", "every table of what people say shows each user's rows to that user alone")
