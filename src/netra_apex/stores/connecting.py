"""Connecting to a Postgres server: as whom, how, and what it looks like when the server is gone."""

import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none
from asyncpg import exceptions as driver  # pyright: ignore[reportMissingTypeStubs]

from netra_apex.addresses import PostgresAddress
from netra_apex.errors import StoreError

CONNECT_SECONDS = 5
COMMAND_SECONDS = 60
RESTRICTED = "netra_app"  # whom a login that row-level security does not hold acts as
# A machine that vanished without a word is noticed by the server within some ten seconds, and its locks are free.
KEEPALIVE = {"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3"}
# In a text between quotes a backslash is one, whatever the role or the database has been set to.
PLAIN_TEXTS = {"standard_conforming_strings": "on"}

_asyncpg = cast("Any", asyncpg)
_REFUSED = (driver.PostgresError, driver.InterfaceError)
# Among what else says that the server is gone: a value or an option that it can never take, or another's certificate.
_NEVER = (ValueError,)
_IN_THE_WAY = (
    driver.DeadlockDetectedError,
    driver.SerializationError,
    driver.InvalidCachedStatementError,  # a table was changed under a prepared statement; it is prepared anew
)
_GONE = (
    driver.PostgresConnectionError,
    driver.AdminShutdownError,
    driver.CrashShutdownError,
    driver.CannotConnectNowError,
    driver.TooManyConnectionsError,
    driver.IdleSessionTimeoutError,
    driver.IdleInTransactionSessionTimeoutError,  # this process stood still for longer than the server waits
    driver.InterfaceError,  # the connection, or the pool, was closed under a statement
    driver.InternalClientError,  # the same, in the middle of what the server said last
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
    return isinstance(error, _GONE) and not isinstance(error, _NEVER)


def is_open(connection: Connection) -> bool:
    """Whether statements can be sent on it still. Of one that broke the pool lets go, and then it answers nothing."""
    try:
        return not connection.is_closed()
    except driver.InterfaceError:
        return False


def drop(connection: Connection) -> None:
    """Ends a connection at once, if it has not ended: nobody waits for what its server may say."""
    if is_open(connection):
        connection.terminate()


async def give_back(pool: Pool, connection: Connection) -> None:
    """Gives a connection back to its pool."""
    # One that breaks at this moment has been taken back by the pool itself, which then knows of no such loan.
    with contextlib.suppress(driver.InternalClientError):
        await pool.release(connection)


class Server:
    """Where the database is, and as whom this process acts there: the login, or a role that it changes into.

    `role` is set for logins that row-level security does not hold (superusers): every connection acts as that role.
    """

    def __init__(self, url: str, *, role: str | None = None) -> None:
        self.address = PostgresAddress.read(url)
        self.role = role

    def __str__(self) -> str:
        """Without the password."""
        return str(self.address)

    async def connect(self, *, command_seconds: float | None = COMMAND_SECONDS, **settings: str) -> Connection:
        """A connection by itself, not of a pool, each of whose commands may take so long; None: as long as it takes."""
        connecting: Any = _asyncpg.connect(
            self.address.url,
            timeout=CONNECT_SECONDS,
            command_timeout=command_seconds,
            server_settings=self._with(settings),
        )
        return cast("Connection", await connecting)

    @contextlib.asynccontextmanager
    async def connected(self, *, command_seconds: float | None = COMMAND_SECONDS) -> AsyncGenerator[Connection]:
        """A connection for the time of an `async with`."""
        connection = await self.connect(command_seconds=command_seconds)
        try:
            yield connection
        finally:
            # A server that went away takes no leave.
            with contextlib.suppress(*_GONE):
                await connection.close()

    async def pool(self, size: int) -> Pool:
        """A pool of connections, the first of which is there."""
        opening: Any = _asyncpg.create_pool(
            self.address.url,
            min_size=0,  # asyncpg logs a stack trace for each connection of its own that it cannot make
            max_size=size,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            server_settings=self._with({}),
            # Nothing is ever set for longer than a transaction, so there is nothing to be put back after each use.
            reset=_nothing,
        )
        pool = cast("Pool", await opening)
        await pool.release(await pool.acquire())
        return pool

    def _with(self, settings: dict[str, str]) -> dict[str, str]:
        named = {"application_name": "netra", **KEEPALIVE, **PLAIN_TEXTS, **settings}
        return named if self.role is None else named | {"role": self.role}


def in_the_way(error: BaseException) -> bool:
    """Whether others stood in a transaction's way: done again, it can pass."""
    return isinstance(error, _IN_THE_WAY)


def as_ours(error: BaseException, where: object = "") -> BaseException:
    """Driver errors become ours here and nowhere else; `where` is the server, as people know it."""
    database = f"the database {where}".rstrip()
    if lost(error):
        ours = StoreError(f"{database} cannot be reached: {reason_of(error)}")
    elif isinstance(error, (*_REFUSED, ssl.SSLError)):
        ours = StoreError(f"{database} refused: {reason_of(error)}")
    else:
        return error
    ours.__cause__ = error
    return ours


@contextlib.contextmanager
def our_errors(where: object = "") -> Generator[None]:
    """Raises StoreError for what the driver raises.

    Raises:
        StoreError: the server cannot be reached, or refuses.
    """
    try:
        yield
    except (*_GONE, *_REFUSED) as error:
        raise as_ours(error, where) from error


@contextlib.contextmanager
def already_there() -> Generator[None]:
    """Passes over that what was to be made is there already."""
    with contextlib.suppress(driver.DuplicateObjectError, driver.UniqueViolationError):
        yield


def reason_of(error: BaseException | None) -> str:
    """What an error of the driver says, in a line that people may see."""
    if isinstance(error, TimeoutError) and not str(error):
        return "it does not answer in time"
    # The message alone: below it the server tells details, such as the row that it would not take.
    return (str(error) or type(error).__name__).partition("\n")[0]


async def _nothing(_: Any) -> None:
    pass
