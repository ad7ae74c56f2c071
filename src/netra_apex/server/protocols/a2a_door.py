"""A2A 1.0 served by the SDK's own dispatchers, with our handler, our streams and our statuses."""

import contextlib
import math
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
from a2a.auth.user import User
from a2a.extensions.common import HTTP_EXTENSION_HEADER, get_requested_extensions
from a2a.server.context import ServerCallContext
from a2a.server.routes.common import ServerCallContextBuilder
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.server.routes.rest_dispatcher import RestDispatcher
from google.protobuf.json_format import MessageToDict
from sse_starlette.event import ServerSentEvent
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from netra_apex.server.auth import Principal
from netra_apex.server.eventstream import EventStream, Frames
from netra_apex.server.protocols.a2a_card import card
from netra_apex.server.protocols.a2a_handler import RunsAsTasks
from netra_apex.server.protocols.following import unless_gone
from netra_apex.server.services import Services

# What the protocol's own table of errors has no status for.
_OURS = frozenset({401, 403, 429, 503})
_NOT_JSON = "the body is not JSON that can be read"


def public_card(services: Services, request: Request) -> Response:
    """The card that everybody may see."""
    return JSONResponse(MessageToDict(card(services.runtime.registry, str(request.base_url))))


async def rpc(request: Request, services: Services, principal: Principal) -> Response:
    """Answers a JSON-RPC request."""
    if not _is_json(await request.body()):
        return JSONResponse({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": _NOT_JSON}})
    dispatcher = JsonRpcDispatcher(_handler(request, services, principal), _Caller(principal))
    answer = await unless_gone(request, dispatcher.handle_requests(request))
    return Response(status_code=499) if answer is None else _as_ours(answer, services, principal)


async def rest(method: str, request: Request, services: Services, principal: Principal) -> Response:
    """Answers a request of the HTTP+JSON binding with this method of the SDK's dispatcher."""
    body = await request.body()
    if body and not _is_json(body):
        error = {"code": 400, "status": "INVALID_ARGUMENT", "message": _NOT_JSON}
        return JSONResponse({"error": error}, 400)
    handler = _handler(request, services, principal)
    # Its task goes on; what waits for it, and would wait in vain, does not.
    answer = await unless_gone(request, getattr(RestDispatcher(handler, _Caller(principal)), method)(request))
    if answer is None:
        return Response(status_code=499)
    refused = handler.refused
    if refused is not None and refused.status in _OURS:
        answer.status_code = refused.status
        if refused.retry_after is not None:
            answer.headers["Retry-After"] = str(max(1, math.ceil(refused.retry_after)))
    return _as_ours(answer, services, principal)


def _is_json(body: bytes) -> bool:
    """Whether it is JSON of Unicode text: of anything else the SDK makes an internal error."""
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _handler(request: Request, services: Services, principal: Principal) -> RunsAsTasks:
    return RunsAsTasks(services, principal, request.scope, str(request.base_url))


def _as_ours(answer: Response, services: Services, principal: Principal) -> Response:
    """A stream of the SDK's as one of ours: within the user's places, and over when his login is."""
    if not isinstance(answer, StreamingResponse) and not hasattr(answer, "body_iterator"):
        return answer
    items = cast("AsyncIterator[Any]", cast("Any", answer).body_iterator)
    return _Stream(
        _frames(items),
        services.runtime.manager.stream(principal.user_id),
        services.runtime.settings.heartbeat_seconds,
        lambda: services.authenticator.still_valid(principal),
    )


async def _frames(items: AsyncIterator[Any]) -> Frames:
    try:
        async for item in items:
            made = item if isinstance(item, ServerSentEvent) else ServerSentEvent(**item)
            yield None, made.encode().decode().replace("\r\n", "\n")
    finally:
        with contextlib.suppress(AttributeError):
            await cast("Any", items).aclose()


class _Stream(EventStream):
    """A stream whose frames are written already."""

    def written(self, seq: int | None, text: str) -> str:
        """The frame."""
        return text


class _Caller(ServerCallContextBuilder, User):
    """Who calls, as the SDK wants to know it."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    @property
    def is_authenticated(self) -> bool:
        """It is."""
        return True

    @property
    def user_name(self) -> str:
        """The user."""
        return self._principal.user_id

    def build(self, request: Request) -> ServerCallContext:
        """The context of one call."""
        return ServerCallContext(
            user=self,
            state={"headers": dict(request.headers)},
            requested_extensions=get_requested_extensions(request.headers.getlist(HTTP_EXTENSION_HEADER)),
        )
