"""A run's journal: what has happened in it and may not happen twice. A machine without I/O.

Every model request, tool call and named step of a run has a key, which says where in the run it stands, and a digest of
what was asked. A run that is taken up again goes through its agent's code from the start: steps that had finished give
what they gave, and a step that is another one than the journal has shows that the code does not do the same twice.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from netra_apex.core.budgets import Charge
from netra_apex.errors import Nondeterministic, RunFailed

StepKind = Literal["model", "call", "step", "think"]
StepState = Literal["started", "finished", "unknown"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step as the journal keeps it.

    `name` is the model's, the tool's or the step's own; `digest` is of what it was asked. A tool call is kept when it
    starts, with the `call_id` that it was told by, and again when it has ended; `attempt` counts its beginnings.
    `result` is JSON; of a call that waits for a person it names the `approval` or the `question`. `unknown` is a call
    of which nobody can say what its function did in the end; it has a `result` where its agent was given a failure all
    the same, having cancelled it or waited long enough. `charge` is what a model request has used that was reserved
    for: it goes to the book with the step, and is not in the journal.
    """

    key: str
    kind: StepKind
    name: str
    digest: str
    state: StepState
    call_id: str | None = None
    attempt: int = 1
    result: Any = None
    heard: int = 0
    charge: Charge | None = None


def note(key: str, name: str, result: Any = None, *, digest: str = "") -> Step:
    """A step of the run's own that is finished as it is kept: a thought, a mark, or what a store gave."""
    return Step(key=key, kind="think", name=name, digest=digest, state="finished", result=result)


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A step as an operator sees it: what it was, how far it came and how often it was begun, without its content."""

    step: str
    kind: StepKind
    name: str
    state: StepState
    attempt: int
    call_id: str | None


class Decision(msgspec.Struct, frozen=True):
    """What was decided on an approval: `approve`, `reject` or `expired`; by whom, and with which remark.

    On a question it is `answer`, with the answer in `note`, or `expired`.
    """

    decision: str
    by: str
    note: str | None = None


class Journal:
    """What a run had done before this process took it up; empty for a new run.

    `decisions` are those on its approvals, and the answers to its questions, that were there by then. `at_rest`:
    whoever had it left it waiting for a person, with nothing under way.
    """

    def __init__(
        self, steps: Iterable[Step] = (), decisions: Mapping[str, Decision] | None = None, *, at_rest: bool = False
    ) -> None:
        self.broken: RunFailed | None = None
        self.at_rest = at_rest
        self.decisions = decisions or {}
        self._before = {step.key: step for step in steps}

    def take(self, key: str, kind: StepKind, name: str, digest: str) -> Step | None:
        """The step of this key from before, which is then behind the agent; None where it is new.

        Raises:
            RunFailed: what stands here was another step (`Nondeterministic`), or the run was broken before.
        """
        if self.broken is not None:
            raise self.broken
        known = self._before.get(key)
        if known is None:
            return None
        if (known.kind, known.name, known.digest) != (kind, name, digest):
            before, now = f"{known.kind} {known.name}", f"{kind} {name}"
            what = "other content" if before == now else f"{before!r}, and now it is {now!r}"
            raise self.fail(Nondeterministic(key, f"before the restart it was {what}"))
        del self._before[key]
        return known

    def take_named(self, key: str, name: str) -> Step | None:
        """The named step of this name from before, wherever it stood; None where it is new.

        Raises:
            RunFailed: what stands here was another step, or the run was broken before.
        """
        named = next((step for step in self._before.values() if (step.kind, step.name) == ("step", name)), None)
        if self.broken is not None or key in self._before or named is None:
            return self.take(key, "step", name, "")
        return self._before.pop(named.key)

    def fork_of(self, way: str, kind: StepKind, name: str, digest: str) -> int | None:
        """The number of the branch of `way` that began with this step, if there was one that is not behind the agent.

        Of tasks that an agent starts, which comes first to its first step may differ from time to time.
        """
        found: list[int] = []
        for step in self._before.values():
            number, _, rest = step.key.removeprefix(f"{way}f").partition(".")
            first = step.key.startswith(f"{way}f") and rest == "1" and number.isdigit()
            if first and (step.kind, step.name, step.digest) == (kind, name, digest):
                found.append(int(number))
        # Of some that began alike the one that began first.
        return min(found, default=None)

    def forks(self, way: str, *, headless: bool = False) -> frozenset[int]:
        """The numbers of the branches of `way` of which something is not behind the agent yet.

        With `headless` those of which it is not the first step.
        """
        held = (key.removeprefix(f"{way}f").partition(".") for key in self._before if key.startswith(f"{way}f"))
        steps = {(int(number), rest) for number, _, rest in held if number.isdigit()}
        return frozenset(number for number, _ in steps if not headless or (number, "1") not in steps)

    @property
    def owes(self) -> bool:
        """Whether the agent has not come again to a call that was decided on: it must not be left before it has."""
        waiting = [step.result for step in self._before.values() if step.kind == "call" and step.state == "started"]
        asked = [result.get("approval") or result.get("question") for result in waiting if result is not None]
        return any(ident in self.decisions for ident in asked)

    def take_inside(self, key: str) -> tuple[Step, ...]:
        """The steps inside a call that had finished: they are behind the agent too, as its function is not run.

        But for named ones: those are the whole run's, and the agent may ask for one of them elsewhere.
        """
        inside = [each for each, step in self._before.items() if each.startswith(f"{key}/") and step.kind != "step"]
        return tuple(self._before.pop(each) for each in inside)

    def finish(self) -> None:
        """The agent has ended.

        Raises:
            RunFailed: it left out a step that it had taken before, or the run was broken before.
        """
        # A named step belongs to no place: it may have been taken inside a call that had finished.
        left = [step for step in self._before.values() if step.kind != "step"]
        if self.broken is None and left:
            step = left[0]
            self.broken = Nondeterministic(
                step.key, f"before the restart there was {f'{step.kind} {step.name}'!r} here"
            )
        if self.broken is not None:
            raise self.broken

    def fail(self, error: RunFailed) -> RunFailed:
        """The run cannot go on, whatever the agent's code does with the exception; the first reason stays."""
        if self.broken is None:
            self.broken = error
        return self.broken


def digest_of(*parts: Any) -> str:
    """A short digest of JSON-like values, the same in every process."""
    try:
        encoded = msgspec.json.encode(parts, order="deterministic")
    except UnicodeEncodeError:
        # Half a surrogate pair: no JSON, but a text that an agent's code may have all the same.
        encoded = repr(msgspec.to_builtins(parts, order="deterministic")).encode("utf-8", "backslashreplace")
    return hashlib.blake2b(encoded, digest_size=12).hexdigest()
