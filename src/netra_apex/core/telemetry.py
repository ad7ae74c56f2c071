"""What an operator is told of runs besides their log, spans and measures, as a port. What stands here tells nobody.

Why a port: agents, tool calls and model requests are told of where they happen, and OpenTelemetry is imported where an
operator wants to know, and nowhere else (`stream.telemetry`).
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.messages import NO_USAGE, Usage
from netra_apex.core.runs import Traced
from netra_apex.core.voices import Model


@dataclass(frozen=True, slots=True)
class Called:
    """A tool call that begins; `known` is False where a model asked for a tool that there is not."""

    name: str
    call_id: str
    arguments: Any
    attempt: int = 1
    known: bool = True


class Span:
    """Something that is under way; it is over when its `with` block is left."""

    __slots__ = ()

    @property
    def trace(self) -> str | None:
        """Its `traceparent`; None where nobody is told of it."""
        return None

    def ended(self, error: str | None = None, *, result: Any = None, usage: Usage = NO_USAGE) -> None:
        """How it has ended: well, or with the code of a failure."""

    def left(self, why: str) -> None:
        """It goes on elsewhere, or later: no ending."""


class Traces(Protocol):
    """Where runs stand in their traces, kept for whoever takes them up."""

    def keep_trace(self, context: UserExecutionContext, trace: str, *, epoch: int) -> Awaitable[None]:
        """This is where the run is by now; the first that is kept is what all of it is under."""
        ...  # pragma: no cover


QUIET = Span()


class Telemetry:
    """Who is told of runs; this one is nobody, and costs nothing."""

    __slots__ = ()

    def here(self) -> str | None:
        """The `traceparent` of what asks, if it has one that is to be gone on with."""
        return None

    def agent(
        self, context: UserExecutionContext, agent: str, task: Any, before: Traced | None = None
    ) -> AbstractContextManager[Span]:
        """An agent that runs, the run's own or a member; `before` is of a run that is taken up."""
        return nullcontext(QUIET)

    def call(self, context: UserExecutionContext, called: Called) -> AbstractContextManager[Span]:
        """A tool call that is carried out, or refused."""
        return nullcontext(QUIET)

    def models(self, found: Callable[[str | None], Model]) -> Callable[[str | None], Model]:
        """The same models, each request to which is told of."""
        return found
