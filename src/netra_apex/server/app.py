"""`create_app`: the whole server as one ASGI application, to serve or to mount."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from netra_apex.agents import AgentRegistry
from netra_apex.core.voices import Model
from netra_apex.server import (
    accounts,
    administration,
    approvals,
    files,
    health,
    keys,
    logins,
    mcp,
    memories,
    openapi,
    pages,
    problems,
    questions,
    runs,
    service_levels,
    threads,
    usage,
)
from netra_apex.server.lifecycle import Lifecycle
from netra_apex.server.limits import BodyLimit, SecurityHeaders
from netra_apex.server.protocols import a2a, agui, mcp_agents, openai_chat, openai_errors, openai_responses
from netra_apex.server.services import Services
from netra_apex.server.turns import Turns
from netra_apex.server.web import Assets
from netra_apex.server.websocket import WebSocketDoor
from netra_apex.settings import Settings
from netra_apex.stream.telemetry import arrivals

ROOMS = (
    accounts,
    threads,
    files,
    runs,
    approvals,
    questions,
    memories,
    usage,
    keys,
    logins,
    mcp,
    administration,
    service_levels,
    openai_chat,
    openai_responses,
    mcp_agents,
    a2a,
    agui,
    health,
    pages,
)
CORS_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CORS_HEADERS = ("Authorization", "Content-Type", "Last-Event-ID", "A2A-Version", "A2A-Extensions")


def create_app(
    registry: AgentRegistry, settings: Settings | None = None, *, model: Model | None = None, execute: bool = True
) -> FastAPI:
    """The server as an ASGI application.

    Served by itself, it starts with its lifespan. Mounted in another application, whose lifespan does not reach it,
    it starts with its first request.

    `settings` left out are read from their usual places; `model` replaces the one that they name. With `execute`
    False runs are left to other processes on the same Postgres database.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    settings = Settings.load() if settings is None else settings
    lifecycle = Lifecycle(registry, settings, model, execute=execute)
    app = _Application(
        title="Netra Apex",
        version=version("netra-apex"),
        description="A multi-user server for AI agents: isolated runs, five live events, nothing lost.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_measured(settings),
        lifespan=lifecycle.lifespan,
    )
    app.state.lifecycle = lifecycle
    app.state.root_path = settings.root_path.rstrip("/")
    app.state.arriving = arrivals(settings)
    for room in ROOMS:
        app.include_router(room.router)

    app.mount("/assets", Assets())

    async def services_of(_: Scope) -> Services:
        return await lifecycle.services()

    app.state.door = WebSocketDoor(services_of)
    problems.install(app)
    openai_errors.install(app)
    _guard(app, settings)
    return app


def _measured(settings: Settings) -> TelemetryConfig:
    """What FastAPI itself tells of requests: how many and how long, by route. Its spans have whole paths."""
    told = settings.telemetry != "off"
    return {"tracing": False, "logs": False, "operation_spans": False, "auto_configure": False, "metrics": told}


def _guard(app: FastAPI, settings: Settings) -> None:
    """Puts around the application what every exchange is held to."""
    # The last added is the outermost: an internal problem has the headers, and its origin may read it.
    app.add_middleware(problems.InternalProblems)
    app.add_middleware(BodyLimit, limit=settings.body_bytes, upload=settings.upload_bytes)
    app.add_middleware(openai_errors.OpenAIProblems)
    if settings.allowed_origins:
        app.add_middleware(
            Cors,
            allow_origins=settings.allowed_origins,
            allow_methods=CORS_METHODS,
            allow_headers=CORS_HEADERS,
            allow_credentials=True,
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Turns)


class _Application(FastAPI):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, known to be under NETRA_ROOT_PATH.

        Not by the server's own root path, which expects that the proxy has cut the path off: routing takes both kinds.
        """
        scope["root_path"] = scope.get("root_path") or self.state.root_path
        with self.state.arriving(scope.get("headers", ())):
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and scope["path"].removeprefix(scope["root_path"]) == "/ws":
            # Past routing and its middleware, which would stand in the way of every frame that is sent.
            await self.state.door(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return openapi.document(self)


class Cors(CORSMiddleware):
    """Starlette's, with a problem as its refusal."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a browser that asks whether it may ask."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        refused = problems.problem(403, "forbidden", "this origin, method or header is not allowed")
        refused.headers["Vary"] = response.headers["Vary"]
        return refused
