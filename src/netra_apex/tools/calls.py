"""A call on its way: what it asks for, how it ended, and how both are told."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic_core import from_json

from netra_apex.core.events import CallError, ToolCompleted
from netra_apex.core.ids import new_id
from netra_apex.core.telemetry import Called, Span
from netra_apex.tools.results import Told
from netra_apex.tools.tool import Tool

# docs/reference/errors.md: a tool that raises `CallFailed` with another code is told as `error`.
CODES = frozenset(
    (
        "denied",
        "unknown_tool",
        "invalid_arguments",
        "timeout",
        "cancelled",
        "rejected",
        "expired",
        "error",
        "unknown_outcome",
    )
)

SHOWN_NAME = 128


@dataclass(frozen=True, slots=True)
class Done:
    """A call that went well: the function's own value, and how it is told."""

    value: Any
    told: Told


@dataclass(frozen=True, slots=True)
class Failed:
    """A call that did not, with the exception that it comes from, if any, and the code of the agent that it was for."""

    code: str
    message: str
    cause: BaseException | None = None
    agent_code: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a person was asked: by an approval of this id, or by a `question` of it, whose answer is the call's result.

    An approval's `digest` binds it to this very call of this very tool, until `expires_at`. `again`: whether to call it
    once more, as nobody saw how it ended; otherwise whether to call it at all.
    """

    ident: str
    digest: str = ""
    expires_at: str = ""
    again: bool = False
    question: bool = False


@dataclass(kw_only=True, slots=True)
class Call:
    """One call on its way. `read` makes the function's keyword arguments, or raises; `outcome` is None while open.

    `key` is where in the run it stands; `attempt` counts its beginnings, over crashes too. `by_code` calls give their
    value to an agent's code, the others a text to a model. `given_up` was cancelled by the agent itself; of
    a `lost` one nobody saw how it ended. `at_work`: its function has begun and was not seen to end.
    """

    name: str
    arguments: Any
    tool: Tool | None = None
    read: Callable[[], dict[str, Any]] = dict
    outcome: Done | Failed | None = None
    asked: Asked | None = None
    key: str = ""
    attempt: int = 1
    given_up: bool = False
    lost: bool = False
    at_work: bool = False
    by_code: bool = False
    call_id: str = field(default_factory=lambda: new_id("call"))
    started: float = field(default_factory=time.perf_counter)


def completed(call: Call, outcome: Done | Failed) -> ToolCompleted:
    """The event that tells a call's end."""
    duration = int((time.perf_counter() - call.started) * 1000)
    if isinstance(outcome, Done):
        return ToolCompleted(
            call_id=call.call_id, tool=call.name, ok=True, result=outcome.told.value, duration_ms=duration
        )
    error = CallError(outcome.code, outcome.message)
    return ToolCompleted(call_id=call.call_id, tool=call.name, ok=False, error=error, duration_ms=duration)


def called(call: Call) -> Called:
    """The call as operators are told of it."""
    return Called(call.name, call.call_id, call.arguments, call.attempt, known=call.tool is not None)


def tell_span(span: Span, outcome: Done | Failed) -> None:
    """Tells operators of its end."""
    if isinstance(outcome, Done):
        span.ended(result=outcome.told.value)
    else:
        span.ended(outcome.code)


def for_model(call: Call) -> str:
    """The answer to a call that has ended, as text for the model."""
    outcome = call.outcome
    if isinstance(outcome, Failed):
        return f"Error ({outcome.code}): {outcome.message}"
    assert outcome is not None
    return outcome.told.text


def parse(text: str) -> tuple[Any, Failed | None]:
    """A model's arguments as they are told: the object, or the raw text with what is wrong with it."""
    try:
        parsed: Any = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        return text, Failed("invalid_arguments", f"the arguments are not JSON: {error}")
    if not isinstance(parsed, Mapping):
        kind = type(parsed).__name__
        return text, Failed("invalid_arguments", f"the arguments must be a JSON object, not a {kind}")
    return cast("Mapping[str, Any]", parsed), None
