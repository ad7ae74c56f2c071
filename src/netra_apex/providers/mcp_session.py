"""`McpSession`: one connection to one MCP server, with one user's credential. Imports `mcp`, which takes 0.7 s."""

import asyncio
import contextlib
import contextvars
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import AsyncExitStack
from typing import Any, NoReturn

import anyio
import httpx2
import mcp_types as types
import structlog
from mcp.client.client import Client
from mcp.client.session import ClientRequestContext, IncomingMessage
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from netra_apex.errors import CallFailed
from netra_apex.providers.mcp_credentials import Credential, Grant, secrets_of
from netra_apex.providers.mcp_oauth import UserGrant
from netra_apex.providers.mcp_results import Lost, plain, without
from netra_apex.tools.mcp import Answers, Asks, Listed, MCPServer, Question

_PAGES = 50  # of a list of tools: one that never ends must not hang a run
_ROUNDS = 10  # in which a server may say that it needs a moment, before its answer
_PAUSE_SECONDS = 0.25
# What a server may answer while the connection is in order: no such method, wrong arguments, or an error of its own.
_CONNECTION_CODES = (types.CONNECTION_CLOSED, types.REQUEST_TIMEOUT, types.INTERNAL_ERROR, types.INVALID_REQUEST)
_BROKEN = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream)

log = structlog.get_logger(__name__)


