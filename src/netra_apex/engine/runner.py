"""Carrying runs out in this process: `Runner` is the port, `LocalRunner` the one that needs nothing but the process.

A run that was accepted is in the store before it is handed over, so a runner may be replaced by one that survives the
process: the port speaks of orders and run ids, never of tasks.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.events import AgentCancelled, AgentFailed, Ending, RunQueued
from netra_apex.core.messages import ModelMessage
from netra_apex.core.ports import RunEmitter
from netra_apex.engine.engine import UserExecutionEngine, ending_of
from netra_apex.engine.factory import EngineLease, ExecutionEngineFactory
from netra_apex.engine.limits import Place, Schedule, Slots
from netra_apex.engine.recovery import Recovery

log = structlog.get_logger()

_STOPPED_BEFORE = AgentFailed(
    code="interrupted", message="the server stopped before the run's turn came", retryable=True
)


@dataclass(frozen=True, slots=True)
class Order:
    """An accepted run, to be carried out. `history` is what was said in its thread when it was accepted."""

    context: UserExecutionContext
    agent: str
    task: str
    history: tuple[ModelMessage, ...]

    @property
    def place(self) -> Place:
        """Where it stands in the schedule."""
        return Place(self.context.user_id, self.context.thread_id, self.context.run_id)


class Runner(Protocol):
    """What carries accepted runs out."""

    def enter(self, place: Place) -> None:
        """Takes a place for a run that is about to be accepted. Raises: QueueFull."""
        ...

    def leave(self, place: Place) -> None:
        """Gives the place back: the run was not accepted."""
        ...

    def start(self, order: Order) -> bool:
        """Carries out an accepted run, now (True) or in its turn (False)."""
        ...

    def cancel(self, run_id: str, by: str) -> asyncio.Event | None:
        """Stops a run; the answer is set once it has ended. None: this runner does not have it."""
        ...


@dataclass(slots=True)
class _Live:
    """A run that this process has, from its order to its ending.

    `asked_in` is the context of who posted it: a run that waited is started by the end of another user's run, whose
    request's variables (a trace, a bound logger) are not its own.
    """

    order: Order
    emitter: RunEmitter
    lease: EngineLease
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    engine: UserExecutionEngine | None = None
    waited: bool = False
    halted: AgentCancelled | AgentFailed | None = None
    asked_in: contextvars.Context = field(default_factory=contextvars.copy_context)


class LocalRunner:
    """Runs in this process, users in turn, within the limits. See `Runner`."""

    def __init__(
        self,
        engines: ExecutionEngineFactory,
        emitter_for: Callable[[UserExecutionContext], RunEmitter],
        slots: Slots,
        group: asyncio.TaskGroup,
        recovery: Recovery,
        *,
        queued_per_user: int,
    ) -> None:
        self._engines = engines
        self._emitter_for = emitter_for
        self._group = group
        self._recovery = recovery
        self._schedule = Schedule(slots, queued_per_user=queued_per_user)
        self._live: dict[str, _Live] = {}
        self._unstarted: set[str] = set()  # of those, who wait; empty most of the time, and then nobody is looked for
        self._reasons: dict[str, str | None] = {}
        self._draining = False
        slots.on_release(self._start_next)

    @property
    def queued(self) -> int:
        """Runs that wait."""
        return len(self._schedule)

    @property
    def live(self) -> int:
        """Runs that this process has, waiting ones included."""
        return len(self._live)

    def enter(self, place: Place) -> None:
        """See `Runner.enter`."""
        self._reasons[place.run_id] = self._schedule.enter(place)

    def leave(self, place: Place) -> None:
        """See `Runner.leave`."""
        self._reasons.pop(place.run_id, None)
        self._schedule.leave(place)
        self._start_next()

    def start(self, order: Order) -> bool:
        """See `Runner.start`."""
        emitter = self._emitter_for(order.context)
        run = _Live(order, emitter, self._engines.for_user(order.context, emitter=emitter))
        self._live[order.context.run_id] = run
        self._unstarted.add(order.context.run_id)
        reason = self._reasons.pop(order.context.run_id, None)
        if self._draining:
            # It was being accepted when the drain began.
            self._halt(run, _STOPPED_BEFORE)
            return False
        self._start_next()
        run.waited = not run.lease.taken
        if run.waited:
            emitter.voice(order.agent).emit(RunQueued(reason=reason or "other runs are before it"))
        return run.lease.taken

    def cancel(self, run_id: str, by: str) -> asyncio.Event | None:
        """See `Runner.cancel`."""
        run = self._live.get(run_id)
        if run is None:
            return None
        self._halt(run, AgentCancelled(by=by))
        return run.ended

    async def drain(self, seconds: float) -> None:
        """Lets running runs end for so long, then ends the rest as interrupted; waiting ones at once."""
        self._draining = True
        for run in list(self._live.values()):
            if not run.lease.taken:
                self._halt(run, _STOPPED_BEFORE)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_ended()
        for run in list(self._live.values()):
            self._halt(run, _STOPPED_BEFORE)
        await self._all_ended()

    async def _all_ended(self) -> None:
        while self._live:
            await next(iter(self._live.values())).ended.wait()

    def _halt(self, run: _Live, ending: AgentCancelled | AgentFailed) -> None:
        if run.halted is not None:
            return
        run.halted = ending
        if run.engine is not None:
            _stop(run.engine, ending)
        elif not run.lease.taken:
            self._schedule.leave(run.order.place)
            self._unstarted.discard(run.order.place.run_id)
            self._group.create_task(self._end_unstarted(run, ending))

    def _start_next(self) -> None:
        if self._draining:
            return
        while self._unstarted and (place := self._schedule.start_next(self._unstarted)) is not None:
            self._unstarted.discard(place.run_id)
            run = self._live[place.run_id]
            run.lease.reserve()
            self._group.create_task(self._carry_out(run), context=run.asked_in)

    async def _carry_out(self, run: _Live) -> None:
        order = run.order
        try:
            async with run.lease as engine:
                run.engine = engine
                if run.halted is not None:
                    _stop(engine, run.halted)
                # One that waited asks again: the runs that it waited for have said something meanwhile.
                await engine.run(order.agent, order.task, history=None if run.waited else order.history)
        except Exception as error:
            # The run's boundary: whatever went wrong, the run must end (G3), and the other runs go on.
            log.exception("run broke", run_id=order.context.run_id)
            # What it was told to end as goes before what came in its way.
            await self._recovery.end_broken(order.context, order.agent, run.halted or ending_of(error))
        finally:
            self._schedule.leave(order.place)
            self._gone(run)

    async def _end_unstarted(self, run: _Live, ending: Ending) -> None:
        try:
            await run.emitter.voice(run.order.agent).emit(ending)
        except Exception:
            # As above: whatever went wrong, the run must end.
            log.exception("run broke", run_id=run.order.context.run_id)
            await self._recovery.end_broken(run.order.context, run.order.agent, ending)
        finally:
            run.emitter.close()
            self._gone(run)

    def _gone(self, run: _Live) -> None:
        self._live.pop(run.order.context.run_id, None)
        run.ended.set()
        self._start_next()


def _stop(engine: UserExecutionEngine, ending: AgentCancelled | AgentFailed) -> None:
    if isinstance(ending, AgentCancelled):
        engine.cancel(ending.by)
    else:
        engine.interrupt()
