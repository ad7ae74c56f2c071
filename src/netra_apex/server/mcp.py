"""Routes of MCP servers and of the credentials that users bring for them: `/api/mcp`."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import PlainTextResponse, Response

from netra_apex.core.permissions import allows
from netra_apex.errors import Invalid, NotFound
from netra_apex.providers.mcp_authorizing import McpAuthorizing
from netra_apex.server.auth import Principal
from netra_apex.server.callers import SECURITY, Caller, Running
from netra_apex.server.problems import responses
from netra_apex.server.services import Services
from netra_apex.server.shapes import McpAuthorization, McpCredential, McpServers, McpServerShape
from netra_apex.tools.mcp import MCPServer

router = APIRouter(prefix="/api/mcp", tags=["mcp"], dependencies=SECURITY)

# Together within what a request's line may have, whatever characters they are of.
Part = Annotated[str, Query(max_length=512)]
Code = Annotated[str, Query(max_length=2048)]


@router.get("/servers", operation_id="list_mcp_servers", responses=responses(401))
async def list_servers(principal: Caller, services: Running) -> McpServers:
    """The MCP servers that this user may use, and whether he has given a credential where one is needed."""
    servers = services.runtime.servers
    mine = [server for server in servers.servers if allows(principal.permissions, server.requires)]
    return McpServers(
        items=[
            McpServerShape(
                name=server.name,
                credential=server.credential,
                connected=server.credential == "none" or await servers.connected(principal.user_id, server),
            )
            for server in mine
        ]
    )


@router.put(
    "/servers/{name}/credential",
    operation_id="put_mcp_credential",
    status_code=204,
    response_class=Response,
    responses=responses(401, 403, 404, 413, 422),
)
async def put_credential(name: str, body: McpCredential, principal: Caller, services: Running) -> Response:
    """Keeps this user's credential for a server, sealed, in the place of what he gave before; it is told to nobody."""
    await services.runtime.servers.connect(principal.user_id, _server(services, principal, name), body.token)
    return Response(status_code=204)


@router.delete(
    "/servers/{name}/credential",
    operation_id="delete_mcp_credential",
    status_code=204,
    response_class=Response,
    responses=responses(401, 403, 404, 422),
)
async def delete_credential(name: str, principal: Caller, services: Running) -> Response:
    """Forgets this user's credential for a server."""
    if not await services.runtime.servers.disconnect(principal.user_id, _server(services, principal, name)):
        raise NotFound("credential for MCP server", name)
    return Response(status_code=204)


@router.post(
    "/servers/{name}/authorize", operation_id="authorize_mcp_server", responses=responses(401, 403, 404, 422, 503)
)
async def authorize(name: str, request: Request, principal: Caller, services: Running) -> McpAuthorization:
    """Begins to authorise this application with a server, where it asks for OAuth: this user's browser goes there."""
    server = _server(services, principal, name)
    if server.url is None:
        raise Invalid(f"MCP server {name} is a command, which takes a token and no OAuth")
    back = str(request.url_for("mcp_callback"))
    return McpAuthorization(authorization_url=await _authorizing(services).begin(principal.user_id, server, back))


@router.get(
    "/callback",
    name="mcp_callback",
    operation_id="mcp_callback",
    response_class=PlainTextResponse,
    responses=responses(401, 404, 422, 503),
)
async def callback(
    principal: Caller,
    services: Running,
    state: Part,
    code: Code | None = None,
    iss: Part | None = None,
) -> PlainTextResponse:
    """Where the browser comes back to, once, with the login of the user who began."""
    server = await _authorizing(services).end(principal.user_id, state, code, iss)
    return PlainTextResponse(f"{server.name} is connected. You may close this page.")


def _authorizing(services: Services) -> McpAuthorizing:
    authorizing = services.runtime.servers.authorizing
    if authorizing is None:
        raise NotFound("authorisation", "under way with this state")
    return authorizing


def _server(services: Services, principal: Principal, name: str) -> MCPServer:
    for server in services.runtime.servers.servers:
        if server.name == name and allows(principal.permissions, server.requires):
            if server.credential == "none":
                raise Invalid(f"MCP server {name} takes no credential of a user's")
            return server
    raise NotFound("MCP server", name)
