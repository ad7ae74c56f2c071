"""`WebSocketManager`: who is connected to this process. It counts, finds and closes; it never addresses content."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Generator

from netra_apex.errors import Flood, TooManyConnections


class Connection:
    """One socket of one login, as the manager knows it. `close` asks its door to close it with a code."""

    __slots__ = ("close", "connection_id", "session_id", "user_id")

    def __init__(self, connection_id: str, user_id: str, session_id: str, close: Callable[[int], None]) -> None:
        self.connection_id = connection_id
        self.user_id = user_id
        self.session_id = session_id
        self.close = close


class WebSocketManager:
    """The connections of one process, by user."""

    def __init__(self, per_user: int) -> None:
        self._per_user = per_user
        self._connections: dict[str, dict[str, Connection]] = {}
        self._streams: Counter[str] = Counter()
        self._held: Counter[str] = Counter()
        self._count = 0
        self.closed = asyncio.Event()  # the process ends: what would be open for ever ends by itself

    def add(self, connection: Connection) -> None:
        """Takes a connection in.

        Raises:
            TooManyConnections: this user has as many as one may have; the new one goes.
        """
        mine = self._connections.setdefault(connection.user_id, {})
        if len(mine) >= self._per_user:
            raise TooManyConnections(f"a user has at most {self._per_user} connections at once")
        mine[connection.connection_id] = connection
        self._count += 1

    def remove(self, connection: Connection) -> None:
        """Lets a connection go."""
        mine = self._connections.get(connection.user_id, {})
        if mine.pop(connection.connection_id, None) is not None:
            self._count -= 1
        if not mine:
            self._connections.pop(connection.user_id, None)

    @contextlib.contextmanager
    def stream(self, user_id: str) -> Generator[None]:
        """Counts one of a user's event streams, which are as many as sockets may be.

        Raises:
            Flood: there are as many as there may be.
        """
        if self._streams[user_id] >= self._per_user:
            raise Flood(f"a user has at most {self._per_user} event streams at once")
        self._streams[user_id] += 1
        try:
            yield
        finally:
            self._streams[user_id] -= 1
            if not self._streams[user_id]:
                del self._streams[user_id]

    @contextlib.contextmanager
    def held(self, user_id: str, limit: int) -> Generator[None]:
        """Counts one of a user's requests that are answered when a run is over.

        Raises:
            Flood: `limit` of them wait already.
        """
        if self._held[user_id] >= limit:
            raise Flood(f"{limit} of your requests wait for their runs already")
        self._held[user_id] += 1
        try:
            yield
        finally:
            self._held[user_id] -= 1
            if not self._held[user_id]:
                del self._held[user_id]

    @property
    def streams(self) -> int:
        """How many event streams are open."""
        return self._streams.total()

    def close_session(self, session_id: str, code: int = 4401) -> None:
        """Closes the sockets of a login that has ended."""
        for connection in self.all():
            if connection.session_id == session_id:
                connection.close(code)

    def close_all(self, code: int) -> None:
        """Closes every socket, as the process ends."""
        self.closed.set()
        for connection in self.all():
            connection.close(code)

    def sessions(self) -> frozenset[str]:
        """The logins that have a socket here."""
        return frozenset(connection.session_id for connection in self.all())

    def all(self) -> tuple[Connection, ...]:
        """Every connection."""
        return tuple(connection for mine in self._connections.values() for connection in mine.values())

    def __len__(self) -> int:
        return self._count
