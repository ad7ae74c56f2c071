"""Ending runs that nobody carries out any more: what a dead process left, and what broke."""

from collections.abc import Callable, Sequence

import structlog

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.events import DurableEvent, Ending, decode
from netra_apex.core.ports import RunEmitter, Runs
from netra_apex.core.runs import RunStream
from netra_apex.engine.engine import closing, ending_of
from netra_apex.errors import RunInterrupted, StoreError

PAGE = 500

log = structlog.get_logger()


class Recovery:
    """Takes up a run's stream where the log has it, closes what is open, and tells `agent_failed`.

    The log is the only source: whatever the process believed of the run is gone, or was wrong. An ending that cannot
    be stored now (the disk is full) is tried again by `retry`.
    """

    def __init__(self, runs: Runs, resume: Callable[[UserExecutionContext, RunStream], RunEmitter]) -> None:
        self._runs = runs
        self._resume = resume
        self._owed: dict[str, tuple[UserExecutionContext, str, Ending]] = {}

    async def end_left_over(self) -> int:
        """Ends every unfinished run in the store as `interrupted`; answers how many there were."""
        count = 0
        while runs := await self._runs.unfinished_runs(PAGE):
            for run in runs:
                context = UserExecutionContext(
                    user_id=run.user_id, thread_id=run.thread_id, run_id=run.run_id, request_id=run.run_id
                )
                await self._end(
                    context, run.agent, ending_of(RunInterrupted("the server ended while the run was under way"))
                )
            count += len(runs)
        return count

    async def end_broken(self, context: UserExecutionContext, agent: str, ending: Ending) -> None:
        """Ends a run of this process that broke; kept for `retry` where that cannot be stored."""
        if not await self._settled(context, agent, ending):
            self._owed[context.run_id] = (context, agent, ending)

    async def retry(self) -> None:
        """Tries again what could not be stored before."""
        for run_id, owed in list(self._owed.items()):
            if not await self._settled(*owed):
                return
            del self._owed[run_id]

    async def _settled(self, context: UserExecutionContext, agent: str, ending: Ending) -> bool:
        try:
            await self._end(context, agent, ending)
        except StoreError as unstored:
            log.warning("a run's ending cannot be stored yet", run_id=context.run_id, error=str(unstored))
            return False
        except Exception:
            # The run's boundary, as in the runner: the next start finds this run and ends it, and the others go on.
            log.exception("a run that broke cannot be ended", run_id=context.run_id)
        return True

    async def _end(self, context: UserExecutionContext, agent: str, ending: Ending) -> None:
        stream = RunStream()
        agent_of_run = agent
        for event in await self._told(context):
            stream.admit(event)
            if event.depth == 0:
                agent_of_run = event.agent
        if stream.status.ended:
            return
        last = closing(stream.open_calls.values(), "unknown_outcome", "nobody saw how the call ended")
        emitter = self._resume(context, stream)
        try:
            await emitter.voice(agent_of_run).emit(*last, ending)
        finally:
            emitter.close()

    async def _told(self, context: UserExecutionContext) -> Sequence[DurableEvent]:
        events: list[DurableEvent] = []
        while page := await self._runs.events(context.user_id, context.run_id, len(events), PAGE):
            events.extend(decode(body) for _, body in page)
        return events
