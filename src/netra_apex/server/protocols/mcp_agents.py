"""Agents as MCP tools: the route at which this server is an MCP server (what it uses as a client is in `providers`)."""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import (
    CallToolRequestParams,
    ListToolsResult,
    PaginatedRequestParams,
    Tool,
)
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from netra_apex.agents import AgentRegistry, BaseAgent, ChatAgent
from netra_apex.agents.base import description_of
from netra_apex.core.conversations import MAX_CONTENT
from netra_apex.server.auth import Principal
from netra_apex.server.callers import SECURITY, Caller, Running
from netra_apex.server.protocols.mcp_calls import Answer, Call, Context
from netra_apex.server.services import Services
from netra_apex.server.turns import give_turn_back
from netra_apex.tools.validation import adapter_of

PATH = "/mcp"
FRESH_MS = 60_000  # how long a client may go by the list of tools
_TASK = {
    "type": "object",
    "properties": {"task": {"type": "string", "description": "What is to be done", "maxLength": MAX_CONTENT}},
    "required": ["task"],
    "additionalProperties": False,
}

router = APIRouter(dependencies=SECURITY)


@router.post(PATH, include_in_schema=False)
async def mcp(request: Request, principal: Caller, services: Running) -> Response:
    """One message of MCP, of revision 2026-07-28, or of a client of one before, whose sessions are not kept."""
    return _Exchange(services, principal, await request.body(), request.headers.get("idempotency-key"))


class _Exchange(Response):
    """One request, in a server of its own that is bound to its caller: nothing of it is anybody else's (G6)."""

    def __init__(self, services: Services, principal: Principal, asked: bytes, key: str | None) -> None:
        super().__init__()
        self._services = services
        self._principal = principal
        self._asked = asked
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers it, as JSON or as a stream."""
        unread = [self._asked]

        async def receiving() -> Message:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            return await receive()

        server = self._server(scope)
        # Its limit of bodies is the application's own, which has been kept already.
        limit = self._services.runtime.settings.body_bytes
        manager = StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=limit)
        async with manager.run():
            await manager.handle_request(scope, receiving, send)

    def _server(self, scope: Scope) -> Server[Any]:
        services, principal = self._services, self._principal

        async def list_tools(_: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
            registry = services.runtime.registry
            tools = [_tool(registry, name) for name, _ in registry.describe(principal.permissions)]
            return ListToolsResult(tools=tools, ttl_ms=FRESH_MS, cache_scope="private")

        async def call_tool(context: Context, params: CallToolRequestParams) -> Answer:
            give_turn_back(scope)
            return await Call(services, principal, self._key).make(context, params)

        return Server("netra-apex", version=version("netra-apex"), on_list_tools=list_tools, on_call_tool=call_tool)


def _tool(registry: AgentRegistry, name: str) -> Tool:
    agent = registry.get(name)
    schema = _TASK if agent.input_type is None else adapter_of(agent.input_type).json_schema()
    return Tool(
        name=name, description=description_of(agent) or None, input_schema=schema, output_schema=_output_schema(agent)
    )


def _output_schema(agent: type[BaseAgent]) -> dict[str, Any] | None:
    """That of an output that is an object, which is all that an MCP client is told the form of."""
    declared = agent.output_type if issubclass(agent, ChatAgent) else None
    schema = None if declared is None else adapter_of(declared).json_schema(mode="serialization")
    return schema if schema is not None and schema.get("type") == "object" else None
