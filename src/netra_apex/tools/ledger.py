"""The ledger: each call as a step of the run's journal, so that a crash leaves known what was begun and what done."""

from collections.abc import Callable
from typing import Any, Literal

from netra_apex.core.journal import Decision, Journal, Step, StepKind, StepState, digest_of
from netra_apex.core.messages import clean
from netra_apex.errors import ToolOutcomeUnknown
from netra_apex.tools.approving import asked_in, waiting
from netra_apex.tools.calls import Call, Done, Failed
from netra_apex.tools.results import Told, as_returned

Place = Callable[[StepKind, str, str], str]
"""Where in the run a step of this kind, name and digest stands: its key."""
Came = Literal["new", "open", "done", "waiting", "lost"]
UNSEEN = ("cancelled", "timeout", "unknown_outcome")


class Ledger:
    """What the journal says of a dispatcher's calls, and what is to be written into it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def recall(self, call: Call) -> Came:
        """How far the call came before its run was taken up; if it was begun, it has its old id now.

        One that is `done` has its outcome: what the agent was given then, though nobody may know what its function has
        done. One that is `waiting` for a person has what was asked. Of the others nobody saw the end: an `open` one is
        called again, and a `lost` one has its outcome, `unknown_outcome`, unless somebody is to be asked.

        Raises:
            RunFailed: the agent does not do what it did before, or the run is broken.
        """
        known = self._journal.take(call.key, "call", call.name, digest(call))
        if known is None:
            return "new"
        assert known.call_id is not None
        call.call_id = known.call_id
        call.attempt = known.attempt
        if known.state != "started" and known.result is not None:
            call.outcome = _outcome(call, known.result)
            call.given_up = bool(known.result.get("given_up"))
            return "done"
        if known.state == "unknown":
            raise self.give_up(call)
        if (asked := asked_in(known.result)) is not None:
            call.asked = asked
            return "waiting"
        if call.tool is not None and call.tool.idempotent:
            call.attempt += 1
            return "open"
        call.lost = True
        call.outcome = Failed("unknown_outcome", f"nobody saw how {call.name} ended: the server was stopped")
        return "lost"

    def decision(self, call: Call) -> Decision | None:
        """What was decided on a call that waits, or answered, by the time that its run was taken up."""
        assert call.asked is not None
        return self._journal.decisions.get(call.asked.ident)

    def inside(self, call: Call) -> tuple[Step, ...]:
        """What was done inside a call that had finished."""
        return self._journal.take_inside(call.key)

    def give_up(self, call: Call) -> ToolOutcomeUnknown:
        """The run cannot go on: this call's outcome is unknown."""
        error = ToolOutcomeUnknown(call.name, call.call_id)
        self._journal.fail(error)
        return error


def started(call: Call) -> Step:
    """The step of a call that is about to begin, or waits for a person before it does."""
    step = _step(call, "started", None)
    return step if call.asked is None else waiting(step, call.asked)


def ended(call: Call, outcome: Done | Failed) -> Step:
    """The step of a call that has ended for its agent, though its function may still be at work, or was killed."""
    if isinstance(outcome, Failed):
        kept: dict[str, Any] = {"failed": [outcome.code, clean(outcome.message)]}
        if outcome.agent_code is not None:
            kept["agent_code"] = outcome.agent_code
        # Who gave it up knows that he did, and is given that again; what its function has done, nobody knows.
        state = "unknown" if call.at_work and outcome.code in UNSEEN else "finished"
        return _step(call, state, kept | {"given_up": True} if call.given_up else kept)
    return _step(call, "finished", {"value": outcome.told.whole} if call.by_code else {"text": outcome.told.text})


def lost(call: Call) -> Step:
    """The step of a call of which nobody saw how it ended, its agent neither: it has no result."""
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
        return Failed(code, message, agent_code=result.get("agent_code"))
    if "text" in result:
        return Done(None, Told(None, result["text"]))
    value = result["value"]
    if call.tool is not None:
        value = as_returned(call.tool.function, value)
    return Done(value, Told(value, ""))
