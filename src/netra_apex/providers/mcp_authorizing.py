"""`McpAuthorizing`: users on their way to an authorisation server and back."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import structlog

from netra_apex.errors import Invalid, NotFound, Unavailable
from netra_apex.providers.mcp_credentials import Grant
from netra_apex.tools.mcp import MCPServer

Answer = tuple[str, str, str | None]
"""What an authorisation server sends a user back with: the code, the state, and who it is (`iss`)."""

PENDING_SECONDS = 600.0  # so long a user may take to say yes there
ANSWER_SECONDS = 30.0  # so long the servers may take before and after that
PENDING = 1000  # users on their way at once

log = structlog.get_logger(__name__)


class Flow(Protocol):
    """Carries out an authorisation, in which a user is sent away once and comes back."""

    def __call__(
        self,
        server: MCPServer,
        redirect: str,
        redirected: Callable[[str], Awaitable[None]],
        answered: Callable[[], Awaitable[Answer]],
    ) -> Awaitable[Grant]: ...


@dataclass(eq=False, slots=True)
class _Way:
    """One user's way there and back."""

    user_id: str
    server: MCPServer
    url: "asyncio.Future[str]"
    answer: "asyncio.Future[Answer]"


class McpAuthorizing:
    """Begins authorisations, and ends each with who began it: the state that comes back is good once, for its user.

    They are in this process alone: a user must come back to the process that has sent him away.
    """

    def __init__(self, flow: Flow, keep: Callable[[str, MCPServer, Grant], Awaitable[None]]) -> None:
        self._flow = flow
        self._keep = keep
        self._ways: dict[asyncio.Task[None], _Way] = {}

    async def begin(self, user_id: str, server: MCPServer, redirect: str) -> str:
        """Where this user is to go. An authorisation of his that was begun before for this server is void.

        Raises:
            Unavailable: the server asks for no authorisation, or does not do what it should.
        """
        for task, way in self._ways.items():
            if (way.user_id, way.server.name) == (user_id, server.name):
                task.cancel()
        if len(self._ways) >= PENDING:
            raise Unavailable("too many users are being authorised at once")
        loop = asyncio.get_running_loop()
        way = _Way(user_id, server, loop.create_future(), loop.create_future())
        task = loop.create_task(self._go(way, redirect))
        self._ways[task] = way
        task.add_done_callback(self._ended)
        await asyncio.wait({task, way.url}, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not way.url.done():
            task.cancel()
            raise _failed(server, task)
        return way.url.result()

    async def end(self, user_id: str, state: str, code: str | None, issuer: str | None) -> MCPServer:
        """The user is back: what he was granted is kept.

        Raises:
            NotFound: nobody was sent away with this state, or somebody else was.
            Invalid: he comes without a code: he, or the server, has said no.
            Unavailable: the server does not take the code.
        """
        found = next((task for task, way in self._ways.items() if _is_of(way, user_id, state)), None)
        if found is None:
            raise NotFound("authorisation", "under way with this state")
        way = self._ways[found]
        if code is None:
            found.cancel()
            raise Invalid(f"{way.server.name} was not authorised")
        way.answer.set_result((code, state, issuer))
        await asyncio.wait({found}, timeout=ANSWER_SECONDS)
        if not found.done() or found.cancelled() or found.exception() is not None:
            found.cancel()
            raise _failed(way.server, found)
        return way.server

    async def aclose(self) -> None:
        """Nobody is waited for any more."""
        for task in self._ways:
            task.cancel()
        if self._ways:
            await asyncio.wait(tuple(self._ways), timeout=1.0)

    async def _go(self, way: _Way, redirect: str) -> None:
        async def redirected(url: str) -> None:
            way.url.set_result(url)

        async with asyncio.timeout(PENDING_SECONDS):
            grant = await self._flow(way.server, redirect, redirected, partial(asyncio.shield, way.answer))
        await self._keep(way.user_id, way.server, grant)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        way = self._ways.pop(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # By its kind alone: what a server says of a code or a token is nobody's to read.
            log.warning(
                "an authorisation failed", server=way.server.name, user_id=way.user_id, error=type(error).__name__
            )


def _is_of(way: _Way, user_id: str, state: str) -> bool:
    if way.user_id != user_id or way.answer.done() or not way.url.done():
        return False
    return parse_qs(urlsplit(way.url.result()).query).get("state") == [state]


def _failed(server: MCPServer, task: "asyncio.Task[None]") -> Unavailable:
    error = None if not task.done() or task.cancelled() else task.exception()
    if isinstance(error, Unavailable):
        return error
    kind = "it did not answer in time" if error is None else type(error).__name__
    return Unavailable(f"{server.name} could not be authorised: {kind}")
