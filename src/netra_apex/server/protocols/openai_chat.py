"""Routes of OpenAI's Chat Completions: an agent is a model, a call is a run in a thread of its own."""

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Body, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from netra_apex.core.conversations import Accepted, Post
from netra_apex.core.events import AgentCancelled, AgentCompleted, AgentFailed
from netra_apex.core.messages import Usage
from netra_apex.errors import NetraError
from netra_apex.server.auth import Principal
from netra_apex.server.callers import SECURITY, Caller, Running
from netra_apex.server.protocols import openai_errors
from netra_apex.server.protocols.following import Asked, Event, to_rest, unless_gone, while_valid
from netra_apex.server.protocols.openai_asking import agent_of, check_chat, conversation, flag, key_of, usage_wanted
from netra_apex.server.protocols.openai_errors import NoSuchModel, of_ending, of_waiting, refused, said
from netra_apex.server.protocols.openai_stream import check_place, streamed
from netra_apex.server.protocols.openai_texts import Said, Texts
from netra_apex.server.services import Services
from netra_apex.server.turns import give_turn_back

router = APIRouter(prefix=openai_errors.ROOT, tags=["openai"], dependencies=SECURITY)
log = structlog.get_logger("netra_apex.server")

OpenAIBody = Annotated[
    dict[str, Any], Body(description="As OpenAI's reference says; docs/reference/http.md: what is taken")
]
VOID = "the answer was begun anew, and what came of it is void: ask again"
BETWEEN = "\n\n"  # what is said before a tool call, and what after it


@router.get("/models", operation_id="openai_list_models", responses=openai_errors.responses(401))
async def list_models(principal: Caller, services: Running) -> dict[str, Any]:
    """The agents that this user may run, as models."""
    agents = services.runtime.registry.describe(principal.permissions)
    return {"object": "list", "data": [_model(name) for name, _ in agents]}


@router.get("/models/{model}", operation_id="openai_get_model", responses=openai_errors.responses(401, 404))
async def get_model(model: str, principal: Caller, services: Running) -> dict[str, Any]:
    """One of them."""
    if model not in dict(services.runtime.registry.describe(principal.permissions)):
        raise NoSuchModel(model)
    return _model(model)


def _model(name: str) -> dict[str, Any]:
    # OpenAI's clients want to be told when it was made, which nobody knows of an agent.
    return {"id": name, "object": "model", "created": 0, "owned_by": "netra-apex"}


@router.post(
    "/chat/completions",
    operation_id="openai_create_chat_completion",
    response_class=Response,
    responses=openai_errors.answers(400, 401, 403, 404, 409, 413, 429, 500),
)
async def create_chat_completion(body: OpenAIBody, request: Request, principal: Caller, services: Running) -> Response:
    """Answers a conversation. The run is cancelled when the client goes away, unless it sent an Idempotency-Key."""
    asked = check_chat(body)
    agent = agent_of(asked, services, principal.permissions)
    talk = conversation(asked.get("messages"), "messages")
    streams, key = flag(asked, "stream"), key_of(request)
    told = usage_wanted(asked)
    if streams:
        check_place(services, principal)
    post = Post(content=talk.content, agent=agent, before=talk.before, idempotency_key=key)
    accepted = await services.runtime.admission.post(principal.user_id, principal.permissions, post)
    completion = Completion(services, principal, accepted, agent, keeps=key is not None)
    if streams:
        chunks = completion.chunks(usage=told)
        return _Streamed(completion, streamed(chunks, services, principal))
    give_turn_back(request.scope)
    try:
        answer = await unless_gone(request, while_valid(services, principal, completion.whole))
    finally:
        await completion.leave()
    return Response(status_code=499) if answer is None else answer  # nobody reads a 499


