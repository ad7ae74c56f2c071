"""Remembering: accounts, conversations, runs and their event log, in one SQLite file or on Postgres."""

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from netra_apex.settings import Settings
from netra_apex.stores.accounts import AccountStore
from netra_apex.stores.administration import AdministrationStore
from netra_apex.stores.approvals import ApprovalStore
from netra_apex.stores.budgets import BudgetStore
from netra_apex.stores.bus import PostgresBus
from netra_apex.stores.connecting import Server
from netra_apex.stores.conversations import ConversationStore
from netra_apex.stores.credentials import CredentialStore
from netra_apex.stores.database import Database
from netra_apex.stores.files import FileLimits, FileStore
from netra_apex.stores.keys import KeyStore
from netra_apex.stores.memories import MemoryLimits, MemoryStore
from netra_apex.stores.postgres import Postgres
from netra_apex.stores.presence import PostgresPresence
from netra_apex.stores.processes import ProcessStore
from netra_apex.stores.questions import QuestionStore
from netra_apex.stores.runs import RunStore
from netra_apex.stores.sealing import Seal
from netra_apex.stores.service import ServiceStore
from netra_apex.stores.sqlite import ExecutorLock, SQLite, prepare
from netra_apex.stores.steps import JournalStore, StepRows
from netra_apex.stores.turns import TurnStore
from netra_apex.stores.upgrading import prepared

__all__ = ["Stores", "open_stores"]


@dataclass(frozen=True, slots=True)
class Stores:
    """What a process remembers with; each part satisfies its port in `core`."""

    database: Database
    accounts: AccountStore
    conversations: ConversationStore
    runs: RunStore
    journals: JournalStore
    turns: TurnStore
    approvals: ApprovalStore
    files: FileStore
    budgets: BudgetStore
    questions: QuestionStore
    credentials: CredentialStore
    memories: MemoryStore
    administration: AdministrationStore
    keys: KeyStore
    processes: ProcessStore
    service: ServiceStore
    presence: PostgresPresence | None = None
    bus: PostgresBus | None = None


@contextlib.asynccontextmanager
async def open_stores(
    settings: Settings,
    *,
    executing: bool = False,
    secret: str | None = None,
    upgrading: bool = True,
    executor: str | None = None,
) -> AsyncGenerator[Stores]:
    """Opens the database that the settings name, brings its schema up to date, and closes it in the end.

    `executing` takes the lock of the one process that executes runs; a command beside a server does without. The
    journal is sealed with `secret`; without it nothing of it can be read or written. A Postgres database that many
    processes share is left as it is by one that is not `upgrading`; there `executor` is the name by which a process
    meets the others.

    Raises:
        HomeInUse: another process executes runs on it.
        StoreError: it cannot be opened or reached, or its schema is not one that this version can use.
    """
    async with contextlib.AsyncExitStack() as stack:
        presence = bus = None
        if settings.on_postgres:
            database = await Postgres.open(await prepared(_server(settings), upgrading=upgrading, warning=executing))
            stack.push_async_callback(database.close)
            if executor is not None:
                presence, bus = PostgresPresence(database, executor, secret), PostgresBus(database, executor)
                stack.push_async_callback(presence.close)
        else:
            database = _sqlite(settings, stack, executing=executing)
            stack.push_async_callback(database.close)
        yield _stores(database, settings, None if secret is None else Seal(secret), presence, bus)


def _stores(
    database: Database,
    settings: Settings,
    seal: Seal | None,
    presence: PostgresPresence | None,
    bus: PostgresBus | None,
) -> Stores:
    rows = StepRows(seal)
    return Stores(
        database=database,
        accounts=AccountStore(database),
        conversations=ConversationStore(database),
        runs=RunStore(database, settings.history_messages, rows, settings.approval_days),
        journals=JournalStore(database, rows),
        turns=TurnStore(database),
        approvals=ApprovalStore(database),
        questions=QuestionStore(database),
        files=FileStore(database, FileLimits(settings.upload_bytes, settings.files_bytes_per_user)),
        budgets=BudgetStore(database),
        credentials=CredentialStore(database, seal),
        memories=MemoryStore(database, MemoryLimits(settings.memories_per_user, settings.memory_characters)),
        administration=AdministrationStore(database),
        keys=KeyStore(database),
        processes=ProcessStore(database),
        service=ServiceStore.of(database, settings),
        presence=presence,
        bus=bus,
    )


def _sqlite(settings: Settings, stack: contextlib.AsyncExitStack, *, executing: bool) -> Database:
    path = settings.database_path
    prepare(path)
    if executing:
        stack.callback(ExecutorLock(path).release)
    return SQLite(path)


def _server(settings: Settings) -> Server:
    assert settings.database_url is not None
    return Server(settings.database_url)
