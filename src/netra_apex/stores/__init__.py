"""Remembering: accounts, conversations, runs and their event log, in one SQLite file."""

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from netra_apex.settings import Settings
from netra_apex.stores.accounts import SQLiteAccounts
from netra_apex.stores.conversations import SQLiteConversations
from netra_apex.stores.database import Database, ExecutorLock, prepare
from netra_apex.stores.runs import SQLiteRuns
from netra_apex.stores.sealing import Seal
from netra_apex.stores.steps import SQLiteJournals, StepRows

__all__ = ["Stores", "open_stores"]


@dataclass(frozen=True, slots=True)
class Stores:
    """What a process remembers with; each part satisfies its port in `core.ports`."""

    database: Database
    accounts: SQLiteAccounts
    conversations: SQLiteConversations
    runs: SQLiteRuns
    journals: SQLiteJournals


@contextlib.asynccontextmanager
async def open_stores(
    settings: Settings, *, executing: bool = False, secret: str | None = None
) -> AsyncGenerator[Stores]:
    """Opens the database that the settings name, brings its schema up to date, and closes it in the end.

    `executing` takes the lock of the one process that executes runs; a command beside a server does without. The
    journal is sealed with `secret`; without it nothing of it can be read or written.

    Raises:
        HomeInUse: another process executes runs on it.
        StoreError: it cannot be opened, or is newer than this version.
    """
    path = settings.database_path
    prepare(path)
    with contextlib.ExitStack() as stack:
        if executing:
            stack.callback(ExecutorLock(path).release)
        database = Database(path)
        try:
            rows = StepRows(None if secret is None else Seal(secret))
            runs, journals = SQLiteRuns(database, settings.history_messages, rows), SQLiteJournals(database, rows)
            yield Stores(database, SQLiteAccounts(database), SQLiteConversations(database), runs, journals)
        finally:
            await database.close()
