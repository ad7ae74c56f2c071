"""The database that a command acts on, which is there already: looking must not make one."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from netra_apex.cli.terminal import fail

if TYPE_CHECKING:
    from netra_apex.stores import Stores


@asynccontextmanager
async def existing_stores() -> AsyncGenerator["Stores"]:
    """The stores of the database that the settings name; leaves with 1 where there is none.

    On Postgres a schema is neither made nor changed: that may take its time, and be for another role to do.
    """
    from netra_apex.settings import Settings
    from netra_apex.stores import open_stores

    settings = Settings.load()
    if not settings.on_postgres and not settings.database_path.exists():
        fail(f"there is no database {settings.database_path}: the first netra serve, or netra user add, makes it")
    async with open_stores(settings, upgrading=False) as stores:
        yield stores
