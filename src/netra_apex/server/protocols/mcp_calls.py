"""One call of an agent that is served as an MCP tool: its run, from the arguments to the result."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, cast

import structlog
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    TextContent,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from netra_apex.core.conversations import Post
from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentThinking,
    ApprovalRequested,
    QuestionAsked,
    ToolExecuting,
)
from netra_apex.core.messages import as_said
from netra_apex.core.runs import Run
from netra_apex.errors import NetraError, Refused
from netra_apex.server.auth import Principal
from netra_apex.server.protocols.following import Asked, Event, stored, to_rest, while_valid
from netra_apex.server.services import Services
from netra_apex.tools.validation import adapter_of, problem_of

REFUSED = -32000  # of JSON-RPC's codes, one of those that are a server's own
META = "io.netra-apex/"  # before our own keys in `_meta`
KEY = f"{META}idempotency-key"

Context = ServerRequestContext[Any, Any]
Answer = CallToolResult | InputRequiredResult
log = structlog.get_logger("netra_apex.server")


def refusal(error: Refused) -> MCPError:
    """A refusal as a JSON-RPC error, with its code."""
    return MCPError(REFUSED, str(error), {"code": error.code, "retry_after": error.retry_after})


class Call:
    """A call of one caller. It leaves its run when it is cut off: cancelled, unless it can be called again by a key."""

    def __init__(self, services: Services, principal: Principal, key: str | None) -> None:
        self._services = services
        self._principal = principal
        self._key = key

    async def make(self, context: Context, params: CallToolRequestParams) -> Answer:
        """Runs the agent, or goes on with a run that waited for this caller's word.

        Raises:
            MCPError: there is no such agent or run for this caller, the arguments are wrong, or it was refused.
        """
        try:
            if params.request_state is not None:
                run_id, told = await self._resumed(params)
            else:
                run_id, told = await self._begun(context, params), 0
        except Refused as error:
            raise refusal(error) from error
        try:
            return await while_valid(self._services, self._principal, lambda: self._followed(context, run_id, told))
        except (asyncio.CancelledError, Refused) as error:
            if self._key is None and params.request_state is None:
                await self._leave(run_id)
            if isinstance(error, Refused):
                raise refusal(error) from error
            raise

    async def _begun(self, context: Context, params: CallToolRequestParams) -> str:
        runtime, caller = self._services.runtime, self._principal
        if params.name not in dict(runtime.registry.describe(caller.permissions)):
            raise MCPError(INVALID_PARAMS, f"there is no tool {params.name[:200]}")
        meta: Mapping[str, Any] = context.meta or {}
        key = meta.get(KEY)
        self._key = key if isinstance(key, str) else self._key
        content = _task(runtime.registry.get(params.name).input_type, params.arguments or {})
        post = Post(content=content, agent=params.name, idempotency_key=self._key)
        return (await runtime.admission.post(caller.user_id, caller.permissions, post)).run_id

    async def _resumed(self, params: CallToolRequestParams) -> tuple[str, int]:
        """Takes what was answered to a run that waits; the run, and its last event that was told."""
        run = await self._services.runtime.stores.runs.run(self._principal.user_id, params.request_state or "")
        if run is None or run.agent != params.name:
            # Whoever sends it may have made it up: somebody else's is as none.
            raise MCPError(INVALID_PARAMS, "there is no such call to go on with")
        asked = await self._asked(run)
        for ident, response in (params.input_responses or {}).items():
            if ident in asked.open and isinstance(response, ElicitResult):
                await self._answer(asked.open[ident], response)
        return run.run_id, run.last_seq

    async def _asked(self, run: Run) -> Asked:
        asked = Asked()
        for event in await stored(self._services.runtime.reader, run.user_id, run.run_id):
            asked.hear(event)
        return asked

    async def _answer(self, about: ApprovalRequested | QuestionAsked, response: ElicitResult) -> None:
        house, said = self._services.runtime.house, response.content or {}
        user_id, may = self._principal.user_id, self._principal.permissions
        if isinstance(about, QuestionAsked):
            if response.action == "accept":
                await house.answer(user_id, about.question_id, str(said.get("answer", "")), may=may)
        elif response.action != "cancel":
            approves = response.action == "accept" and said.get("approve") is True
            noted = said.get("note")
            note = noted if isinstance(noted, str) else None
            verdict = "approve" if approves else "reject"
            await house.decide(user_id, about.approval_id, verdict, note, may=may)

    async def _followed(self, context: Context, run_id: str, told: int) -> Answer:
        """The run's result, its events told as progress; or what it waits for."""
        asked = Asked()
        async with aclosing(to_rest(self._services, self._principal.user_id, run_id)) as events:
            async for event in events:
                if event is None:
                    return _waiting(context, run_id, asked)
                asked.hear(event)
                if (result := _result(event)) is not None:
                    return result
                seq, message = _progress(event)
                if seq > told:
                    await context.session.report_progress(seq, message=message)
        return _failed(run_id, "not_found", "the run was deleted")

    async def _leave(self, run_id: str) -> None:
        admission = self._services.runtime.admission
        if admission.draining:
            return
        try:
            await asyncio.shield(admission.cancel(self._principal.user_id, run_id, wait=False))
        except NetraError as error:
            log.warning("a run whose client has gone goes on", run_id=run_id, error=str(error))