class Completion:
    """One call: its run, told as a completion, whole or in chunks."""

    def __init__(
        self, services: Services, principal: Principal, accepted: Accepted, agent: str, *, keeps: bool
    ) -> None:
        self._services = services
        self._user_id = principal.user_id
        self._run_id = accepted.run_id
        self._agent = agent
        self._keeps = keeps
        self._created = int(time.time())
        self._asked = Asked()
        self._rested = False

    async def leave(self) -> None:
        """The client is gone, or has all: a run that goes on would be for nobody."""
        admission = self._services.runtime.admission
        if self._rested or self._keeps or admission.draining:
            return
        try:
            await admission.cancel(self._user_id, self._run_id, wait=False)
        except NetraError as error:
            log.warning("a run whose client has gone goes on", run_id=self._run_id, error=str(error))

    async def whole(self) -> Response:
        """The completion, once the run has ended; an error where it did not end well, or waits for a person."""
        spoken = _Spoken()
        text: list[str] = []
        async with aclosing(to_rest(self._services, self._user_id, self._run_id)) as told:
            async for event in told:
                if event is None:
                    self._rested = True
                    return refused(409, self._waiting())
                self._asked.hear(event)
                if (new := spoken.hear(event)) is not None:
                    text.append(new)
                match event:
                    case AgentCompleted(depth=0, usage=usage):
                        self._rested = True
                        return JSONResponse(
                            self._object("chat.completion", _message("".join(text)), usage=_usage(usage))
                        )
                    case AgentFailed(depth=0) | AgentCancelled(depth=0):
                        self._rested = True
                        return refused(*of_ending(event))
                    case _:
                        pass
        self._rested = True
        return refused(404, said("the run was deleted", "invalid_request_error", "not_found"))

    async def chunks(self, *, usage: bool) -> AsyncGenerator[tuple[int | None, str]]:
        """The completion in chunks, as the text comes."""
        spoken = _Spoken()
        none = {"usage": None} if usage else {}
        yield self._chunk(_delta(role="assistant", content=""), **none)
        async with aclosing(to_rest(self._services, self._user_id, self._run_id)) as told:
            async for event in told:
                if event is None:
                    self._rested = True
                    yield _data(self._waiting())
                    break
                self._asked.hear(event)
                try:
                    new = spoken.hear(event)
                except _Anew:
                    yield _data(said(VOID, "server_error", "text_reset"))
                    break
                if new:
                    yield self._chunk(_delta(content=new), **none)
                if isinstance(event, AgentCompleted) and not event.depth:
                    self._rested = True
                    yield self._chunk(_delta(finish="stop"), **none)
                    if usage:
                        yield self._chunk([], usage=_usage(event.usage))
                elif isinstance(event, AgentFailed | AgentCancelled) and not event.depth:
                    self._rested = True
                    yield _data(of_ending(event)[1])
        yield None, "data: [DONE]\n\n"

    def _waiting(self) -> dict[str, Any]:
        return of_waiting(self._run_id, next(iter(self._asked.open.values())))

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> tuple[None, str]:
        return _data(self._object("chat.completion.chunk", choices, **more))

    def _object(self, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        head = {"id": self._run_id, "object": kind, "created": self._created, "model": self._agent}
        return head | {"choices": choices} | more


class _Streamed(Response):
    """A stream whose run is left when it ends, however that is."""

    def __init__(self, completion: Completion, stream: Response) -> None:
        super().__init__()
        self._completion = completion
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Streams."""
        try:
            await self._stream(scope, receive, send)
        finally:
            await self._completion.leave()


class _Anew(Exception):
    """A text is not what was told of it."""


class _Spoken:
    """What is new of a run's text, as one text."""

    def __init__(self) -> None:
        self._texts = Texts()
        self._message: str | None = None
        self._told = ""
        self._between = ""

    def hear(self, event: Event) -> str | None:
        """What an event adds. Raises: _Anew: what was told of a message is not what it became."""
        said = self._texts.hear(event)
        return None if said is None else self._new(said)

    def _new(self, said: Said) -> str | None:
        if self._message is not None and said.message_id != self._message:
            # What was told of a message that was given up stays told: nobody can take it back.
            self._between, self._told = BETWEEN, ""
        self._message = said.message_id
        if not said.text.startswith(self._told):
            if said.done:
                raise _Anew
            return None  # it is written anew, and may become the same
        new = said.text[len(self._told) :]
        if not new:
            return None
        self._told = said.text
        new, self._between = self._between + new, ""
        return new


def _message(text: str) -> list[dict[str, Any]]:
    message = {"role": "assistant", "content": text, "refusal": None}
    return [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]


def _delta(*, role: str | None = None, content: str | None = None, finish: str | None = None) -> list[dict[str, Any]]:
    delta = {name: value for name, value in (("role", role), ("content", content)) if value is not None}
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _data(value: dict[str, Any]) -> tuple[None, str]:
    return None, f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
