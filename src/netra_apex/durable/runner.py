"""`LocalRunner`: carries runs out in this process, those that it accepted and those that wait (port: `engine.orders`).

What waits stands in the store, and whose turn it is is decided there (`core.ports.Turns`); here is only the order
of the users who wait: they come in turn (G8).
"""

import asyncio
import contextlib
import contextvars
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from netra_apex.core.events import AgentCancelled
from netra_apex.core.journal import Journal
from netra_apex.core.ports import Runs, Turns
from netra_apex.core.runs import Claim, Run
from netra_apex.core.voices import EmitterFor, RunEmitter
from netra_apex.durable.recovery import Recovery
from netra_apex.engine.acting import ending_of
from netra_apex.engine.engine import UserExecutionEngine
from netra_apex.engine.factory import EngineLease, ExecutionEngineFactory
from netra_apex.engine.limits import Slots
from netra_apex.engine.orders import Order
from netra_apex.errors import StoreError, TakenOver

AGAIN_SECONDS = 0.5  # after a look at who waits that the database did not answer

log = structlog.get_logger()


@dataclass(slots=True)
class _Live:
    """A run that this process has, from its order to its ending."""

    order: Order
    emitter: RunEmitter
    lease: EngineLease
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    engine: UserExecutionEngine | None = None
    halted: AgentCancelled | None = None
    suspended: bool = False
    steered: bool = False

    @property
    def epoch(self) -> int:
        return self.emitter.stream.epoch


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    """Where a runner finds what there is to do: the table of runs, and by which name and limits it takes from it.

    `tell_cancel` tells other processes that a run of theirs is to be stopped, `tell_steer` that its user has said
    something to it, `tell_left` that some wait which this one has left.
    """

    runs: Runs
    turns: Turns
    executor: str
    per_user: int
    executes: bool
    tell_cancel: Callable[[Run, str], None]
    tell_left: Callable[[], None]
    tell_steer: Callable[[str], None]
    completed: Callable[[Order], None] = lambda _: None


