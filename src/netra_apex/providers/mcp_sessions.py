"""`McpSessions`: who talks to MCP servers, in sessions that are one user's each (port: `tools.mcp.Servers`)."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, cast

import structlog

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.ports import Credentials
from netra_apex.errors import CallFailed, ConfigurationError
from netra_apex.providers.mcp_authorizing import Flow, McpAuthorizing
from netra_apex.providers.mcp_credentials import Credential, Grant, identity, kept, read
from netra_apex.providers.mcp_results import Lost, without
from netra_apex.tools.mcp import Answers, Listed, MCPServer

Key = tuple[str, tuple[Any, ...], str]

LISTS = 1000  # lists of tools that are remembered
LIST_SECONDS = 300.0  # for so long, where the server does not say
CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 8.0  # a command has 2 s to end by itself, and 2 s more once it was asked to

log = structlog.get_logger(__name__)


class Session(Protocol):
    """One connection, which its own task opens and closes."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be told of its credential."""
        ...

    @property
    def refused(self) -> bool:
        """Whether the server has answered that the credential is none."""
        ...

    async def own(self, opened: "asyncio.Future[None]", seconds: float) -> None: ...

    def close(self) -> None: ...

    async def list(self) -> tuple[tuple[Listed, ...], float]: ...

    async def call(self, tool: str, arguments: Mapping[str, Any], answers: Answers | None) -> Any: ...


