"""Routes of OpenAI's Responses: a response is a run, a conversation is a thread."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from netra_apex.core.context import check_identity
from netra_apex.core.conversations import Post
from netra_apex.core.events import ApprovalRequested, QuestionAsked
from netra_apex.core.ports import Runs
from netra_apex.core.runs import Run
from netra_apex.errors import Busy, InvalidContext, NotFound, Superseded
from netra_apex.server.auth import Principal
from netra_apex.server.callers import SECURITY, Caller, Running
from netra_apex.server.eventstream import MAX_SEQ
from netra_apex.server.protocols import openai_errors
from netra_apex.server.protocols.following import events, stored, to_rest, unless_gone, while_valid
from netra_apex.server.protocols.openai_asking import (
    Word,
    addition,
    agent_of,
    check_response,
    conversation,
    flag,
    key_of,
    words,
)
from netra_apex.server.protocols.openai_chat import OpenAIBody
from netra_apex.server.protocols.openai_errors import Unsupported
from netra_apex.server.protocols.openai_stream import check_place, streamed
from netra_apex.server.protocols.openai_telling import Head, Telling, Told
from netra_apex.server.services import Services
from netra_apex.server.turns import give_turn_back

router = APIRouter(prefix=f"{openai_errors.ROOT}/responses", tags=["openai"], dependencies=SECURITY)


@router.post(
    "",
    operation_id="openai_create_response",
    response_class=Response,
    responses=openai_errors.answers(400, 401, 403, 404, 409, 413, 429),
)
async def create_response(body: OpenAIBody, request: Request, principal: Caller, services: Running) -> Response:
    """Begins a run, or answers what one waits for, and tells it. It goes on whatever becomes of the client."""
    asked = check_response(body)
    streams, background = flag(asked, "stream"), flag(asked, "background")
    if streams:
        check_place(services, principal)
    previous = await _previous(asked, services.runtime.stores.runs, principal)
    said = words(asked.get("input"), "input")
    if said:
        run = await _answer(said, previous, services, principal)
    else:
        run = await _begin(asked, previous, key_of(request), services, principal)
    if streams:
        return streamed(_frames(services, principal, run, None), services, principal)
    if background:
        return JSONResponse(await _as_it_stands(services, principal, run))
    give_turn_back(request.scope)
    told = await unless_gone(request, while_valid(services, principal, lambda: _at_rest(services, principal, run)))
    return Response(status_code=499) if told is None else JSONResponse(told)


@router.get(
    "/{response_id}",
    operation_id="openai_get_response",
    response_class=Response,
    responses=openai_errors.answers(400, 401, 404, 429),
)
async def get_response(
    response_id: str,
    principal: Caller,
    services: Running,
    stream: Annotated[bool, Query(description="Its events, from the first")] = False,  # noqa: FBT002 - a query
    starting_after: Annotated[int | None, Query(ge=0, le=MAX_SEQ, description="The last known sequence_number")] = None,
) -> Response:
    """A response as it stands, or its events: those that there were, and then everything live."""
    run = await _run(services.runtime.stores.runs, principal.user_id, response_id)
    if stream:
        return streamed(_frames(services, principal, run, starting_after), services, principal)
    return JSONResponse(await _as_it_stands(services, principal, run))


@router.post(
    "/{response_id}/cancel",
    operation_id="openai_cancel_response",
    responses=openai_errors.responses(401, 403, 404),
)
async def cancel_response(response_id: str, principal: Caller, services: Running) -> Told:
    """Ends a response; one that has ended stays as it is."""
    run = await _run(services.runtime.stores.runs, principal.user_id, response_id)
    run = await services.runtime.admission.cancel(principal.user_id, run.run_id)
    return await _as_it_stands(services, principal, run)


@router.delete(
    "/{response_id}",
    operation_id="openai_delete_response",
    responses=openai_errors.responses(401, 403, 404, 409),
)
async def delete_response(response_id: str, principal: Caller, services: Running) -> dict[str, Any]:
    """Deletes a run with what was said in it, cancelled first; with its conversation, where nothing else is in it."""
    if not await services.runtime.admission.delete_run(principal.user_id, response_id):
        raise NotFound("response", response_id)
    return {"id": response_id, "object": "response", "deleted": True}


async def _run(runs: Runs, user_id: str, response_id: str) -> Run:
    """The run that a response is. Raises: NotFound: the user has no such, or its log is kept no longer."""
    run = await runs.run(user_id, response_id)
    if run is None or (run.last_seq and not await runs.events(user_id, response_id, 0, 1)):
        raise NotFound("response", response_id)
    return run


async def _previous(asked: dict[str, Any], runs: Runs, principal: Principal) -> Run | None:
    """The response that this one follows. Raises: NotFound: the user has no such."""
    named = asked.get("previous_response_id")
    if named is None:
        return None
    if not isinstance(named, str):
        raise Unsupported("previous_response_id", "previous_response_id must be a response's id")
    if "conversation" in asked:
        raise Unsupported("conversation", "name a conversation or the response before, not both")
    return await _run(runs, principal.user_id, named)


async def _begin(
    asked: dict[str, Any], previous: Run | None, key: str | None, services: Services, principal: Principal
) -> Run:
    """A new run for what was asked: in the thread that is named, or in a new one."""
    if previous is not None:
        asked.setdefault("model", previous.agent)
    agent = agent_of(asked, services, principal.permissions)
    thread_id = _thread_of(asked) if previous is None else previous.thread_id
    given, instructions = asked.get("input"), asked.get("instructions", "")
    if not isinstance(instructions, str):
        raise Unsupported("instructions", "instructions must be text")
    if thread_id is None:
        talk = conversation([{"role": "user", "content": given}] if isinstance(given, str) else given, "input")
        before, content = talk.before, talk.content
    else:
        before, content = (), addition(given, "input")
    content = f"{instructions}\n\n{content}" if instructions.strip() else content
    post = Post(content=content, agent=agent, thread_id=thread_id, before=before, idempotency_key=key, if_busy="reject")
    return await _post(post, previous, services, principal)


async def _post(post: Post, previous: Run | None, services: Services, principal: Principal) -> Run:
    admission, runs = services.runtime.admission, services.runtime.stores.runs
    try:
        follows = post if previous is None else replace(post, follows=previous.run_id)
        accepted = await admission.post(principal.user_id, principal.permissions, follows)
    except Superseded:
        assert previous is not None
        if not previous.status.ended:
            raise Busy("the response before is under way: wait for it, or cancel it") from None
        # The thread has gone on: what was said up to there begins one of its own.
        before = await runs.said(principal.user_id, previous.run_id)
        branch = replace(post, thread_id=None, before=before)
        accepted = await admission.post(principal.user_id, principal.permissions, branch)
    return await _run(runs, principal.user_id, accepted.run_id)


def _thread_of(asked: dict[str, Any]) -> str | None:
    """The thread that is the conversation. Raises: NotFound: it cannot be one."""
    given: Any = asked.get("conversation")
    if isinstance(given, dict):
        given = cast("dict[str, Any]", given).get("id", "")
    if given is None:
        return None
    try:
        return check_identity("conversation", given)
    except InvalidContext as error:
        raise NotFound("conversation", str(given)[:256]) from error


async def _answer(said: tuple[Word, ...], previous: Run | None, services: Services, principal: Principal) -> Run:
    """Gives a run that waits what it waits for: it goes on, and is the same response.

    Raises:
        NotFound: it has not asked for that.
        AlreadyDecided: it was answered before, or waits no longer.
    """
    if previous is None:
        raise Unsupported(
            "previous_response_id", "previous_response_id is missing: which response is this an answer to?"
        )
    house, user_id, may = services.runtime.house, principal.user_id, principal.permissions
    asked = {
        event.approval_id if isinstance(event, ApprovalRequested) else event.question_id: event
        for event in await stored(services.runtime.reader, user_id, previous.run_id)
        if isinstance(event, ApprovalRequested | QuestionAsked)
    }
    for word in said:
        about = asked.get(word.ident)
        if about is None or isinstance(about, QuestionAsked) is not (word.approves is None):
            raise NotFound("question or approval of this response", word.ident[:256])
    for word in said:
        if word.approves is None:
            await house.answer(user_id, word.ident, word.text or "", may=may)
        else:
            await house.decide(user_id, word.ident, "approve" if word.approves else "reject", word.text, may=may)
    return previous


async def _frames(
    services: Services, principal: Principal, run: Run, after: int | None
) -> AsyncGenerator[tuple[int | None, str]]:
    """A response's events after a number, to its end. Where it waits for a person, the stream waits with it."""
    telling = Telling(Head.of(run), after)
    for told in telling.begin():
        yield _event(told)
    async with aclosing(events(services.runtime.reader, principal.user_id, run.run_id)) as heard:
        async for event in heard:
            for told in telling.hear(event):
                yield _event(told)


async def _as_it_stands(services: Services, principal: Principal, run: Run) -> Told:
    telling = Telling(Head.of(run))
    for event in await stored(services.runtime.reader, principal.user_id, run.run_id):
        telling.hear(event)
    return telling.response()


async def _at_rest(services: Services, principal: Principal, run: Run) -> Told:
    """A response once it has ended, or does nothing but wait for a person."""
    telling = Telling(Head.of(run))
    async with aclosing(to_rest(services, principal.user_id, run.run_id)) as heard:
        async for event in heard:
            if event is not None:
                telling.hear(event)
    return telling.response()


def _event(told: Told) -> tuple[None, str]:
    return None, f"event: {told['type']}\ndata: {json.dumps(told, ensure_ascii=False)}\n\n"