class LocalRunner:
    """Runs in this process, users in turn, within the limits. See `Runner`."""

    def __init__(
        self,
        engines: ExecutionEngineFactory,
        emitter_for: EmitterFor,
        slots: Slots,
        group: asyncio.TaskGroup,
        recovery: Recovery,
        desk: Desk,
    ) -> None:
        self._engines = engines
        self._emitter_for = emitter_for
        self._slots = slots
        self._group = group
        self._recovery = recovery
        self._desk = desk
        self._live: dict[str, _Live] = {}
        self._reserved = 0
        self._too_early: dict[str, AgentCancelled] = {}
        self._ending = 0
        self._doubted: set[tuple[str, int]] = set()
        self.draining = False
        self._ring = _Ring()
        self._some_wait = True  # as far as is known here
        self._news = asyncio.Event()
        slots.on_release(self._freed)

    @property
    def live(self) -> int:
        """Runs that this process has."""
        return len(self._live)

    def reserve(self) -> bool:
        """See `Runner.reserve`."""
        if self.draining or not self._desk.executes or self._room <= 0:
            return False
        self._reserved += 1
        return True

    def free(self) -> None:
        """See `Runner.free`."""
        self._unreserve()
        self._freed()

    def start(self, order: Order) -> None:
        """See `Runner.start`."""
        self._begin(order, contextvars.copy_context())
        self._unreserve()

    def look(self) -> None:
        """See `Runner.look`."""
        self._some_wait = True
        self._news.set()

    async def cancel(self, run: Run, by: str) -> asyncio.Event | None:
        """See `Runner.cancel`."""
        live = self._live.get(run.run_id)
        if live is None:
            # Asked for in the store, so that whoever has it, or takes it up, finds it; and ended here if it waits.
            await self._desk.runs.request_cancel(run.run_id, by)
            if await self._ended_here(run, by):
                return None
            live = self._live.get(run.run_id)
        if live is None:
            if self._reserved:
                self._too_early[run.run_id] = AgentCancelled(by=by)  # it may be about to begin here
            self._desk.tell_cancel(run, by)
            return None
        self._halt(live, AgentCancelled(by=by))
        return live.ended

    def steer(self, run_id: str) -> None:
        """See `Runner.steer`."""
        if not self.wake(run_id):
            self._desk.tell_steer(run_id)

    def wake(self, run_id: str) -> bool:
        """Has a run hear what its user has said to it, if this process has it."""
        live = self._live.get(run_id)
        if live is not None:
            live.steered = True
            if live.engine is not None:
                live.engine.steer()
        return live is not None

    def halt(self, run_id: str, by: str) -> None:
        """Cancels a run, if this process has it."""
        if (live := self._live.get(run_id)) is not None:
            self._halt(live, AgentCancelled(by=by))

    async def compare(self) -> None:
        """Lets go of what the table of runs says is another's by now, and of what is here in the table alone.

        The first is for a process that was away for so long that it was taken for dead; the second for runs whose
        claim was stored while the answer to it was lost.

        Raises:
            StoreError: the database does not answer.
        """
        before = {(run_id, live.epoch) for run_id, live in self._live.items()}
        held = {(run_id, epoch): user_id for user_id, run_id, epoch in await self._desk.turns.held(self._desk.executor)}
        # Twice in a row: one that ends in this moment stands in nobody's name either.
        for run_id, epoch in (before - held.keys()) & self._doubted:
            if (live := self._live.get(run_id)) is not None and live.epoch == epoch:
                log.warning("a run is another process's by now", run_id=run_id)
                self._suspend(live)
        self._doubted = before - held.keys()
        if self._reserved or self._ending:
            return  # what is being accepted, or taken up, stands there before it is here
        for (run_id, epoch), user_id in held.items():
            if run_id not in self._live and not self._recovery.owes(run_id):
                log.warning("a run that nobody carries out is left to others", run_id=run_id)
                await self._desk.turns.leave(user_id, run_id, epoch, self._desk.executor)

    async def drain(self, seconds: float, hurry: Callable[[], None]) -> int:
        """Lets running runs end for so long, then suspends the rest, for who takes them up; how many these are.

        `hurry` is called in between: from then on the process is to end soon.
        """
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_ended()
        hurry()
        left = list(self._live.values())
        for run in left:
            self._suspend(run)
        await self._all_ended()
        self._desk.tell_left()
        return len(left)

    async def take_turns(self) -> None:
        """Starts what waits while there is room, whenever there may be something; until it is cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._take_all()
            except StoreError as error:
                log.warning("the database does not answer", error=str(error))
                await asyncio.sleep(AGAIN_SECONDS)
                self.look()
            except Exception:
                # A fault in looking must not end the group that every run is in; the next look finds what waits.
                log.exception("a look at what waits failed")

    @property
    def _room(self) -> int:
        return self._slots.room - self._reserved

    async def _take_all(self) -> None:
        """A run of each user who waits, users in turn, until there is no room or nobody's turn."""
        while self._some_wait and self._room > 0 and not self.draining and self._desk.executes:
            waiting = await self._desk.turns.waiting()
            if not waiting:
                self._some_wait = self._news.is_set()
                return
            able = [user_id for user_id, taken in waiting if taken < self._desk.per_user]
            took = False
            for user_id in self._ring.in_turn(able):
                if self._room <= 0 or self.draining:
                    return
                took = await self._take(user_id) or took
            if not took:
                return

    async def _take(self, user_id: str) -> bool:
        self._reserved += 1
        try:
            claim = await self._desk.turns.take(user_id, self._desk.executor, per_user=self._desk.per_user)
            if claim is None:
                return False
            self._ring.note(user_id)
            await self._carry_on(claim)
            return True
        finally:
            self._unreserve()

    def _unreserve(self) -> None:
        self._reserved -= 1
        if not self._reserved:
            # Nothing is about to begin any more that a cancel could have come too early for.
            self._too_early.clear()

    async def _carry_on(self, claim: Claim) -> None:
        if (old := self._live.get(claim.run.run_id)) is not None:
            # It was taken from this process, which was away, and has come back to it.
            self._suspend(old)
            await old.ended.wait()
        order = await self._recovery.take_up(claim)
        if order is not None:
            # Whatever made room for it, most likely another user's run, has variables (a trace, a bound logger) that
            # are not its own.
            self._begin(order, contextvars.Context())

    def _begin(self, order: Order, asked_in: contextvars.Context) -> None:
        before = order.taken_up
        stream, journal = (None, Journal()) if before is None else (before.stream, before.journal)
        emitter = self._emitter_for(order.context, stream)
        run = _Live(order, emitter, self._engines.for_user(order.context, emitter=emitter, journal=journal))
        self._live[order.context.run_id] = run
        run.lease.reserve(counted=True)
        run.halted = self._too_early.pop(order.context.run_id, None)
        if self.draining:
            run.suspended = True  # it was being accepted, or taken, when the drain began
        self._group.create_task(self._carry_out(run), context=asked_in)

    def _halt(self, run: _Live, ending: AgentCancelled) -> None:
        if run.halted is not None or run.suspended:
            return
        run.halted = ending
        if run.engine is not None:
            run.engine.cancel(ending.by)

    def _suspend(self, run: _Live) -> None:
        """Leaves a run as it is in the store, for whoever takes it up."""
        if run.halted is not None or run.suspended:
            return
        run.suspended = True
        if run.engine is not None:
            run.engine.suspend()

    async def _carry_out(self, run: _Live) -> None:
        order = run.order
        try:
            async with run.lease as engine:
                run.engine = engine
                if run.suspended:
                    return
                if run.halted is not None:
                    engine.cancel(run.halted.by)
                if run.steered:
                    engine.steer()
                history = order.history if order.taken_up is None else None
                engine.traced = order.traced
                result = await engine.run(order.agent, order.task, history=history, files=order.files)
            if result.ok:
                self._desk.completed(order)
            if engine.waits and run.halted is not None:
                await self._end_left(run, run.halted)
        except TakenOver as gone:
            # This process was away for so long that another took the run up: what it would have told is void.
            log.warning("a run is another process's by now", run_id=order.context.run_id, reason=str(gone))
        except StoreError as error:
            log.warning("a run broke as it could not be stored", run_id=order.context.run_id, error=str(error))
            await self._end_broken(run, error)
        except Exception as error:
            # The run's boundary: whatever went wrong, the run must end (G3), and the other runs go on.
            log.exception("run broke", run_id=order.context.run_id)
            await self._end_broken(run, error)
        finally:
            if run.suspended:
                await self._leave(run)
            if self._live.get(order.context.run_id) is run:  # one that was left waiting may be taken up already
                del self._live[order.context.run_id]
            run.ended.set()
            if run.steered:
                self.look()  # what came too late for it has a run of its own

    async def _end_broken(self, run: _Live, error: Exception) -> None:
        if not run.suspended:
            # What it was told to end as goes before what came in its way.
            order, ending = run.order, run.halted or ending_of(error)
            await self._recovery.end_broken(order.context, order.agent, ending, epoch=run.epoch)

    async def _ended_here(self, run: Run, by: str) -> bool:
        """Ends a run that waits."""
        self._ending += 1
        try:
            claim = await self._desk.turns.claim(run.user_id, run.run_id, self._desk.executor)
            if claim is None:
                return False
            await self._recovery.end(claim, AgentCancelled(by=by))
            return True
        finally:
            self._ending -= 1

    async def _end_left(self, run: _Live, ending: AgentCancelled) -> None:
        """It was cancelled in the very moment in which it was left waiting for a person."""
        context = run.order.context
        await self._desk.runs.request_cancel(context.run_id, ending.by)  # for whoever may have taken it up by now
        await self._recovery.end_broken(context, run.order.agent, ending, epoch=run.epoch)
        if (again := self._live.get(context.run_id)) is not None and again is not run:
            self._halt(again, ending)

    async def _leave(self, run: _Live) -> None:
        run.emitter.close()
        try:
            context = run.order.context
            await self._desk.turns.leave(context.user_id, context.run_id, run.epoch, self._desk.executor)
        except StoreError as error:
            # Who starts next, or a peer, finds that this process has ended.
            log.warning("a run could not be left to others", run_id=run.order.context.run_id, error=str(error))

    async def _all_ended(self) -> None:
        while self._live:
            await next(iter(self._live.values())).ended.wait()

    def _freed(self) -> None:
        if self._some_wait:
            self._news.set()


class _Ring:
    """Users who wait, in turn: whoever came, or was served, longest ago is next. Nobody is passed twice by another."""

    def __init__(self) -> None:
        self._users: OrderedDict[str, None] = OrderedDict()

    def note(self, user_id: str) -> None:
        """This user has been served now."""
        if user_id in self._users:
            self._users.move_to_end(user_id)

    def in_turn(self, users: Iterable[str]) -> list[str]:
        """These users in their turn; others are forgotten: they do not wait."""
        waiting = dict.fromkeys(users)
        for gone in [user_id for user_id in self._users if user_id not in waiting]:
            del self._users[gone]
        for user_id in waiting:
            self._users.setdefault(user_id)
        return list(self._users)