class Connect(Protocol):
    """Makes a session; it is not open yet."""

    def __call__(
        self,
        server: MCPServer,
        credential: Credential | None,
        changed: Callable[[], None],
        keep: Callable[[Grant], Awaitable[None]],
    ) -> Session: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How many sessions there may be at once, and for how many seconds one is kept that no run uses."""

    per_user: int
    per_process: int
    idle_seconds: float


@dataclass(eq=False, slots=True)
class _Held:
    """An open session, and the runs that use it. `broken`: nobody else is given it."""

    key: Key
    session: Session
    opened: "asyncio.Future[None]"
    runs: set[str] = field(default_factory=set[str])
    broken: bool = False
    idle: asyncio.TimerHandle | None = None


class McpSessions:
    """Sessions by (user, server, credential), each owned by one task; nobody else is ever given one (G5).

    A session is opened when it is first used, and belongs to the runs that use it. After the last of them it is kept
    for a while, unless others need its place. One that breaks is given to nobody any more, and the next call opens
    another. Belongs to one event loop.
    """

    def __init__(
        self,
        servers: Mapping[str, MCPServer],
        credentials: Credentials,
        limits: Limits,
        connect: Connect | None = None,
        authorize: Flow | None = None,
    ) -> None:
        self._servers = servers
        self._credentials = credentials
        self._limits = limits
        self._connect = connect
        self.authorizing = None if authorize is None else McpAuthorizing(authorize, self.granted)
        self._held: dict[Key, _Held] = {}
        self._tasks: dict[asyncio.Task[None], _Held] = {}
        self._lists: OrderedDict[Key, tuple[tuple[Listed, ...], float]] = OrderedDict()

    @property
    def servers(self) -> tuple[MCPServer, ...]:
        """All that there are."""
        return tuple(self._servers.values())

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values of their declarations that must not be told."""
        return tuple(secret for server in self.servers for secret in server.secrets)

    @property
    def open_sessions(self) -> int:
        """How many there are, those that are being closed included."""
        return len(self._tasks)

    def named(self, server: MCPServer | str) -> MCPServer:
        """See `Servers.named`."""
        name = server if isinstance(server, str) else server.name
        known = self._servers.get(name)
        if known is None or (isinstance(server, MCPServer) and known.way != server.way):
            raise ConfigurationError(
                f"MCP server {name!r} is none of its agents' mcp_servers, nor of NETRA_MCP_SERVERS"
            )
        return known if isinstance(server, str) else server

    async def listed(self, context: UserExecutionContext, server: MCPServer) -> tuple[Listed, ...]:
        """See `Servers.listed`."""
        credential = await self._credential(context, server)
        key = _key(context.user_id, server, credential)
        known = self._lists.get(key)
        if known is not None and known[1] > _now():
            return known[0]
        held = await self._session(key, server, credential, context)
        try:
            tools, seconds = await held.session.list()
        except Lost as error:
            raise self._lost(held, server, error) from error
        if not held.broken:
            self._lists[key] = (tools, _now() + (seconds or LIST_SECONDS))
            while len(self._lists) > LISTS:
                self._lists.popitem(last=False)
        return tools

    async def call(
        self,
        context: UserExecutionContext,
        server: MCPServer,
        tool: str,
        arguments: Mapping[str, Any],
        answers: Answers | None = None,
    ) -> Any:
        """See `Servers.call`. A call that a lost connection cut off is made again where it is idempotent, once."""
        credential = await self._credential(context, server)
        key = _key(context.user_id, server, credential)
        again = tool in server.idempotent
        while True:
            held = await self._session(key, server, credential, context)
            try:
                return await held.session.call(tool, arguments, answers)
            except Lost as error:
                failed = self._lost(held, server, error)
                if not again or held.session.refused:
                    raise failed from error
                again = False

    def left(self, run_id: str) -> None:
        """See `Servers.left`."""
        for held in [each for each in self._held.values() if run_id in each.runs]:
            held.runs.discard(run_id)
            if not held.runs:
                loop = asyncio.get_running_loop()
                held.idle = loop.call_later(self._limits.idle_seconds, self._discard, held)

    async def connected(self, user_id: str, server: MCPServer) -> bool:
        """Whether there is a credential of this user's for this server."""
        return await self._credentials.get(user_id, server.name, server.place) is not None

    async def connect(self, user_id: str, server: MCPServer, credential: str) -> None:
        """Keeps the token that this user brings for this server."""
        await self._credentials.put(user_id, server.name, server.place, kept(credential))
        self._forget(user_id, server)

    async def granted(self, user_id: str, server: MCPServer, grant: Grant) -> None:
        """Keeps what this user was granted by this server, in the place of what he had."""
        await self.keep(user_id, server, grant)
        self._forget(user_id, server)

    async def keep(self, user_id: str, server: MCPServer, grant: Grant) -> None:
        """Keeps a grant that has renewed itself."""
        await self._credentials.put(user_id, server.name, server.place, kept(grant))

    async def disconnect(self, user_id: str, server: MCPServer) -> bool:
        """Forgets it; False where there was none."""
        known = await self._credentials.delete(user_id, server.name)
        self._forget(user_id, server)
        return known

    async def aclose(self) -> None:
        """Closes all of them; waits only so long for a server that will not."""
        if self.authorizing is not None:
            await self.authorizing.aclose()
        for held in list(self._held.values()):
            self._discard(held)
        if self._tasks:
            _, left = await asyncio.wait(tuple(self._tasks), timeout=CLOSE_SECONDS)
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=1.0)

    async def _credential(self, context: UserExecutionContext, server: MCPServer) -> Credential | None:
        if server.credential == "none":
            return None
        credential = await self._credentials.get(context.user_id, server.name, server.place)
        if credential is None:
            raise CallFailed("error", f"connect {server.name} first: {_route(server)}")
        return read(credential)

    async def _session(
        self, key: Key, server: MCPServer, credential: Credential | None, context: UserExecutionContext
    ) -> _Held:
        held = self._held.get(key)
        if held is None:
            self._make_room(context.user_id)
            held = self._open(key, server, credential)
        held.runs.add(context.run_id)
        if held.idle is not None:
            held.idle.cancel()
            held.idle = None
        try:
            # Shielded: it is opened for others too, who may still wait when this caller is cancelled.
            await asyncio.shield(held.opened)
        except Lost as error:
            raise self._lost(held, server, error) from error
        return held

    def _open(self, key: Key, server: MCPServer, credential: Credential | None) -> _Held:
        loop = asyncio.get_running_loop()
        assert self._connect is not None  # there are no servers without it
        session = self._connect(server, credential, partial(self._changed, key), partial(self.keep, key[0], server))
        held = _Held(key, session, loop.create_future())
        self._held[key] = held
        seconds = min(CONNECT_SECONDS, server.timeout or CONNECT_SECONDS)
        task = loop.create_task(session.own(held.opened, seconds))
        self._tasks[task] = held
        task.add_done_callback(self._ended)
        return held

    def _forget(self, user_id: str, server: MCPServer) -> None:
        """Closes what was opened with a credential that is another one now, or gone; other processes do so in time."""
        for held in [each for each in self._held.values() if each.key[:2] == (user_id, server.way)]:
            self._discard(held)
        for key in [each for each in self._lists if each[:2] == (user_id, server.way)]:
            del self._lists[key]

    def _changed(self, key: Key) -> None:
        self._lists.pop(key, None)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """The session is closed: as it should be, or by what broke it, which whoever waits for it is told."""
        held = self._tasks.pop(task)
        self._discard(held)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.info("an MCP session broke", server=held.key[1][0], user_id=held.key[0], error=_said(error, held))
        if not held.opened.done():
            held.opened.set_exception(Lost("it was closed" if error is None else _said(error, held)))
            held.opened.exception()  # nobody may be waiting any more

    def _discard(self, held: _Held) -> None:
        held.broken = True
        if held.idle is not None:
            held.idle.cancel()
        if self._held.get(held.key) is held:
            del self._held[held.key]
        held.session.close()

    def _lost(self, held: _Held, server: MCPServer, error: Lost) -> CallFailed:
        self._discard(held)
        if held.session.refused:
            self._lists.pop(held.key, None)
            return CallFailed("error", f"{server.name} wants another credential: connect it again: {_route(server)}")
        return CallFailed("error", f"the connection to {server.name} was lost: {error}")

    def _make_room(self, user_id: str) -> None:
        """Closes sessions that no run uses, the oldest first, where there are as many as there may be.

        Raises:
            CallFailed: all are in use.
        """
        for limit, whose in ((self._limits.per_user, user_id), (self._limits.per_process, None)):
            held = [each for each in self._held.values() if whose is None or each.key[0] == whose]
            if len(held) < limit:
                continue
            idle = next((each for each in held if not each.runs), None)
            if idle is None:
                who = "the server" if whose is None else "this user"
                raise CallFailed("error", f"{who} has {limit} sessions with MCP servers already, all in use")
            self._discard(idle)


def _key(user_id: str, server: MCPServer, credential: Credential | None) -> Key:
    return (user_id, server.way, identity(credential))


def _route(server: MCPServer) -> str:
    ways = f"PUT /api/mcp/servers/{server.name}/credential"
    return ways if server.url is None else f"{ways}, or POST /api/mcp/servers/{server.name}/authorize"


def _said(error: BaseException, held: _Held) -> str:
    """What went wrong, in a few words; of what broke together, the first."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    said = str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        said = "it did not answer in time"
    return str(without(said, held.session.secrets))


def _now() -> float:
    return asyncio.get_running_loop().time()
