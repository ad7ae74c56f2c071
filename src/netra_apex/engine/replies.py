"""A model request as a step of the journal: what identifies it, and how its reply, or its failure, is kept."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NoReturn

import msgspec

from netra_apex.core.journal import Step, digest_of
from netra_apex.core.messages import NO_USAGE, ModelRequest, Reply, SystemMessage, ToolCall, Usage, clean
from netra_apex.errors import BudgetExceeded, ModelFailed, ModelUnavailable


def asking(request: ModelRequest) -> Step:
    """The step that begins with this request; where it stands is for its scope to say.

    Its digest is of the conversation: instructions, tools and the model's name are the application's, which may be
    another version by the time the run is taken up.
    """
    said = [message for message in request.messages if not isinstance(message, SystemMessage)]
    return Step(key="", kind="model", name="model", digest=digest_of(said), state="started")


def replied(asked: Step, reply: Reply, *, shown: bool) -> Step:
    """The step with its reply, and whether the user was shown it."""
    kept: dict[str, Any] = {
        "text": reply.text,
        "tool_calls": reply.tool_calls,
        "thinking": reply.thinking,
        "usage": reply.usage,
    }
    return msgspec.structs.replace(asked, state="finished", result={"reply": kept, "shown": shown})


def cleaned(reply: Reply) -> Reply:
    """The reply without half surrogate pairs, which are no text that could be kept or told."""
    calls = tuple(ToolCall(clean(call.id), clean(call.name), clean(call.arguments)) for call in reply.tool_calls)
    return replace(reply, text=clean(reply.text), thinking=clean(reply.thinking), tool_calls=calls)


def failed(asked: Step, error: ModelFailed | BudgetExceeded | asyncio.CancelledError) -> Step:
    """The step with its failure, which the agent may have gone on from, or as given up by the agent itself."""
    if isinstance(error, asyncio.CancelledError):
        return msgspec.structs.replace(asked, state="finished", result={"given_up": True, "failure": None})
    if isinstance(error, BudgetExceeded):
        kept = {"message": error.message, "setting": error.setting}
        return msgspec.structs.replace(asked, state="finished", result={"failure": kept})
    kept = {
        "message": error.message,
        "model": error.model,
        "status": error.status,
        "provider_message": error.provider_message,
        "unavailable": isinstance(error, ModelUnavailable),
        "retryable": error.retryable,
    }
    return msgspec.structs.replace(asked, state="finished", result={"failure": kept})


def was_given_up(step: Step) -> bool:
    """Whether the agent cancelled this request itself."""
    return bool(step.result.get("given_up"))


async def given_up_again() -> NoReturn:
    """Waits to be cancelled, as it was before: what has cancelled it then does so again, with the same consequences."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nothing resolves this")


def is_failure(step: Step) -> bool:
    """Whether a finished step failed."""
    return "failure" in step.result


def was_shown(step: Step) -> bool:
    """Whether the user was shown the reply of a finished step."""
    return bool(step.result.get("shown"))


def used_in(steps: Iterable[Step]) -> Usage:
    """What the models of these steps were told to have used."""
    used = NO_USAGE
    for step in steps:
        if step.kind == "model" and not is_failure(step):
            used += reply_of(step).usage
    return used


def reply_of(step: Step) -> Reply:
    """What a finished step gave.

    Raises:
        ModelFailed, BudgetExceeded: that is what it gave.
    """
    if not is_failure(step):
        return msgspec.convert(step.result["reply"], Reply)
    kept = step.result["failure"]
    if "setting" in kept:
        raise BudgetExceeded(kept["message"], setting=kept["setting"])
    if kept["unavailable"]:
        raise ModelUnavailable(kept["message"], model=kept["model"], set_up=kept["retryable"])
    raise ModelFailed(
        kept["message"], model=kept["model"], status=kept["status"], provider_message=kept["provider_message"]
    )
