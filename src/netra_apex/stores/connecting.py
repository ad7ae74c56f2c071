"""Connecting to a Postgres server: as whom, how, and what it looks like when the server is gone."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, cast
from urllib.parse import unquote, urlsplit

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none
from asyncpg import exceptions as driver  # pyright: ignore[reportMissingTypeStubs]

from netra_apex.errors import StoreError

CONNECT_SECONDS = 5
COMMAND_SECONDS = 60
RESTRICTED = "netra_app"  # whom a login that row-level security does not hold acts as
# A machine that vanished without a word is noticed by the server within some ten seconds, and its locks are free.
KEEPALIVE = {"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3"}

_asyncpg = cast("Any", asyncpg)
_REFUSED = (driver.PostgresError, driver.InterfaceError)
_IN_THE_WAY = (driver.DeadlockDetectedError, driver.SerializationError)
_GONE = (
    driver.PostgresConnectionError,
    driver.AdminShutdownError,
    driver.CrashShutdownError,
    driver.CannotConnectNowError,
    driver.TooManyConnectionsError,
    driver.InterfaceError,  # the connection, or the pool, was closed under a statement
    ConnectionError,
    OSError,
    TimeoutError,
)


class Connection(Protocol):
    """What is used of asyncpg's connection, which says little of its types itself."""

    async def execute(self, query: str, *args: Any) -> str: ...

    async def executemany(self, command: str, args: Iterable[Sequence[Any]]) -> None: ...

    async def fetch(self, query: str, *args: Any) -> list[Sequence[Any]]: ...

    async def fetchrow(self, query: str, *args: Any) -> Sequence[Any] | None: ...

    async def fetchval(self, query: str, *args: Any) -> Any: ...

    def transaction(self) -> AbstractAsyncContextManager[None]: ...

    async def add_listener(self, channel: str, callback: Callable[[Any, int, str, str], None]) -> None: ...

    def add_termination_listener(self, callback: Callable[[Any], None]) -> None: ...

    def is_in_transaction(self) -> bool: ...

    def is_closed(self) -> bool: ...

    def terminate(self) -> None: ...

    async def close(self) -> None: ...


class Pool(Protocol):
    """What is used of asyncpg's pool."""

    async def acquire(self) -> Connection: ...

    async def release(self, connection: Connection) -> None: ...

    def terminate(self) -> None: ...


def lost(error: BaseException) -> bool:
    """Whether this says that the server is gone for now, and not that it refuses."""
    return isinstance(error, _GONE)


class Server:
    """Where the database is, and as whom this process acts there: the login, or a role that it changes into.

    `role` is set for logins that row-level security does not hold (superusers): every connection acts as that role.
    """

    def __init__(self, url: str, *, role: str | None = None) -> None:
        self.url = url
        self.role = role

    def __str__(self) -> str:
        """Without the password."""
        parts = urlsplit(self.url)
        login = f"{parts.username}@" if parts.username else ""
        port = f":{parts.port}" if parts.port else ""
        return f"{login}{parts.hostname or 'localhost'}{port}{parts.path}"

    @property
    def user(self) -> str | None:
        """The name that it logs in by."""
        name = urlsplit(self.url).username
        return None if name is None else unquote(name)

    @property
    def password(self) -> str | None:
        """The password of the login, where the address has it."""
        word = urlsplit(self.url).password
        return None if word is None else unquote(word)

    async def connect(self, **settings: str) -> Connection:
        """A connection by itself, not of a pool."""
        connecting: Any = _asyncpg.connect(
            self.url, timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS, server_settings=self._with(settings)
        )
        return cast("Connection", await connecting)

    async def pool(self, size: int) -> Pool:
        """A pool of connections, the first of which is there."""
        opening: Any = _asyncpg.create_pool(
            self.url,
            min_size=1,
            max_size=size,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            server_settings=self._with({}),
            # Nothing is ever set for longer than a transaction, so there is nothing to be put back after each use.
            reset=_nothing,
        )
        return cast("Pool", await opening)

    def _with(self, settings: dict[str, str]) -> dict[str, str]:
        named = {"application_name": "netra", **KEEPALIVE, **settings}
        return named if self.role is None else named | {"role": self.role}


def in_the_way(error: BaseException) -> bool:
    """Whether two transactions stood in each other's way: done again, each of them can pass."""
    return isinstance(error, _IN_THE_WAY)


def as_ours(error: BaseException) -> BaseException:
    """Driver errors become ours here and nowhere else."""
    if lost(error):
        ours = StoreError(f"the database cannot be reached: {error}")
    elif isinstance(error, _REFUSED):
        ours = StoreError(f"the database refused: {error}")
    else:
        return error
    ours.__cause__ = error
    return ours


@contextlib.contextmanager
def our_errors() -> Generator[None]:
    """Raises StoreError for what the driver raises.

    Raises:
        StoreError: the server cannot be reached, or refuses.
    """
    try:
        yield
    except (*_GONE, *_REFUSED) as error:
        raise as_ours(error) from error


async def _nothing(_: Any) -> None:
    pass
