"""`UserExecutionEngine`: one run of one user, from its start to its one ending. The run's error boundary."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from netra_apex.agents import AgentRegistry, BaseAgent
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import MAX_CONTENT, check_text
from netra_apex.core.events import AgentCancelled, AgentCompleted, AgentFailed, AgentStarted, CallError, Ending
from netra_apex.core.journal import Journal
from netra_apex.core.messages import AssistantMessage, Attachment, ModelMessage, answered, as_said
from netra_apex.core.permissions import allows
from netra_apex.core.runs import Result, RunStatus, Traced
from netra_apex.core.telemetry import QUIET
from netra_apex.core.voices import RunEmitter, Voice
from netra_apex.engine.acting import act, ending_of, forget, let_go, made, outcome
from netra_apex.engine.lending import EngineParts, Lending
from netra_apex.engine.lent import Asked, Lent
from netra_apex.engine.scope import EngineScope
from netra_apex.engine.steering import Steering
from netra_apex.errors import AgentFailed as AgentBroke
from netra_apex.errors import AgentTimedOut, Forbidden, InvalidContext, RunFailed, ScopeClosed, StoreError
from netra_apex.tools.quiet import Quiet
from netra_apex.tools.underway import put_out

AgentFactory = Callable[[str], BaseAgent]
GRACE_SECONDS = 1.0  # how long an agent that was stopped may take to let go; G9 allows 2 s to the ending
PUT_OUT_SECONDS = 0.5  # and how long, after that, the requests and calls of tasks that it started

log = structlog.get_logger()


class UserExecutionEngine:
    """Executes one run of one user; made by `ExecutionEngineFactory.for_user`, used once, never shared.

    Whatever the agent does, returns, raises or ignores, the run ends in exactly one terminal event (G3).
    """

    def __init__(
        self,
        context: UserExecutionContext,
        agent_factory: AgentFactory,
        websocket_emitter: RunEmitter,
        *,
        journal: Journal,
        parts: EngineParts,
    ) -> None:
        self.context = context
        self._journal = journal
        self._agent_factory = agent_factory
        self._emitter = websocket_emitter
        self._parts = parts
        self._span = QUIET
        self._stop: asyncio.Future[Ending | None] = asyncio.get_running_loop().create_future()
        self._used = False
        self._waits = False
        self.traced: Traced | None = None  # where in its trace a run is that is taken up
        read = partial(parts.runs.steering, context.user_id, context.run_id)
        self._steering = Steering(read, waits=websocket_emitter.stream.epoch > 1)

    @classmethod
    def from_registry(
        cls, registry: AgentRegistry, websocket_bridge: object, user_context: UserExecutionContext
    ) -> "UserExecutionEngine":
        """An engine of the `Runtime` that runs this registry's agents, for callers that have no runtime at hand.

        It is got by `for_user` when it runs, and given back on every way out: limits hold, and one that is never run
        holds nothing. `websocket_bridge` is what such callers have in this place; it is not used: what a run tells
        reaches its user's connections by the log, and nobody else's.

        Raises:
            ConfigurationError: no `Runtime` of this process runs these agents, or more than one does.
            InvalidContext: there is no context. None is ever made up.
        """
        del websocket_bridge
        return LateEngine(registry.service.for_user, user_context)

    async def run(
        self,
        agent: str,
        task: str,
        *,
        history: tuple[ModelMessage, ...] | None = None,
        files: tuple[Attachment, ...] = (),
    ) -> Result:
        """Runs the agent on the task, to the end, and tells how it ended. A failure is a result, not an exception.

        `history` is what was said in the thread before, for a run that was accepted with it; left out, it is looked
        up, and a run that does not exist yet is made. `files` came with the task, in its thread.

        Raises:
            NotFound: there is no such agent, or the context's thread is not the user's. Nothing was told.
            Forbidden: the user lacks the agent's permission. Nothing was told.
            ScopeClosed: this engine has run already.
            StoreError: the log could not be written.
        """
        if self._used:
            raise ScopeClosed("engine", self.context.run_id)
        self._used = True
        # In a task of its own: whoever awaits this may be cancelled at any time, and again while the run ends.
        carrying = asyncio.create_task(self._told_of(agent, task, history, files))
        carrying.add_done_callback(lambda _: self._parts.servers.left(self.context.run_id))
        try:
            return await asyncio.shield(carrying)
        except asyncio.CancelledError:
            # The program that runs the engine was cancelled: the run ends, and then so does the program.
            self.cancel("system")
            await _finished(carrying)
            raise

    def cancel(self, by: str) -> None:
        """Stops the run: it ends as `agent_cancelled` within two seconds. Later calls change nothing."""
        if not self._stop.done():
            self._emitter.stream.stopped_by = by
        self._halt(AgentCancelled(by=by))

    def steer(self) -> None:
        """The run's user has said something: it is given to the agent's next model request."""
        self._steering.wake()

    def suspend(self) -> None:
        """Stops the run because the process ends, without an ending: who takes it up goes on from its last step."""
        # First of all: what is cut off now must not be told, and least of all as an end.
        self._emitter.close()
        self._halt(None)

    @property
    def waits(self) -> bool:
        """Whether it has left the run waiting for a person."""
        return self._waits

    def _wait(self, lent: Lent) -> bool:
        """Leaves the run: it does nothing but wait for a person. Whoever takes it up goes on from here."""
        if self._journal.owes:
            return False
        # One that is about to end in any other way does that.
        if not self._stop.done() and not lent.closed:
            self._waits = True
            self.suspend()
        return True

    async def _told_of(
        self, agent: str, task: str, history: tuple[ModelMessage, ...] | None, files: tuple[Attachment, ...]
    ) -> Result:
        """Carries it out, with those ids in every line of the log and in the trace."""
        structlog.contextvars.bind_contextvars(run_id=self.context.run_id, thread_id=self.context.thread_id)
        with self._parts.telemetry.agent(self.context, agent, task, self.traced) as self._span:
            return await self._carry_out(agent, task, history, files)

    async def _carry_out(
        self, agent: str, task: str, history: tuple[ModelMessage, ...] | None, files: tuple[Attachment, ...]
    ) -> Result:
        instance = made(partial(self._agent_factory, agent), self._whose)
        if isinstance(instance, BaseAgent) and not allows(self.context.permissions, instance.requires):
            raise Forbidden(f"agent {agent} needs the permission {instance.requires}")
        if history is None:
            task = self._parts.tools.redactor.text(check_text("the task", task, limit=MAX_CONTENT))
            history = await self._parts.runs.begin(self.context, agent, task, executor=self._parts.executor)
        if (trace := self._span.trace) is not None:
            # With what is told first: whoever takes the run up goes on with its trace.
            keeping = self._parts.runs.keep_trace(self.context, trace, epoch=self._emitter.stream.epoch)
            asyncio.ensure_future(keeping).add_done_callback(forget)
        began = time.perf_counter()
        voice = self._emitter.voice(agent)
        lent = self._lend(instance, voice, history, Asked(task, files))
        if self._emitter.stream.status is RunStatus.QUEUED:
            # Not awaited: text is not shown before what was told before it is stored, so the model may be asked
            # meanwhile.
            voice.emit(AgentStarted(task=task))
        if isinstance(instance, AgentBroke):
            return await self._end(lent, ending_of(instance))
        ending = await self._execute(instance, task, lent, began)
        if ending is None and self._waits:
            await put_out(lent.underway, PUT_OUT_SECONDS)
            await self._parts.park(self.context, self._emitter.stream.epoch)
            self._span.left("waiting")
            return Result(ok=False, error=CallError("waiting", "it waits for a person, and goes on by itself"))
        if ending is None:
            await put_out(lent.underway, PUT_OUT_SECONDS)
            self._span.left("interrupted")
            return Result(
                ok=False, error=CallError("interrupted", "the server stopped; the run goes on when it is back")
            )
        return await self._end(lent, ending)

    @property
    def _left(self) -> bool:
        """Whether another process is to go on with the run."""
        return self._stop.done() and self._stop.result() is None

    def _halt(self, ending: Ending | None) -> None:
        if not self._stop.done():
            self._stop.set_result(ending)

    def _lend(
        self, instance: BaseAgent | AgentBroke, voice: Voice, history: tuple[ModelMessage, ...], asked: Asked
    ) -> Lent:
        quiet = Quiet()
        lending = Lending(self._emitter, self._journal, self._parts, self._steering, quiet)
        lent = lending.lend(instance, self.context, voice, asked, history)
        quiet.on_quiet = partial(self._wait, lent)
        return lent

    async def _execute(self, instance: BaseAgent, task: str, lent: Lent, began: float) -> Ending | None:
        """The agent's run in a task of its own, and the ending that it comes to; None where it was suspended.

        The task is in no group: an agent that ignores its cancellation must not hold up the run's ending. It is
        given a moment to let go, and then finds its scope closed.
        """
        if self._stop.done():  # before it began
            return self._stop.result()
        running = asyncio.create_task(act(instance, task, EngineScope(self.context, lent)))
        limit = instance.timeout or self._parts.settings.agent_timeout_seconds
        seconds = self._seconds(limit)
        lent.ends_at = asyncio.get_running_loop().time() + seconds
        try:
            await asyncio.wait({running, self._stop}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if self._left:
                # It may have broken on what was closed in the same moment: that is no ending of its run.
                await let_go(running, lent, GRACE_SECONDS)
                return None
            if not running.done():
                await let_go(running, lent, GRACE_SECONDS)
                if self._stop.done():
                    return self._stop.result()
                return ending_of(AgentTimedOut(f"the agent was active for longer than {limit:g} s"))
        except asyncio.CancelledError:
            # The loop ends with its program, and cancels every task: this one's last act is the run's ending.
            self.cancel("system")
            await let_go(running, lent, GRACE_SECONDS)
            if (ending := self._stop.result()) is not None:
                await self._end(lent, ending)
            raise
        return self._outcome(running, lent, began)

    def _outcome(self, running: "asyncio.Task[Any]", lent: Lent, began: float) -> Ending:
        try:
            if not running.cancelled() and running.exception() is None:
                self._journal.finish()
            elif self._journal.broken is not None:
                raise self._journal.broken  # whatever the agent made of it
        except RunFailed as broken:
            return ending_of(broken)
        try:
            return outcome(running, lent, began, self._whose)
        except StoreError as error:
            # Not the agent's fault: what it told could not be stored, and neither can its ending, most likely.
            log.warning("a run cannot be told", run_id=self.context.run_id, error=str(error))
            return ending_of(error)

    async def _end(self, lent: Lent, ending: Ending) -> Result:
        """Closes what is open, and tells the ending: all in one transaction."""
        lent.close()
        await put_out(lent.underway, PUT_OUT_SECONDS)
        if isinstance(ending, AgentCompleted):
            lent.think_first("Answering.")
            lent.void_given_up()
        if isinstance(ending, AgentCompleted):
            lent.transcript += _said_last(lent.transcript, ending.output)
        self._emitter.keep(answered(lent.transcript))
        self._emitter.charge(lent.budget.bill(lent.used))
        await lent.voice.emit(ending)
        match ending:
            case AgentCompleted(output=output):
                self._span.ended(result=output, usage=lent.used)
                return Result(ok=True, output=output)
            case AgentFailed(code=code, message=message):
                self._span.ended(code, usage=lent.used)
                return Result(ok=False, error=CallError(code, message))
            case AgentCancelled(by=by):
                self._span.ended("cancelled", usage=lent.used)
                return Result(ok=False, error=CallError("cancelled", f"cancelled by {by}"))

    @property
    def _whose(self) -> dict[str, str]:
        return {"run_id": self.context.run_id, "user_id": self.context.user_id}

    def _seconds(self, limit: float) -> float:
        if self.context.deadline is None:
            return limit
        return max(0.0, min(limit, (self.context.deadline - datetime.now(UTC)).total_seconds()))


class LateEngine(UserExecutionEngine):
    """What `from_registry` gives: an engine that is got from its factory when it runs."""

    def __init__(
        self,
        for_user: Callable[[UserExecutionContext], AbstractAsyncContextManager[UserExecutionEngine]],
        context: UserExecutionContext | None,
    ) -> None:
        if not isinstance(context, UserExecutionContext):
            raise InvalidContext("user_context", context, "a run needs its user's context, which is never made up")
        self.context = context
        self._for_user = for_user
        self._used = False
        self._engine: UserExecutionEngine | None = None
        self._cancelled_by: str | None = None

    async def run(
        self,
        agent: str,
        task: str,
        *,
        history: tuple[ModelMessage, ...] | None = None,
        files: tuple[Attachment, ...] = (),
    ) -> Result:
        """As `UserExecutionEngine.run`.

        Raises:
            QueueFull: the user or the process has as many runs as allowed.
        """
        if self._used:
            raise ScopeClosed("engine", self.context.run_id)
        self._used = True
        async with self._for_user(self.context) as engine:
            self._engine = engine
            if self._cancelled_by is not None:
                engine.cancel(self._cancelled_by)
            return await engine.run(agent, task, history=history, files=files)

    def cancel(self, by: str) -> None:
        """As `UserExecutionEngine.cancel`."""
        if self._engine is not None:
            self._engine.cancel(by)
        else:
            self._cancelled_by = self._cancelled_by or by

    def steer(self) -> None:
        """As `UserExecutionEngine.steer`."""
        if self._engine is not None:
            self._engine.steer()

    def suspend(self) -> None:
        """As `UserExecutionEngine.suspend`."""
        if self._engine is not None:
            self._engine.suspend()

    @property
    def waits(self) -> bool:
        """As `UserExecutionEngine.waits`."""
        return self._engine is not None and self._engine.waits


def _said_last(transcript: list[ModelMessage], output: Any) -> list[ModelMessage]:
    """What the agent answered without a model having said it: the thread shows it, and later runs are told of it."""
    if output is None or output == "":
        return []
    said = [each.content for each in transcript if isinstance(each, AssistantMessage) and each.content]
    if said and (said[-1] == output or not isinstance(output, str)):
        return []
    return [AssistantMessage(as_said(output))]


async def _finished(task: "asyncio.Task[Any]") -> None:
    """Waits for the task, whatever else happens; it is bounded by itself."""
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    forget(task)
