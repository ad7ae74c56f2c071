"""The ledger: each call as a step of the run's journal, so that a crash leaves known what was begun and what done."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, cast

import msgspec
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from netra_apex.core.journal import Journal, Step, StepKind, StepState, digest_of
from netra_apex.core.messages import clean
from netra_apex.errors import ToolOutcomeUnknown
from netra_apex.tools.calls import Call, Done, Failed
from netra_apex.tools.results import Told
from netra_apex.tools.schema import returned_type
from netra_apex.tools.tool import Tool

Place = Callable[[StepKind, str, str], str]
"""Where in the run a step of this kind, name and digest stands: its key."""


class Ledger:
    """What the journal says of a dispatcher's calls, and what is to be written into it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def recall(self, call: Call) -> Literal["new", "open", "done"]:
        """How far the call came before its run was taken up; if it was begun, it has its old id now.

        One that is `done` has its outcome. Of an `open` one nobody saw the end: where it may not be repeated its
        outcome is `unknown_outcome`.

        Raises:
            RunFailed: the agent does not do what it did before, or the run is broken.
        """
        known = self._journal.take(call.key, "call", call.name, digest(call))
        if known is None:
            return "new"
        assert known.call_id is not None
        call.call_id = known.call_id
        call.attempt = known.attempt
        if known.state == "finished":
            call.outcome = _outcome(call, known.result)
            call.given_up = bool(known.result.get("given_up"))
            return "done"
        if known.state == "unknown":
            raise self.give_up(call)
        if call.tool is not None and call.tool.idempotent:
            call.attempt += 1
        else:
            call.lost = True
            call.outcome = Failed("unknown_outcome", f"nobody saw how {call.name} ended: the server was stopped")
        return "open"

    def inside(self, call: Call) -> tuple[Step, ...]:
        """What was done inside a call that had finished."""
        return self._journal.take_inside(call.key)

    def give_up(self, call: Call) -> ToolOutcomeUnknown:
        """The run cannot go on: this call's outcome is unknown."""
        error = ToolOutcomeUnknown(call.name, call.call_id)
        self._journal.fail(error)
        return error


def started(call: Call) -> Step:
    """The step of a call that is about to begin."""
    return _step(call, "started", None)


def ended(call: Call, outcome: Done | Failed) -> Step:
    """The step of a call that has ended."""
    if isinstance(outcome, Failed):
        kept: dict[str, Any] = {"failed": [outcome.code, clean(outcome.message)]}
        return _step(call, "finished", kept | {"given_up": True} if call.given_up else kept)
    return _step(call, "finished", {"value": outcome.told.whole} if call.by_code else {"text": outcome.told.text})


def lost(call: Call) -> Step:
    """The step of a call of which nobody saw how it ended."""
    return _step(call, "unknown", None)


def digest(call: Call) -> str:
    """What tells this call from another one of the same tool."""
    return digest_of(call.arguments, call.by_code)


def _step(call: Call, state: StepState, result: Any) -> Step:
    return Step(
        key=call.key,
        kind="call",
        name=call.name,
        digest=digest(call),
        state=state,
        call_id=call.call_id,
        attempt=call.attempt,
        result=result,
    )


def _outcome(call: Call, result: Any) -> Done | Failed:
    if "failed" in result:
        code, message = result["failed"]
        return Failed(code, message)
    if "text" in result:
        return Done(None, Told(None, result["text"]))
    value = result["value"]
    if call.tool is not None:
        value = _as_returned(call.tool, value)
    return Done(value, Told(value, ""))


def _as_returned(tool: Tool, value: Any) -> Any:
    """The JSON that a function's value was kept as, as what the function says that it returns."""
    returned = returned_type(tool.function)
    try:
        if isinstance(returned, type) and issubclass(cast("type[Any]", returned), msgspec.Struct):
            return msgspec.convert(value, cast("type[msgspec.Struct]", returned))
        return value if returned is Any else _adapter(returned).validate_json(msgspec.json.encode(value))
    except (ValidationError, msgspec.ValidationError, PydanticUserError):
        return value  # the function did not keep to its annotation the first time either


@lru_cache(maxsize=256)
def _adapter(returned: Any) -> TypeAdapter[Any]:
    # Keyed by the type, which is code and no user's: building one costs milliseconds.
    return TypeAdapter(returned)
