"""The golden path, defined once: a message that was accepted is answered, with all five events, in time.

What it takes (G2 to G4): the run is told as started, thinks aloud, tells each tool call's beginning and its end, and
completes with an answer, no later than the limit. A gap in the events needs no mark of its own: the fence stores none,
and `netra probe` looks for one from outside.

Each run that has ended is one of three:

- **good**: all of that came, in time.
- **bad**: the run failed, an event or the answer is missing, or it took too long. So is one that somebody cancelled
  after the limit was over: people give up on what hangs. And one that goes on beyond the limit is bad already.
- **excluded**: it was cancelled in time, by its user or an operator, or a budget that the operator has set ended it.
  That is what was asked for, not a failure to give it.

What counts as time is from the acceptance of the message to the run's end, without what was spent waiting for a person
(an approval, a question), and without the wait for earlier runs of the same user or thread: neither is the server's to
shorten. Waiting because the server is busy counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    AgentThinking,
    DurableEvent,
    MessageCompleted,
    ToolCompleted,
    ToolExecuting,
)

FIVE: tuple[str, ...] = ("agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed")

STARTED, THOUGHT, COMPLETED, ANSWERED = 1, 2, 4, 8  # what the run's own agent has told, as bits of `Telling.told`
_BITS = ((STARTED, "agent_started"), (THOUGHT, "agent_thinking"), (COMPLETED, "agent_completed"))

CANCELLED = "cancelled"
DONE = "completed"
_BY_RULE = frozenset({"budget_exceeded"})
# A call that a person did not want, or that ended with its run, is no tool's failure.
_NO_FAILURE = frozenset({"cancelled", "rejected", "expired"})

LATE, NOT_TOLD, NO_ANSWER = "late", "not_told", "no_answer"
SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        LATE: "it took longer than the limit",
        NOT_TOLD: "one of the five events was not told",
        NO_ANSWER: "it completed without an answer",
        CANCELLED: "it was cancelled",
        "agent_error": "the agent's code raised",
        "agent_timeout": "an agent was active for too long",
        "model_error": "the model's provider answered with an error",
        "model_unavailable": "the model could not be reached",
        "max_turns": "the agent asked its model too often",
        "tool_outcome_unknown": "nobody saw how a tool call ended",
        "nondeterministic": "the agent's code did something else after a restart",
        "budget_exceeded": "a budget did not suffice",
        "interrupted": "the server, or the program, that ran it ended",
        "recovered_too_often": "the server ended again and again at the same step",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenPath:
    """The limit in seconds, and the share of runs that are to be good."""

    seconds: float
    objective: float

    @property
    def limit_ms(self) -> int:
        """The limit in milliseconds."""
        return round(self.seconds * 1000)

    def burn_rate(self, good: int, bad: int) -> float | None:
        """How many times as fast as it may the error budget is used up; None where nothing was counted."""
        return None if not good + bad else (bad / (good + bad)) / (1 - self.objective)


@dataclass(slots=True)
class Telling:
    """What events have told of the golden path: `told` of the run's own agent, the calls of all of its agents.

    Of one run, or of a part of its events; parts are added up.
    """

    told: int = 0
    calls: int = 0
    calls_ended: int = 0
    calls_failed: int = 0
    ended_as: str | None = None
    """`completed`, `cancelled`, or the code of the failure; None where no ending was among them."""

    @classmethod
    def of(cls, events: Iterable[DurableEvent]) -> "Telling":
        """What these events tell."""
        found = cls()
        for event in events:
            found.note(event)
        return found

    def note(self, event: DurableEvent) -> None:
        """One more event."""
        match event:
            case ToolExecuting():
                self.calls += 1
            case ToolCompleted(ok=ok, error=error):
                self.calls_ended += 1
                self.calls_failed += not ok and getattr(error, "code", "error") not in _NO_FAILURE
            case _ if not event.depth:
                self._note_own(event)
            case _:
                pass

    def _note_own(self, event: DurableEvent) -> None:
        match event:
            case AgentStarted():
                self.told |= STARTED
            case AgentThinking():
                self.told |= THOUGHT
            case MessageCompleted(content=content) if content.strip():
                self.told |= ANSWERED
            case AgentCompleted(output=output):
                self.ended_as = DONE
                self.told |= COMPLETED | (0 if _says_nothing(output) else ANSWERED)
            case AgentFailed(code=code):
                self.ended_as = code
            case AgentCancelled():
                self.ended_as = CANCELLED
            case _:
                pass

    def missing(self, *, with_tool: bool = False) -> tuple[str, ...]:
        """Those of the five events that were not told; `with_tool` asks for a call, which is else none's duty."""
        absent = {name for bit, name in _BITS if not self.told & bit}
        if with_tool and not self.calls:
            absent |= {"tool_executing", "tool_completed"}
        if self.calls_ended < self.calls:
            absent.add("tool_completed")
        return tuple(name for name in FIVE if name in absent)


def _says_nothing(output: Any) -> bool:
    return output in (None, "", {}, []) or (isinstance(output, str) and not output.strip())


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run was: good where there is no `cause`; else bad, or `excluded`."""

    cause: str | None = None
    excluded: bool = False

    @property
    def good(self) -> bool:
        """Whether it went as promised."""
        return self.cause is None

    @property
    def bad(self) -> bool:
        """Whether it counts against the objective."""
        return self.cause is not None and not self.excluded


GOOD = Verdict()


def judge(ended_as: str, telling: Telling, *, late: bool) -> Verdict:
    """What a run was that has ended so, has told this, and was or was not over the limit."""
    if ended_as == CANCELLED:
        return Verdict(LATE) if late else Verdict(CANCELLED, excluded=True)
    if ended_as != DONE:
        return Verdict(ended_as, excluded=ended_as in _BY_RULE)
    if telling.missing():
        return Verdict(NOT_TOLD)
    if not telling.told & ANSWERED:
        return Verdict(NO_ANSWER)
    return Verdict(LATE) if late else GOOD


CALL_OPEN, OVERTIME = 16, 32  # beside the bits of `Telling.told`, where runs that are alike are counted together


def judge_marks(ended_as: str, marks: int) -> Verdict:
    """As `judge`, from marks: the bits of what was told, `CALL_OPEN` and `OVERTIME`."""
    telling = Telling(told=marks & (STARTED | THOUGHT | COMPLETED | ANSWERED), calls=int(bool(marks & CALL_OPEN)))
    return judge(ended_as, telling, late=bool(marks & OVERTIME))


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """A run that has ended, as its row has it, without content. Times are milliseconds since 1970, None: never.

    `waited_ms` was spent waiting for a person; `own_wait`: it first waited for other runs of its user or thread.
    """

    agent: str
    model: str | None
    ended_as: str
    telling: Telling
    accepted_at: int
    first_event_at: int | None
    started_at: int | None
    first_token_at: int | None
    ended_at: int
    waited_ms: int
    own_wait: bool
    input_tokens: int
    output_tokens: int
    cost: int | None

    @property
    def completed(self) -> bool:
        """Whether it came to its end, in time or not."""
        return self.ended_as == DONE

    @property
    def counted_ms(self) -> int:
        """The time that counts."""
        begin = (self.started_at or self.ended_at) if self.own_wait else self.accepted_at
        return self.ended_at - begin - self.waited_ms

    def verdict(self, path: GoldenPath) -> Verdict:
        """What it was."""
        return judge(self.ended_as, self.telling, late=self.counted_ms > path.limit_ms)


def sentence_of(cause: str) -> str:
    """What a cause means, for people."""
    return SENTENCES.get(cause, cause)