class McpSession:
    """A connection that one task opens, keeps and closes: `own`. Others ask by it meanwhile.

    Why one task: what `mcp` opens must be closed by who opened it. `changed` is called when the server says that its
    tools are others now.
    """

    def __init__(
        self,
        server: MCPServer,
        credential: Credential | None,
        changed: Callable[[], None],
        keep: Callable[[Grant], Awaitable[None]],
    ) -> None:
        self._server = server
        self._credential = credential
        self._changed = changed
        self._keep = keep
        self._closing = asyncio.Event()
        self._client: Client | None = None
        self._declined: list[str] = []
        self.refused = False  # the server has answered that this credential is none

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be told of its credential."""
        return secrets_of(self._credential)

    async def own(self, opened: "asyncio.Future[None]", seconds: float) -> None:
        """Connects within `seconds`, resolves `opened`, and stays until it is closed."""
        async with AsyncExitStack() as stack:
            # Not a cancel scope of anyio's: those must be left in the order in which they were entered.
            async with asyncio.timeout(seconds):
                transport = _command(self._server, self._credential) if self._server.command else self._http()
                self._client = await stack.enter_async_context(self._made(transport))
            opened.set_result(None)
            async with asyncio.TaskGroup() as group:
                # Not in the trace of the run that happens to be the session's first.
                listening = group.create_task(self._listen(self._client), context=contextvars.Context())
                await self._closing.wait()
                listening.cancel()

    def close(self) -> None:
        """Has its task close it."""
        self._closing.set()

    async def list(self) -> tuple[tuple[Listed, ...], float]:
        """The server's tools, and for how many seconds it says that they stay so (0: it does not say).

        Raises:
            Lost: the connection is.
            CallFailed: the server answers with an error.
        """
        found: list[Listed] = []
        cursor: str | None = None
        seconds = 0.0
        with self._failing():
            for _ in range(_PAGES):
                page = await self._open.list_tools(cursor=cursor, cache_mode="bypass")
                found += [_listed(each) for each in page.tools]
                cursor, seconds = page.next_cursor, page.ttl_ms / 1000
                if cursor is None:
                    break
        return tuple(found), seconds

    async def call(self, tool: str, arguments: Mapping[str, Any], answers: Answers | None) -> Any:
        """Calls a tool: its result, or `Asks`.

        Raises:
            Lost: the connection is, and nobody knows what the call has done.
            CallFailed: the server answers with an error.
        """
        said = _responses(answers)
        state = None if answers is None else answers.state
        with self._failing():
            for _ in range(_ROUNDS):
                came = await self._open.session.call_tool(
                    tool, dict(arguments), input_responses=said, request_state=state, allow_input_required=True
                )
                if isinstance(came, types.CallToolResult):
                    return self._result(came)
                if came.input_requests:
                    return self._asks(came)
                said, state = None, came.request_state
                await asyncio.sleep(_PAUSE_SECONDS)
        raise CallFailed("error", f"{self._server.name} did not come to an answer")

    def _result(self, came: types.CallToolResult) -> Any:
        result = without(plain(came), self.secrets)
        if not came.is_error:
            return result
        declined, self._declined = self._declined, []
        asked = f" It had asked its user, which a running call cannot: {' '.join(declined)}" if declined else ""
        raise CallFailed("error", f"{result}{asked}")

    def _asks(self, came: types.InputRequiredResult) -> Asks:
        questions: list[Question] = []
        for key, asked in (came.input_requests or {}).items():
            form = asked.params
            if not isinstance(form, types.ElicitRequestFormParams):
                raise CallFailed("error", f"{self._server.name} asks for what cannot be given here: {asked.method}")
            schema = without(form.requested_schema, self.secrets)
            questions.append(Question(key, str(without(form.message, self.secrets)), schema))
        # The state goes back byte by byte, and to nobody else.
        return Asks(tuple(questions), came.request_state)

    @property
    def _open(self) -> Client:
        if self._client is None or self._closing.is_set():
            raise Lost("it is closed")
        return self._client

    @contextlib.contextmanager
    def _failing(self) -> Generator[None]:
        """Tells what a server has refused from a connection that is lost."""
        try:
            yield
        except MCPError as error:
            if error.code in _CONNECTION_CODES:
                raise Lost(str(without(error.message, self.secrets))) from error
            raise CallFailed("error", f"{self._server.name}: {without(error.message, self.secrets)}") from None
        except _BROKEN as error:
            raise Lost("the connection was closed") from error
        except (ValidationError, RuntimeError) as error:
            said = str(without(str(error), self.secrets))
            raise CallFailed("error", f"{self._server.name} does not keep to the protocol: {said}") from None

    def _made(self, transport: Any) -> Client:
        return Client(
            transport,
            elicitation_callback=self._decline,
            message_handler=self._heard,
            cache=None,
        )

    async def _decline(self, context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        """A question in the middle of a call of the older protocol, which cannot outlive this process: no."""
        del context
        self._declined.append(str(without(params.message, self.secrets)))
        return types.ElicitResult(action="decline")

    async def _heard(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._changed()

    async def _listen(self, client: Client) -> None:
        """Hears of changes where the server tells them only to who listens."""
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or tools is None or not tools.list_changed:
            return
        try:
            async with client.listen(tools_list_changed=True) as heard:
                async for _ in heard:
                    self._changed()
        except (MCPError, SubscriptionLost):
            return  # the list is asked for anew when it has become old

    async def _renewed(self, grant: Grant) -> None:
        self._credential = grant
        await self._keep(grant)

    async def _sent_away(self, url: str) -> None:
        """The grant is none any more, and nobody is here to be sent to the server that gives another."""
        del url
        self.refused = True
        raise Lost("it wants to be authorised again")

    async def _come_back(self) -> NoReturn:
        raise AssertionError("nobody was sent away")

    @contextlib.asynccontextmanager
    async def _http(self) -> AsyncGenerator[Any]:
        server = self._server
        headers, auth = dict(server.headers), None
        if isinstance(self._credential, Grant):
            auth = UserGrant(server, self._credential, self._renewed, self._sent_away, self._come_back)
        elif self._credential is not None:
            headers |= _header(server, self._credential)

        async def look(response: httpx2.Response) -> None:
            self.refused = self.refused or response.status_code == 401

        # Its calls are bounded by who makes them, and a stream may be silent for long.
        time = httpx2.Timeout(30.0, read=None)
        async with (
            httpx2.AsyncClient(headers=headers, auth=auth, timeout=time, event_hooks={"response": [look]}) as http,
            streamable_http_client(str(server.url), http_client=http) as streams,
        ):
            yield streams


@contextlib.asynccontextmanager
async def _command(server: MCPServer, credential: Credential | None) -> AsyncGenerator[Any]:
    """A process of its own, in a session of its own, without this process's environment: PATH, HOME and who one is."""
    env = dict(server.env)
    if isinstance(credential, str) and server.credential_name is not None:
        env[server.credential_name] = credential
    command, *args = server.command
    parameters = StdioServerParameters(command=command, args=args, env=env)
    # What it says on stderr may be any user's, and nobody's log is the place for it.
    with open(os.devnull, "w") as nowhere:  # noqa: ASYNC230, PTH123 - no file
        async with stdio_client(parameters, errlog=nowhere) as streams:
            yield streams


def _listed(tool: types.Tool) -> Listed:
    return Listed(tool.name, tool.description or tool.title or "", tool.input_schema)


def _header(server: MCPServer, credential: str) -> dict[str, str]:
    if server.credential_name in (None, "Authorization"):
        return {"Authorization": f"Bearer {credential}"}
    return {str(server.credential_name): credential}


def _responses(answers: Answers | None) -> dict[str, Any] | None:
    if answers is None or not answers.given:
        return None
    return {
        key: types.ElicitResult(action="decline" if said is None else "accept", content=said)
        for key, said in answers.given.items()
    }
