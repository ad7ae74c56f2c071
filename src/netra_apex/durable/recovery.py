"""Runs that nobody carries out any more: taking up what a dead process left, and ending what broke."""

from collections.abc import Callable, Sequence

import structlog

from netra_apex.core.accounts import User
from netra_apex.core.budgets import Bill
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.events import AgentCancelled, CallError, DurableEvent, Ending, decode
from netra_apex.core.ids import new_id
from netra_apex.core.journal import Journal
from netra_apex.core.messages import NO_USAGE
from netra_apex.core.ports import Accounts, Approvals, Journals, Runs
from netra_apex.core.runs import Claim, Run, RunStatus, RunStream
from netra_apex.core.voices import EmitterFor
from netra_apex.engine.acting import ending_of
from netra_apex.engine.orders import Order, TakenUp
from netra_apex.engine.replies import used_in
from netra_apex.errors import RecoveredTooOften, RunInterrupted, StoreError, TakenOver

PAGE = 500
MAX_RECOVERIES = 5  # in a row, without a step that was finished: such a run most likely kills its process

log = structlog.get_logger()


class Recovery:
    """Brings runs of the store back to a process, or to their ending.

    The log and the journal are the only sources: whatever a process believed of a run is gone, or was wrong. An ending
    that cannot be stored now (the disk is full) is tried again by `retry`.
    """

    def __init__(
        self,
        runs: Runs,
        journals: Journals,
        accounts: Accounts,
        approvals: Approvals,
        emitter_for: EmitterFor,
        *,
        registered: Callable[[str], bool],
    ) -> None:
        self._runs = runs
        self._journals = journals
        self._accounts = accounts
        self._approvals = approvals
        self._emitter_for = emitter_for
        self._registered = registered
        self._owed: dict[str, tuple[UserExecutionContext, str, Ending, int]] = {}

    async def take_up(self, claim: Claim) -> Order | None:
        """The order that carries this run out from where it is; None where it cannot go on: it was ended instead."""
        run = claim.run
        user = await self._accounts.user(run.user_id)
        context = _context_of(claim, user)
        fresh = run.status is RunStatus.QUEUED and run.last_seq <= 1  # nothing but that it waits
        stream = RunStream(epoch=claim.epoch, last_seq=run.last_seq)
        if not fresh:
            stream = await self._stream(context, claim.epoch)
        try:
            ending = self._obstacle(run, claim, user)
            if ending is None:
                journal = Journal() if fresh else await self._journal(run, at_rest=claim.waited)
                taken_up = TakenUp(stream, journal)
                return Order(context, run.agent, claim.task, (), taken_up, claim.files, claim.traced)
        except StoreError as error:
            ending = ending_of(RunInterrupted(f"the run cannot be taken up: {error}"))
        await self.end_broken(context, run.agent, ending, epoch=claim.epoch)
        return None

    async def end(self, claim: Claim, ending: Ending) -> None:
        """Ends a run that nobody carries out."""
        await self.end_broken(_context_of(claim, None), claim.run.agent, ending, epoch=claim.epoch)

    async def end_broken(self, context: UserExecutionContext, agent: str, ending: Ending, *, epoch: int = 1) -> None:
        """Ends a run of this process that broke; kept for `retry` where that cannot be stored."""
        if not await self._settled(context, agent, ending, epoch):
            self._owed[context.run_id] = (context, agent, ending, epoch)

    def owes(self, run_id: str) -> bool:
        """Whether this run has an ending that could not be stored yet."""
        return run_id in self._owed

    async def retry(self) -> None:
        """Tries again what could not be stored before."""
        for run_id, owed in list(self._owed.items()):
            if not await self._settled(*owed):
                return
            del self._owed[run_id]

    async def _journal(self, run: Run, *, at_rest: bool) -> Journal:
        # The decisions last: one that is made after this finds the run waiting again, and has it taken up once more.
        steps = await self._journals.steps(run.user_id, run.run_id)
        return Journal(steps, await self._approvals.decisions(run.user_id, run.run_id), at_rest=at_rest)

    def _obstacle(self, run: Run, claim: Claim, user: User | None) -> Ending | None:
        """Why this run cannot go on, as its ending."""
        if user is not None and user.disabled:
            return AgentCancelled(by="system")
        if not claim.posted:
            return ending_of(RunInterrupted("the program that ran it has ended"))
        if not self._registered(run.agent):
            return ending_of(RunInterrupted(f"agent {run.agent} is no longer there"))
        if claim.recoveries > MAX_RECOVERIES:
            message = f"the server ended {claim.recoveries} times while this run was at the same step"
            return ending_of(RecoveredTooOften(message))
        return None

    async def _settled(self, context: UserExecutionContext, agent: str, ending: Ending, epoch: int) -> bool:
        try:
            await self._end(context, agent, ending, epoch)
        except TakenOver as gone:
            log.warning("a run is another process's by now", run_id=context.run_id, reason=str(gone))
        except StoreError as unstored:
            log.warning("a run's ending cannot be stored yet", run_id=context.run_id, error=str(unstored))
            return False
        except Exception:
            # The run's boundary, as in the runner: the next start finds this run and ends it, and the others go on.
            log.exception("a run that broke cannot be ended", run_id=context.run_id)
        return True

    async def _end(self, context: UserExecutionContext, agent: str, ending: Ending, epoch: int) -> None:
        stream = await self._stream(context, epoch)
        if stream.status.ended:
            return
        stream.cut_off = CallError("unknown_outcome", "nobody saw how the call ended")
        emitter = self._emitter_for(context, stream)
        if stream.status is not RunStatus.QUEUED:
            emitter.charge(await self._bill(context))
        try:
            await emitter.voice(agent).emit(ending)
        finally:
            emitter.close()

    async def _bill(self, context: UserExecutionContext) -> Bill:
        """What the run has used, as far as its journal can be read."""
        try:
            used = used_in(await self._journals.steps(context.user_id, context.run_id))
        except StoreError as error:
            log.warning("what a run has used is not known", run_id=context.run_id, error=str(error))
            used = NO_USAGE
        return Bill(usage=used, charged=True)

    async def _stream(self, context: UserExecutionContext, epoch: int) -> RunStream:
        """What the run has told so far."""
        stream = RunStream(epoch=epoch)
        for event in await self._told(context):
            stream.admit(event)
        return stream

    async def _told(self, context: UserExecutionContext) -> Sequence[DurableEvent]:
        events: list[DurableEvent] = []
        while page := await self._runs.events(context.user_id, context.run_id, len(events), PAGE):
            events.extend(decode(body) for _, body in page)
        return events


def _context_of(claim: Claim, user: User | None) -> UserExecutionContext:
    run = claim.run
    return UserExecutionContext(
        user_id=run.user_id,
        thread_id=run.thread_id,
        run_id=run.run_id,
        request_id=new_id("req"),
        # What was taken from the user meanwhile is gone from his runs too; what was given is not for them.
        permissions=claim.permissions if user is None else claim.permissions & user.permissions,
    )
