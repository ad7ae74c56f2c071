"""Errors as OpenAI's clients know them: `{"error": {"message", "type", "param", "code"}}`, for everything under /v1."""

import http
import json
from typing import Any, cast

from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netra_apex.core.events import AgentCancelled, AgentFailed, ApprovalRequested, QuestionAsked
from netra_apex.errors import Invalid, NotFound
from netra_apex.server.problems import MEDIA_TYPE, readable

ROOT = "/v1"
# Of their clients, those that try again by themselves do so unless an answer says that it is of no use.
NO_RETRY = "x-should-retry"
_LIMIT = ("rate_limit_error", "rate_limit_exceeded")
_KINDS: dict[str, tuple[str, str]] = {
    "unauthenticated": ("invalid_request_error", "invalid_api_key"),
    "forbidden": ("permission_error", "forbidden"),
    "flood": _LIMIT,
    "queue_full": _LIMIT,
    "draining": ("server_error", "draining"),
    "unavailable": ("server_error", "unavailable"),
    "internal": ("server_error", "internal"),
}


class OpenAIErrorFacts(BaseModel):
    """What went wrong: a sentence, a kind, the parameter that it is about, and a code."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """An error as OpenAI's clients know it."""

    error: OpenAIErrorFacts


class Unsupported(Invalid):
    """A parameter, or a value of one, that would mean something else here than its sender expects."""

    code = "unsupported_parameter"

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


class NoSuchModel(NotFound):
    """An agent that does not exist, or that this caller may not run, which is answered alike."""

    def __init__(self, model: str) -> None:
        super().__init__("model", model)
        self.param = "model"


def said(message: str, kind: str, code: str | None, param: str | None = None) -> dict[str, Any]:
    """The body of an error. What it quotes of a request may be no text."""
    message, param = readable(message, len(message)), param and readable(param, len(param))
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def refused(status: int, body: dict[str, Any], **headers: str) -> JSONResponse:
    """The answer of an error that the same request would meet again."""
    return JSONResponse(body, status, headers={NO_RETRY: "false", **headers})


def of_ending(ending: AgentFailed | AgentCancelled) -> tuple[int, dict[str, Any]]:
    """The status and the body of the error that a run came to."""
    if isinstance(ending, AgentCancelled):
        return 409, said(f"the run was cancelled by {ending.by}", "invalid_request_error", "cancelled")
    if ending.code == "budget_exceeded":
        return 429, said(ending.message, "insufficient_quota", ending.code)
    return 500, said(ending.message, "server_error", ending.code)


def of_waiting(run_id: str, asked: ApprovalRequested | QuestionAsked) -> dict[str, Any]:
    """The body of the error that a run waits for a person, who has to say it elsewhere."""
    if isinstance(asked, QuestionAsked):
        what = f"it asks: {asked.text!r}; answer at /api/questions/{asked.question_id}"
    else:
        what = f"tool {asked.tool} needs your approval; decide at /api/approvals/{asked.approval_id}"
    then = f"the answer is then at /v1/responses/{run_id}"
    return said(f"the run waits for you: {what}; {then}", "invalid_request_error", "waiting_for_person")


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How a route documents the errors that it answers with; 503 (draining, or no database) is always one."""
    schema = {"$ref": "#/components/schemas/OpenAIError"}
    return {
        status: {"description": http.HTTPStatus(status).phrase, "content": {"application/json": {"schema": schema}}}
        for status in sorted({*statuses, 503})
    }


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """As `responses`, of a route that answers with an object or with a stream."""
    kinds = {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {"schema": {"type": "string"}}}
    return {200: {"description": "An object, or its events as they come", "content": kinds}, **responses(*statuses)}


def install(app: FastAPI) -> None:
    """Makes the errors that name a parameter the application's."""
    app.add_exception_handler(Unsupported, _unsupported)
    app.add_exception_handler(NoSuchModel, _no_such_model)


def _unsupported(_: Request, error: Exception) -> Response:
    raised = cast("Unsupported", error)
    return refused(400, said(raised.message, "invalid_request_error", raised.code, raised.param))


def _no_such_model(_: Request, error: Exception) -> Response:
    raised = cast("NoSuchModel", error)
    message = f"The model `{raised.ident}` does not exist, or you may not use it"
    return refused(404, said(message, "invalid_request_error", "model_not_found", raised.param))


class OpenAIProblems:
    """Says every problem of /v1 in OpenAI's shape, whoever found it: a route, a limit, or the last resort."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] != "http" or not _is_ours(scope):
            await self._app(scope, receive, send)
            return
        held: list[Message] = []
        body = bytearray()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                if MutableHeaders(scope=message).get("content-type", "").startswith(MEDIA_TYPE):
                    held.append(message)
                    return
            elif held:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    await _send_shaped(held.pop(), bytes(body), send)
                return
            await send(message)

        await self._app(scope, receive, sending)


def _is_ours(scope: Scope) -> bool:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path == ROOT or path.startswith(f"{ROOT}/")


async def _send_shaped(start: Message, body: bytes, send: Send) -> None:
    problem = json.loads(body)
    code: str = problem["code"]
    kind, code = _KINDS.get(code, ("invalid_request_error", code))
    fields = problem.get("errors") or [{"field": None}]
    shaped = json.dumps(said(problem["detail"], kind, code, fields[0]["field"])).encode()
    headers = MutableHeaders(scope=start)
    headers["content-type"] = "application/json"
    headers["content-length"] = str(len(shaped))
    # Their clients know a request that cannot be right by 400.
    start["status"] = 400 if start["status"] == 422 else start["status"]
    if start["status"] in (409, 500):
        headers[NO_RETRY] = "false"
    await send(start)
    await send({"type": "http.response.body", "body": shaped})
