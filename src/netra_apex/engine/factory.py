"""`ExecutionEngineFactory.for_user`: the only way to get an engine."""

from collections.abc import Callable
from types import TracebackType

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.journal import Journal
from netra_apex.core.voices import RunEmitter
from netra_apex.engine.engine import AgentFactory, UserExecutionEngine
from netra_apex.engine.lending import EngineParts
from netra_apex.engine.limits import Slots


class EngineLease:
    """An engine for the time of an `async with`: it takes a slot, and gives it back on every way out."""

    def __init__(
        self,
        context: UserExecutionContext,
        slots: Slots,
        make: Callable[[RunEmitter], UserExecutionEngine],
        emitter: Callable[[], RunEmitter],
    ) -> None:
        self._context = context
        self._slots = slots
        self._make = make
        self._make_emitter = emitter
        self._emitter: RunEmitter | None = None
        self._taken = False

    @property
    def taken(self) -> bool:
        """Whether it has its slot."""
        return self._taken

    def reserve(self, *, counted: bool = False) -> None:
        """Takes the slot already, in one step with the decision that there is one.

        Raises:
            QueueFull: the user, or the process, has as many runs as allowed; not where that was `counted` before.
        """
        if not self._taken:
            self._slots.take(self._context.user_id, counted=counted)
            self._taken = True

    def release(self) -> None:
        """Gives the slot back; giving it back twice is as giving it back once."""
        if self._taken:
            self._taken = False
            self._slots.release(self._context.user_id)

    async def __aenter__(self) -> UserExecutionEngine:
        self.reserve()
        try:
            self._emitter = self._make_emitter()
            return self._make(self._emitter)
        except BaseException:
            self.release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._emitter is not None:
            self._emitter.close()
        self.release()


class ExecutionEngineFactory:
    """Makes engines, and holds none. Limits per user and per process are atomic (G8)."""

    def __init__(
        self,
        agent_factory: AgentFactory,
        emitter_for: Callable[[UserExecutionContext], RunEmitter],
        slots: Slots,
        parts: EngineParts,
    ) -> None:
        self._agent_factory = agent_factory
        self._emitter_for = emitter_for
        self._slots = slots
        self._parts = parts

    def for_user(
        self,
        context: UserExecutionContext,
        *,
        emitter: RunEmitter | None = None,
        journal: Journal | None = None,
    ) -> EngineLease:
        """An engine for one run: `async with factory.for_user(context) as engine`.

        `emitter` is the run's, where it has begun to tell already (it was queued); `journal` that of a run that is
        taken up.

        Raises:
            QueueFull: on entering, if the user or the process has as many runs as allowed.
        """
        return EngineLease(
            context,
            self._slots,
            lambda emitter: UserExecutionEngine(
                context, self._agent_factory, emitter, journal=journal or Journal(), parts=self._parts
            ),
            lambda: self._emitter_for(context) if emitter is None else emitter,
        )
