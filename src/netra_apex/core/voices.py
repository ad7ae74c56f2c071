"""Who speaks in a run, as narrow protocols: a model, and what tells the user what it and the agents say.

`providers` and `stream` satisfy them; `runtime` brings them together. Nothing here has a body.
"""

from collections.abc import Awaitable, Sequence
from typing import Protocol

from netra_apex.core.budgets import Bill
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.events import DurableEvent
from netra_apex.core.journal import Step
from netra_apex.core.messages import ModelMessage, ModelRequest, Reply
from netra_apex.core.runs import RunStream


class Deltas(Protocol):
    """Where a model's answer goes while it comes. Called on the loop; each call returns at once."""

    @property
    def pace(self) -> float:
        """Seconds within which more of the answer is not shown anyway: what comes meanwhile may be told together."""
        ...

    def text(self, piece: str) -> None:
        """More of the answer's text."""
        ...

    def thinking(self, piece: str) -> None:
        """More of what the model thinks aloud."""
        ...

    def reset(self) -> None:
        """What came so far is void: the answer is asked for anew."""
        ...


class Emitter(Protocol):
    """The only writer of a run's events; bound to one run of one user."""

    def emit(self, *events: DurableEvent, steps: Sequence[Step] = ()) -> Awaitable[None]:
        """Stores the events in one transaction, then tells them. The order of calls is the order of `seq`.

        `steps` are what the journal is to know with them: all of it is stored, or nothing.

        The events are admitted at once, in the call; awaiting the answer waits until they are on disk, and a cancel
        of who awaits does not undo the storing. Who does not need to know may leave it: a failure to store is raised
        by the run's next `emit`, and ends the run.

        Raises:
            IllegalTransition: the stream may not tell this now (G3, G4); nothing was stored.
            ScopeClosed: the run has ended.
        """
        ...


class Writer(Deltas, Protocol):
    """An answer that is being written to the user."""

    def finish(self) -> str:
        """Shows what was held back, and returns the id that the answer's `message_completed` is to have."""
        ...


class Voice(Emitter, Protocol):
    """What one agent of a run tells: its events carry the agent's name and depth."""

    def writer(self, *, show: bool, key: str, anew: bool = False) -> Writer:
        """Where the model's answer of this step goes while it comes; nowhere, if it is not shown.

        `anew`: the process that had the run before may have shown some of it.
        """
        ...


class RunEmitter(Protocol):
    """A run's emitter, as the engine uses it."""

    @property
    def stream(self) -> RunStream:
        """What the run has told so far."""
        ...

    def voice(
        self, agent: str, *, depth: int = 0, parent_agent: str | None = None, parent_call_id: str | None = None
    ) -> Voice: ...

    def keep(self, transcript: Sequence[ModelMessage]) -> None:
        """Stores what later runs of the thread are to know, with whatever is emitted next."""
        ...

    def charge(self, bill: Bill) -> None:
        """Stores what the run has used, with its ending."""
        ...

    def close(self) -> None:
        """Nothing is told any more."""
        ...


class EmitterFor(Protocol):
    """Makes a run's emitter; for one that is taken up, from what it has told."""

    def __call__(self, context: UserExecutionContext, stream: RunStream | None = None) -> RunEmitter: ...


class Model(Protocol):
    """A model that can be asked. One instance serves every run of a process, so it keeps nothing of any request."""

    @property
    def name(self) -> str:
        """`provider:name`, as people write it."""
        ...

    async def complete(self, request: ModelRequest, deltas: Deltas) -> Reply:
        """The whole answer; its pieces go to `deltas` as they arrive.

        Raises:
            ModelFailed: the provider answered with an error, also after the retries.
            ModelUnavailable: it could not be reached, or is not set up.
        """
        ...

    async def check(self) -> str | None:
        """None where the provider answers, otherwise a sentence with the reason. For `doctor` and `/readyz`."""
        ...

    async def aclose(self) -> None:
        """Closes its connections."""
        ...
