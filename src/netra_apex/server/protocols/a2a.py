"""Routes of A2A 1.0: the agent card, JSON-RPC and HTTP+JSON at `/api/a2a`.

What serves them is imported with the first request: few servers have one. They are not in our OpenAPI document: their
shapes are the standard's.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module

from fastapi import APIRouter, Request
from starlette.responses import Response

from netra_apex.server.callers import Caller, Running

DOOR = "netra_apex.server.protocols.a2a_door"
PREFIX = "/api/a2a"
# (path, method, the SDK's name of it). What has an ending comes before what would take the ending for an id.
REST = (
    ("/message:send", "POST", "on_message_send"),
    ("/message:stream", "POST", "on_message_send_stream"),
    ("/tasks/{id}:cancel", "POST", "on_cancel_task"),
    ("/tasks/{id}:subscribe", "GET", "on_subscribe_to_task"),
    ("/tasks/{id}:subscribe", "POST", "on_subscribe_to_task"),
    ("/tasks/{id}", "GET", "on_get_task"),
    ("/tasks/{id}/pushNotificationConfigs", "POST", "set_push_notification"),
    ("/tasks/{id}/pushNotificationConfigs", "GET", "list_push_notifications"),
    ("/tasks/{id}/pushNotificationConfigs/{push_id}", "GET", "get_push_notification"),
    ("/tasks/{id}/pushNotificationConfigs/{push_id}", "DELETE", "delete_push_notification"),
    ("/tasks", "GET", "list_tasks"),
    ("/extendedAgentCard", "GET", "handle_authenticated_agent_card"),
)

router = APIRouter(include_in_schema=False)


async def _door():
    """What serves the protocol. Its package takes a sixth of a second to import: not while everybody else waits."""
    if DOOR not in sys.modules:
        await asyncio.to_thread(import_module, DOOR)
    from netra_apex.server.protocols import a2a_door

    return a2a_door


@router.get("/.well-known/agent-card.json")
async def agent_card(request: Request, services: Running) -> Response:
    """What this server is, for everybody; agents that need a permission are in the extended card."""
    return (await _door()).public_card(services, request)


@router.post(PREFIX)
async def rpc(request: Request, principal: Caller, services: Running) -> Response:
    """JSON-RPC."""
    return await (await _door()).rpc(request, services, principal)


def _rest(name: str) -> Callable[[Request, Caller, Running], Awaitable[Response]]:
    async def answer(request: Request, principal: Caller, services: Running) -> Response:
        return await (await _door()).rest(name, request, services, principal)

    return answer


for _path, _method, _name in REST:
    router.add_api_route(PREFIX + _path, _rest(_name), methods=[_method])
