"""The HTTP problem table: every error becomes an RFC 9457 `application/problem+json` answer with a code."""

import http
import math
from collections.abc import Mapping
from typing import Any, cast

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netra_apex.core.ids import new_id
from netra_apex.errors import ConfigurationError, Refused, StoreError

log = structlog.get_logger("netra_apex.server")

MEDIA_TYPE = "application/problem+json"
MAX_DETAIL = 500
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
MAX_FIELD = 100
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_CODES = {401: "unauthenticated", 403: "forbidden", 404: "not_found", 413: "too_large", 429: "flood"}


class FieldProblem(BaseModel):
    """One field that is wrong. Its value is never repeated: it may be a password."""

    field: str
    message: str


class Problem(BaseModel):
    """An error, as RFC 9457 says; `code` is for programs, `detail` for people."""

    type: str = Field(description="about:blank: the code and the status say it all")
    title: str
    status: int
    detail: str
    code: str = Field(description="One of the contract's codes, such as not_found or busy")
    errors: list[FieldProblem] | None = Field(None, description="With code invalid: which fields, and why")
    id: str | None = Field(None, description="With code internal: what to look for in the server's log")


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: list[FieldProblem] | None = None,
    ident: str | None = None,
) -> JSONResponse:
    """The answer for one error."""
    body = Problem(
        type="about:blank",
        title=http.HTTPStatus(status).phrase,
        status=status,
        detail=readable(detail, MAX_DETAIL),
        code=code,
        errors=errors,
        id=ident,
    )
    return JSONResponse(body.model_dump(exclude_none=True), status, headers=headers, media_type=MEDIA_TYPE)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How a route documents the problems that it answers with; 503 (draining, or no database) is always one."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": http.HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({*statuses, 503})
    }


def install(app: FastAPI) -> None:
    """Makes the table the application's."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _by_framework)
    app.add_exception_handler(StoreError, _unavailable)
    app.add_exception_handler(ConfigurationError, _unavailable)


def refusal(error: Refused) -> Response:
    """The answer for a refusal."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if error.status == http.HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 11.6.1: a 401 names a scheme
    return problem(error.status, error.code, str(error), headers=headers)


def _refused(_: Request, error: Exception) -> Response:
    return refusal(cast("Refused", error))


def _not_valid(request: Request, error: Exception) -> Response:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method in _WITH_BODY and media != "application/json" and not media.endswith("+json"):
        # Otherwise a body without it is told to be no object, however good it is.
        said = f"not {readable(media, MAX_FIELD)}" if media else "and it has none"
        return problem(422, "invalid", f"the body's Content-Type must be application/json, {said}")
    found = [_field_problem(each) for each in cast("RequestValidationError", error).errors()]
    detail = "; ".join(f"{each.field}: {each.message}" for each in found)
    return problem(422, "invalid", detail, errors=found)


def _by_framework(request: Request, error: Exception) -> Response:
    raised = cast("HTTPException", error)
    match raised.status_code:
        case 404:
            detail = "there is no such address"
        case 405:
            allowed = ", ".join(_allowed_methods(request))
            detail = f"{request.method} is not possible here, but: {allowed}"
            return problem(405, "invalid", detail, headers={"Allow": allowed})
        case 400:
            # The framework's word for a body that is no JSON: not UTF-8, nested too deep, a number too long.
            return problem(422, "invalid", "the body is not JSON that can be read")
        case _:
            detail = str(raised.detail)
    return problem(raised.status_code, _CODES.get(raised.status_code, "invalid"), detail, headers=raised.headers)


def _unavailable(_: Request, error: Exception) -> Response:
    log.error("unavailable", error=str(error))
    return problem(503, "unavailable", "the server cannot reach its data now", headers={"Retry-After": "5"})


def _field_problem(found: Mapping[str, Any]) -> FieldProblem:
    path = [str(part) for part in found["loc"]]
    # "body", "query", … says where; a person knows it from the field, unless there is none.
    name = ".".join(path[1:]) if len(path) > 1 else path[0]
    if found["type"] == "json_invalid":
        return FieldProblem(field="body", message=f"it is not JSON: {readable(found['ctx']['error'], MAX_FIELD)}")
    message = str(found["msg"]).removeprefix("Value error, ")
    return FieldProblem(field=readable(name, MAX_FIELD), message=readable(message, MAX_DETAIL))


def readable(text: str, limit: int) -> str:
    """The text as it can be sent: no lone surrogates, not without end."""
    sendable = text.encode("utf-8", "replace").decode()
    return sendable if len(sendable) <= limit else sendable[: limit - 1] + "…"


def _allowed_methods(request: Request) -> list[str]:
    routes = cast("FastAPI", request.app).router.routes
    return [
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]


class InternalProblems:
    """The last resort, as an ASGI middleware: an error that nobody foresaw is logged under an id and told by it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            # The request's boundary: a bug is answered with an id that the log has, and with nothing of itself.
            ident = new_id("err")
            log.exception("internal error", id=ident, method=scope["method"], path=scope["path"])
            if started:
                raise  # a broken stream must look broken: the server cuts the connection
            response = problem(500, "internal", f"something went wrong here; the log has it as {ident}", ident=ident)
            await response(scope, receive, send)
