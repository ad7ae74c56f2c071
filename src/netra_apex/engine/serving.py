"""The tools of MCP servers, as an agent of a run is offered them, and the calls that go there."""

from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.permissions import allows
from netra_apex.core.scope import RunScope
from netra_apex.engine.lent import Lent
from netra_apex.errors import CallFailed
from netra_apex.tools import Tool
from netra_apex.tools.mcp import Asks, Listed, MCPServer, Servers, server_tools, unusable

log = structlog.get_logger()


async def tools_of(scope: RunScope, lent: Lent, named: MCPServer | str) -> tuple[Tool[..., Any], ...]:
    """The tools of a server, as far as the agent declares them; none, where its user may not use it.

    They are listed once in a run, and the list is kept in its journal: a run that is taken up offers what it has
    offered, whether the server is there or not. A server that cannot list them is told to the model, as a tool that
    says why.
    """
    server = lent.servers.named(named)
    if server.name not in lent.served:
        lent.served[server.name] = await _listed(scope, lent.servers, server)
    return lent.served[server.name]


async def _listed(scope: RunScope, servers: Servers, server: MCPServer) -> tuple[Tool[..., Any], ...]:
    if not allows(scope.context.permissions, server.requires):
        return ()

    async def ask() -> dict[str, Any]:
        try:
            listed = await servers.listed(scope.context, server)
        except CallFailed as error:
            log.warning("an MCP server cannot list its tools", server=server.name, error=error.message, **_whose(scope))
            return {"failed": error.message}
        return {"tools": msgspec.to_builtins(listed)}

    kept = await scope.step(f"mcp {server.name}", ask)
    if "failed" in kept:
        return (unusable(server, kept["failed"]),)
    listed = msgspec.convert(kept["tools"], list[Listed])
    # Chosen from here, as two agents of a run may declare different tools of one server.
    return server_tools(server, [each for each in listed if server.tools is None or each.name in server.tools])


async def reach(
    servers: Servers, context: UserExecutionContext, server: MCPServer, tool: str, arguments: Mapping[str, Any]
) -> Any:
    """Calls a server's tool for this user.

    Raises:
        CallFailed: it failed, and why.
    """
    if server.tools is not None and tool not in server.tools:
        raise CallFailed("error", f"{tool} is none of the tools of {server.name} that this agent declares")
    came = await servers.call(context, servers.named(server), tool, arguments)
    if isinstance(came, Asks):
        asked = " ".join(question.text for question in came.questions)
        raise CallFailed("error", f"{server.name} asks its user, who cannot be asked here: {asked}")
    return came


def _whose(scope: RunScope) -> dict[str, str]:
    return {"run_id": scope.context.run_id, "user_id": scope.context.user_id}
