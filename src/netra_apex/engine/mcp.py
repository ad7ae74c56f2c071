"""The tools of MCP servers, as an agent of a run is offered them, and the calls that go there."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import structlog

from netra_apex.core.journal import note
from netra_apex.core.permissions import allows
from netra_apex.core.scope import RunScope
from netra_apex.engine.lent import Lent
from netra_apex.engine.mcp_questions import answered
from netra_apex.errors import CallFailed, ToolOutcomeUnknown
from netra_apex.tools import Tool, ask_user
from netra_apex.tools.mcp import Answers, Asks, Listed, MCPServer, Servers, server_tools, unusable

_LEGS = 5  # how often a call may come back with questions

log = structlog.get_logger()


async def tools_of(scope: RunScope, lent: Lent, named: MCPServer | str) -> tuple[Tool[..., Any], ...]:
    """The tools of a server, as far as the agent declares them; none, where its user may not use it.

    They are listed once in a run, and the list is kept in its journal: a run that is taken up offers what it has
    offered, whether the server is there or not. A server that cannot list them is told to the model, as a tool that
    says why.
    """
    server = lent.servers.named(named)
    if not allows(scope.context.permissions, server.requires):
        return ()
    # Each time, as a step has its place: which of two requests side by side is first may differ.
    kept = await scope.step(f"mcp {server.name}", partial(_list, scope, lent.servers, server))
    if server.name not in lent.served:
        lent.served[server.name] = _made(server, kept)
    return lent.served[server.name]


async def _list(scope: RunScope, servers: Servers, server: MCPServer) -> dict[str, Any]:
    try:
        listed = await servers.listed(scope.context, server)
    except CallFailed as error:
        log.warning("an MCP server cannot list its tools", server=server.name, error=error.message, **_whose(scope))
        return {"failed": error.message}
    return {"tools": msgspec.to_builtins(listed)}


def _made(server: MCPServer, kept: dict[str, Any]) -> tuple[Tool[..., Any], ...]:
    if "failed" in kept:
        return (unusable(server, kept["failed"]),)
    listed = msgspec.convert(kept["tools"], list[Listed])
    # Chosen from here, as two agents of a run may declare different tools of one server.
    return server_tools(server, [each for each in listed if server.tools is None or each.name in server.tools])


@dataclass(frozen=True, slots=True)
class Reached:
    """A call on its way to a server: where it stands in the journal, and whether it was begun in another process."""

    key: str
    call_id: str
    again: bool


async def reach(
    scope: RunScope, lent: Lent, call: Reached, asked: tuple[MCPServer, str], arguments: Mapping[str, Any]
) -> Any:
    """Calls a server's tool for this scope's user, who is asked what the server asks.

    The server keeps nothing meanwhile: what it asks comes with a state, and the call is made again with both. What was
    asked is in the journal, so that a run that has waited goes on from there. What was sent, and not seen to end, is
    not sent again unless the tool is idempotent.

    Raises:
        CallFailed: it failed, and why.
    """
    declared, tool = asked
    if declared.tools is not None and tool not in declared.tools:
        raise CallFailed("error", f"{tool} is none of the tools of {declared.name} that this agent declares")
    server = lent.servers.named(declared)
    answers: Answers | None = None
    for leg in range(1, _LEGS + 1):
        asks = _taken(lent, call, f"asks{leg}")
        if asks is None:
            sent = call.again if leg == 1 else _taken(lent, call, f"sent{leg}") is not None
            if sent and tool not in server.idempotent:
                raise _unknown(lent, call, server, tool)
            if leg > 1 and not sent:
                await _mark(lent, call, f"sent{leg}", None)
            came = await lent.servers.call(scope.context, server, tool, arguments, answers)
            if not isinstance(came, Asks):
                return came
            asks = msgspec.to_builtins(came)
            await _mark(lent, call, f"asks{leg}", asks)
        answers = await answered(server.name, msgspec.convert(asks, Asks), partial(scope.tools.call, ask_user))
    raise CallFailed("error", f"{server.name} asked more than {_LEGS} times")


def _taken(lent: Lent, call: Reached, name: str) -> Any:
    known = lent.journal.take(f"{call.key}/{name}", "think", name, "")
    return None if known is None else known.result or {}


async def _mark(lent: Lent, call: Reached, name: str, result: Any) -> None:
    # On disk before anything is sent that rests on it.
    await lent.voice.emit(steps=(note(f"{call.key}/{name}", name, result),))


def _unknown(lent: Lent, call: Reached, server: MCPServer, tool: str) -> CallFailed:
    lent.journal.fail(ToolOutcomeUnknown(f"{server.name}__{tool}", call.call_id))
    return CallFailed("unknown_outcome", f"nobody saw how {tool} of {server.name} ended: the server was stopped")


def _whose(scope: RunScope) -> dict[str, str]:
    return {"run_id": scope.context.run_id, "user_id": scope.context.user_id}