def _task(input_type: Any, arguments: dict[str, Any]) -> str:
    if input_type is None:
        task = arguments.get("task")
        if not isinstance(task, str) or len(arguments) > 1:
            raise MCPError(INVALID_PARAMS, "the arguments are `task`, a text, and nothing else")
        return task
    try:
        adapter_of(input_type).validate_python(arguments)
    except ValidationError as error:
        raise MCPError(INVALID_PARAMS, problem_of(error)) from error
    return json.dumps(arguments, ensure_ascii=False)


def _progress(event: Event) -> tuple[int, str]:
    """How far it has come, and what it is about; 0 where that is not worth telling."""
    match event:
        case AgentThinking(seq=seq, text=text):
            return seq, text
        case ToolExecuting(seq=seq, tool=tool):
            return seq, f"calls {tool}"
        case _:
            return 0, ""


def _result(event: Event) -> CallToolResult | None:
    """The result that an ending of the run is."""
    if event.depth:
        return None
    match event:
        case AgentCompleted(output=output):
            said = TextContent(text="" if output is None else as_said(output))
            structured = cast("dict[str, Any]", output) if isinstance(output, dict) else None
            return CallToolResult(content=[said], structured_content=structured, _meta=_meta(event.run_id))
        case AgentFailed(code=code, message=message):
            return _failed(event.run_id, code, message)
        case AgentCancelled(by=by):
            return _failed(event.run_id, "cancelled", f"the run was cancelled by {by}")
        case _:
            return None


def _failed(run_id: str, code: str, message: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=f"{code}: {message}")], is_error=True, _meta=_meta(run_id))


def _meta(run_id: str) -> dict[str, Any]:
    return {f"{META}run_id": run_id}


def _waiting(context: Context, run_id: str, asked: Asked) -> Answer:
    """What the run waits for: asked of a client that can ask its user, said to any other."""
    capabilities = context.session.client_capabilities
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS and capabilities and capabilities.elicitation:
        requests = {ident: ElicitRequest(params=_form(about)) for ident, about in asked.open.items()}
        return InputRequiredResult(input_requests=dict(requests), request_state=run_id)
    where = [
        f"{about.text!r}: answer at /api/questions/{ident}"
        if isinstance(about, QuestionAsked)
        else f"{about.tool} needs your approval: decide at /api/approvals/{ident}"
        for ident, about in asked.open.items()
    ]
    return _failed(run_id, "waiting_for_person", f"the run waits for you, and goes on then. {'; '.join(where)}")


def _form(about: ApprovalRequested | QuestionAsked) -> ElicitRequestFormParams:
    if isinstance(about, QuestionAsked):
        fields, required, message = {"answer": {"type": "string"}}, "answer", about.text
    else:
        fields = {"approve": {"type": "boolean"}, "note": {"type": "string"}}
        required, message = "approve", f"May {about.tool} be called with {json.dumps(about.arguments)}?"
    schema = {"type": "object", "properties": fields, "required": [required]}
    return ElicitRequestFormParams(message=message, requested_schema=schema)
