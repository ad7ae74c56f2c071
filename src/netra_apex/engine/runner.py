"""`LocalRunner`: carries runs out in this process, and needs nothing but the process (port: `engine.orders.Runner`)."""

import asyncio
import contextlib
import contextvars
from dataclasses import dataclass, field

import structlog

from netra_apex.core.events import AgentCancelled, Ending, RunQueued
from netra_apex.core.journal import Journal
from netra_apex.core.ports import EmitterFor, RunEmitter
from netra_apex.engine.engine import UserExecutionEngine, ending_of
from netra_apex.engine.factory import EngineLease, ExecutionEngineFactory
from netra_apex.engine.limits import Place, Schedule, Slots
from netra_apex.engine.orders import Order
from netra_apex.engine.recovery import Recovery

log = structlog.get_logger()


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
    halted: AgentCancelled | None = None
    suspended: bool = False
    asked_in: contextvars.Context = field(default_factory=contextvars.copy_context)


class LocalRunner:
    """Runs in this process, users in turn, within the limits. See `Runner`."""

    def __init__(
        self,
        engines: ExecutionEngineFactory,
        emitter_for: EmitterFor,
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
        emitter, journal = self._parts_of(order)
        run = _Live(order, emitter, self._engines.for_user(order.context, emitter=emitter, journal=journal))
        self._live[order.context.run_id] = run
        self._unstarted.add(order.context.run_id)
        reason = self._reasons.pop(order.context.run_id, None)
        if self._draining:
            # It was being accepted when the drain began.
            self._suspend(run)
            return False
        self._start_next()
        run.waited = not run.lease.taken
        if run.waited and not emitter.stream.last_seq:
            emitter.voice(order.agent).emit(RunQueued(reason=reason or "other runs are before it"))
        return run.lease.taken

    def take_up(self, order: Order) -> None:
        """See `Runner.take_up`."""
        self._schedule.enter(order.place, limited=False)
        self.start(order)

    def cancel(self, run_id: str, by: str) -> asyncio.Event | None:
        """See `Runner.cancel`."""
        run = self._live.get(run_id)
        if run is None:
            return None
        self._halt(run, AgentCancelled(by=by))
        return run.ended

    async def drain(self, seconds: float) -> None:
        """Lets running runs end for so long, then suspends the rest; waiting ones at once."""
        self._draining = True
        for run in list(self._live.values()):
            if not run.lease.taken:
                self._suspend(run)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_ended()
        for run in list(self._live.values()):
            self._suspend(run)
        await self._all_ended()

    async def _all_ended(self) -> None:
        while self._live:
            await next(iter(self._live.values())).ended.wait()

    def _parts_of(self, order: Order) -> tuple[RunEmitter, Journal]:
        if order.taken_up is None:
            return self._emitter_for(order.context), Journal()
        before = order.taken_up
        return self._emitter_for(order.context, before.stream), before.journal

    def _halt(self, run: _Live, ending: AgentCancelled) -> None:
        if run.halted is not None or run.suspended:
            return
        run.halted = ending
        if run.engine is not None:
            run.engine.cancel(ending.by)
        elif not run.lease.taken:
            self._schedule.leave(run.order.place)
            self._unstarted.discard(run.order.place.run_id)
            self._group.create_task(self._end_unstarted(run, ending))

    def _suspend(self, run: _Live) -> None:
        """Leaves a run as it is in the store, for whoever takes it up."""
        if run.halted is not None or run.suspended:
            return
        run.suspended = True
        if run.engine is not None:
            run.engine.suspend()
        elif not run.lease.taken:
            self._schedule.leave(run.order.place)
            self._unstarted.discard(run.order.place.run_id)
            run.emitter.close()
            self._gone(run)

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
                if run.suspended:
                    return
                if run.halted is not None:
                    engine.cancel(run.halted.by)
                # One that waited asks again: the runs that it waited for have said something meanwhile.
                known = None if run.waited or order.taken_up is not None else order.history
                await engine.run(order.agent, order.task, history=known)
        except Exception as error:
            # The run's boundary: whatever went wrong, the run must end (G3), and the other runs go on.
            log.exception("run broke", run_id=order.context.run_id)
            if run.suspended:
                return
            # What it was told to end as goes before what came in its way.
            await self._recovery.end_broken(
                order.context, order.agent, run.halted or ending_of(error), epoch=run.emitter.stream.epoch
            )
        finally:
            self._schedule.leave(order.place)
            self._gone(run)

    async def _end_unstarted(self, run: _Live, ending: Ending) -> None:
        try:
            await run.emitter.voice(run.order.agent).emit(ending)
        except Exception:
            # As above: whatever went wrong, the run must end.
            log.exception("run broke", run_id=run.order.context.run_id)
            await self._recovery.end_broken(run.order.context, run.order.agent, ending, epoch=run.emitter.stream.epoch)
        finally:
            run.emitter.close()
            self._gone(run)

    def _gone(self, run: _Live) -> None:
        self._live.pop(run.order.context.run_id, None)
        run.ended.set()
        self._start_next()
