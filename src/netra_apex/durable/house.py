"""`House`: what carries runs out in a process, together with what it hears of others and tells them."""

import asyncio
import contextlib
import os
import platform
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import structlog

from netra_apex.agents import AgentRegistry
from netra_apex.agents.serving import Service
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import MAX_ANSWER, MAX_NOTE, Admitted, Approval, Question, Verdict, check_text
from netra_apex.core.events import decode
from netra_apex.core.redaction import Redactor
from netra_apex.core.runs import Run, RunStream, Seat
from netra_apex.durable.peers import Peers
from netra_apex.durable.recovery import Recovery
from netra_apex.durable.reporting import Reporter
from netra_apex.durable.runner import Desk, LocalRunner
from netra_apex.durable.titles import Titles
from netra_apex.durable.watch import expire, prune, tidy, watch
from netra_apex.engine.factory import ExecutionEngineFactory
from netra_apex.engine.lending import EngineParts
from netra_apex.engine.limits import Slots
from netra_apex.errors import StoreError
from netra_apex.stores import Stores
from netra_apex.stream.emitter import UserWebSocketEmitter
from netra_apex.stream.feed import Hub
from netra_apex.stream.manager import WebSocketManager
from netra_apex.stream.meter import Meter
from netra_apex.stream.protocol import Close
from netra_apex.stream.relay import Accepted, Cancel, Left, Relay, Steer
from netra_apex.stream.vitals import Vitals, held

LAST_WORDS_SECONDS = 1.0
MARGIN_SECONDS = 1.0  # between clocks, and for what was on its way

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What a process gives its house. One that does not `execute` leaves runs to others."""

    group: asyncio.TaskGroup
    agents: AgentRegistry
    parts: EngineParts
    slots: Slots
    stores: Stores
    hub: Hub
    manager: WebSocketManager
    meter: Meter
    redactor: Redactor
    execute: bool


class House:
    """Made and started by the runtime; `runner` is what admission hands runs to, `engines` what carries them out."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._news = False
        self._executor = means.parts.executor
        self._settings = settings = means.parts.settings
        stores, agents = means.stores, means.agents
        self.engines = ExecutionEngineFactory(agents.create, self._emitter_for, means.slots, means.parts)
        self._titles = Titles(
            stores.conversations,
            lambda agent: means.parts.model(agents.get(agent).model),
            means.redactor,
            lambda: self.runner.draining,
        )
        self._recovery = Recovery(
            stores.runs,
            stores.journals,
            stores.accounts,
            stores.approvals,
            self._emitter_for,
            registered=frozenset(agents.names).__contains__,
        )
        self._relay = None if stores.bus is None else Relay(means.hub, stores.bus, self._executor)
        desk = Desk(
            runs=stores.runs,
            turns=stores.turns,
            executor=self._executor,
            per_user=settings.runs_per_user,
            executes=means.execute,
            tell_cancel=self._tell_cancel,
            tell_left=self._tell_left,
            tell_steer=self._tell_steer,
            completed=self._titles.completed if settings.titles_are_asked else lambda _: None,
        )
        self.runner = LocalRunner(self.engines, self._emitter_for, means.slots, means.group, self._recovery, desk)
        self.role = "worker"  # what it is started as; a server says that it is one
        self.vitals = Vitals()
        self._ends = False
        self._drained = False
        self.on_drained: Callable[[bool], None] = lambda _: None
        alone = stores.presence is None
        self._reporter = Reporter(stores.processes, self._executor, self._whole_room, self.figures, alone=alone)
        self._reporter.on_drain = self._drain_asked

    @property
    def seat(self) -> Seat:
        """What this process could give a run that it accepts, and the limits of its user."""
        return Seat(
            executor=self._executor if self._means.execute else None,
            per_user=self._settings.runs_per_user,
            queued_per_user=self._settings.queued_per_user,
        )

    async def start(self, stack: AsyncExitStack) -> None:
        """Meets the others, takes up what nobody carries out, and minds both until the stack is left.

        Raises:
            ConfigurationError: other processes have another secret.
            StoreError: the database does not answer.
        """
        means, stores = self._means, self._means.stores
        stores.runs.on_given = self._given
        if stores.presence is not None and self._relay is not None and stores.bus is not None:
            self._relay.on_waiting = self.runner.look
            self._relay.on_back = self._on_back
            self._relay.on_steer = lambda steer: self.runner.wake(steer.run)
            self._relay.on_cancel = lambda cancel: self.runner.halt(cancel.run, cancel.by)
            drain = self._settings.drain_seconds
            peers = Peers(stores.presence, self._whole_room, drain_seconds=drain, on_left=self._left_behind)
            await peers.enter()
            self._relay.alone = lambda: peers.alone
            self._mind(stack, peers.run())
            self._mind(stack, stores.bus.run())
            self._mind(stack, self._relay.run())
        else:
            # Nobody else is on this database: whatever is somebody's is a dead process's.
            for gone in await stores.turns.executors() | await stores.processes.known():
                count = await stores.turns.leave_all_of(gone)
                await stores.processes.lost(gone, count)
                log.warning("runs of the process before go on", count=count)
            self._mind(stack, tidy(means.hub))

        async def close_ended_logins() -> None:
            if here := means.manager.sessions():
                for session_id in here - await stores.accounts.live_sessions():
                    means.manager.close_session(session_id)

        stores.runs.on_ended = lambda ended: means.meter.count_end(ended, stores.service.path)
        await self._reporter.enter()
        stores.administration.on_changed = self._administered
        self._mind(stack, self._reporter.run())
        self._mind(stack, self.vitals.run())
        self._mind(stack, watch(self._changed, close_ended_logins, stores.runs, self.runner, self._recovery))
        self._mind(stack, expire(stores.approvals, self._left_behind))
        self._mind(stack, prune(stores.runs, self._settings.retention_days))
        self._mind(stack, self._titles.run())
        self._mind(stack, self.runner.take_turns())
        if means.execute:
            used, compat = means.meter.count_old_name, self._settings.compat
            service = Service(for_user=self.engines.for_user, compat=compat, used=used)
            stack.enter_context(means.agents.served(service))
        self.runner.look()

    def accepted(self, context: UserExecutionContext, admitted: Admitted) -> None:
        """A run was accepted here: those who follow it are told, and where it waits, whoever has room."""
        hub, run_id = self._means.hub, context.run_id
        if not admitted.started:
            hub.announce(context.user_id, context.thread_id, run_id)
            feed = hub.live(context.user_id, run_id)
            if admitted.queued is not None:
                self._means.meter.count(decode(admitted.queued))
                if feed is not None:
                    feed.publish([(1, admitted.queued)])
            self.runner.look()
        if self._relay is not None:
            by, waits = self._executor, not admitted.started
            self._relay.tell(Accepted(by, context.user_id, context.thread_id, run_id, waits=waits))

    def _given(self, user_id: str, thread_id: str, run_id: str) -> None:
        """A run was made here for a message that came too late for another: it waits for its turn."""
        self._means.hub.announce(user_id, thread_id, run_id)
        self.runner.look()
        if self._relay is not None:
            self._relay.tell(Accepted(self._executor, user_id, thread_id, run_id, waits=True))

    async def drain(self) -> None:
        """Lets running runs end within NETRA_DRAIN_SECONDS, leaves the rest to others, closes the sockets."""
        self._ends = True
        left = await self.runner.drain(self._settings.drain_seconds, self._means.stores.database.give_up_soon)
        await self._reporter.leave(left)
        await self._say_last_words()
        self._means.manager.close_all(Close.COME_BACK)

    @property
    def meter(self) -> Meter:
        """What this process has counted."""
        return self._means.meter

    async def metrics(self) -> Mapping[str, float | Mapping[str, float]]:
        """Gauges by name, and counters by name and label."""
        means = self._means
        return {
            "runs_active": means.slots.total,
            "connections": len(means.manager),
            "loop_lag_seconds": self.vitals.lag(time.monotonic(), 60),
            "loop_stalls_total": self.vitals.stalls,
            "events_total": dict(means.meter.events),
            "runs_total": dict(means.meter.endings),
            "compat_uses_total": {"ExecutionEngine": 0} | means.meter.old_names,
        }

    def _emitter_for(self, context: UserExecutionContext, stream: RunStream | None = None) -> UserWebSocketEmitter:
        means = self._means
        return UserWebSocketEmitter(context, means.stores.runs, means.hub, means.redactor, means.meter, stream)

    async def _say_last_words(self) -> None:
        """Waits until others have been told what this process has to tell; not for long."""
        if self._means.stores.bus is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_SECONDS):
                    await asyncio.sleep(0)  # what is gathered in this turn of the loop is sent with the next
                    await self._means.stores.bus.flush()

    @property
    def executor(self) -> str:
        """The name of this process."""
        return self._executor

    def figures(self) -> dict[str, Any]:
        """What operators are told of this process: numbers, and nobody's name."""
        means, now = self._means, time.monotonic()
        return {
            "version": version("netra-apex"),
            "role": self.role,
            "host": platform.node(),
            "pid": os.getpid(),
            "executes": means.execute,
            "draining": self.runner.draining,
            "runs": self.runner.live,
            "connections": len(means.manager),
            "streams": means.manager.streams,
            "feeds": len(means.hub),
            "lag_ms": round(1000 * self.vitals.lag(now, 1), 1),
            "worst_lag_ms": round(1000 * self.vitals.lag(now, 60), 1),
            "stalls": self.vitals.stalls,
            "longest_stall_ms": round(1000 * self.vitals.longest_stall),
            "failed": means.meter.failures(),
            **held(),
        }

    def _drain_asked(self, drain: bool) -> None:  # noqa: FBT001 - what the reporter calls, with what it heard
        """An administrator has this process take no new work, or take some again. What runs here goes on."""
        if self._ends or drain is self._drained:
            return
        self._drained = self.runner.draining = drain
        log.info("an administrator drains this process" if drain else "this process takes work again")
        self.on_drained(drain)
        if not drain:
            self.runner.look()

    def _administered(self) -> None:
        self._news = True
        self._reporter.look()

    async def _changed(self) -> bool:
        """Whether another process has written, or an administrator has done something here: others are to be told."""
        news, self._news = self._news, False
        return await self._means.stores.database.changed_elsewhere() or news

    def _whole_room(self) -> int:
        return self._means.slots.per_process if self._means.execute and not self.runner.draining else 0

    def _on_back(self, seconds: float) -> None:
        """Runs may have been accepted elsewhere that nobody here was told of."""
        self._means.group.create_task(self._look_for_missed(seconds + MARGIN_SECONDS))

    async def _look_for_missed(self, seconds: float) -> None:
        self.runner.look()
        hub, turns = self._means.hub, self._means.stores.turns
        try:
            for user_id, thread_id in hub.watched():
                for run_id in await turns.recent(user_id, thread_id, seconds):
                    hub.announce(user_id, thread_id, run_id, base=None)
        except StoreError as error:
            log.warning("the database does not answer", error=str(error))  # it is gone again, and comes back again

    async def decide(
        self, user_id: str, approval_id: str, verdict: Verdict, note: str | None, *, may: frozenset[str] | None = None
    ) -> Approval:
        """Decides on a call that waits for its user, once; its run goes on wherever there is room.

        `may` are the permissions of whoever decides, which may be fewer than the user's: those of an API key. None is
        the user himself.

        Raises:
            NotFound: the user has no such approval.
            Forbidden: the run may what whoever decides may not.
            AlreadyDecided: it was decided before, has expired, or its run has ended.
            Invalid: the note is no text, or too long.
        """
        note = self._means.redactor.text(check_text("note", note, limit=MAX_NOTE)) if note and note.strip() else None
        decided = await self._means.stores.approvals.decide(user_id, approval_id, verdict, note, may=may)
        self._left_behind()
        return decided

    async def answer(
        self, user_id: str, question_id: str, content: str, *, may: frozenset[str] | None = None
    ) -> Question:
        """Answers a question of a run, once; its run goes on wherever there is room.

        As of any message, what is stored, and what the agent is given, has no secrets in it. `may` is as in `decide`.

        Raises:
            NotFound: the user has no such question.
            Forbidden: the run may what whoever answers may not.
            AlreadyDecided: it was answered before, has expired, or its run has ended.
            Invalid: the answer is no text, empty, or too long.
        """
        said = self._means.redactor.text(check_text("content", content, limit=MAX_ANSWER))
        question = await self._means.stores.questions.answer(user_id, question_id, said, may=may)
        self._left_behind()
        return question

    async def park(self, context: UserExecutionContext, epoch: int) -> None:
        """Leaves a run that waits for a person."""
        if not await self._means.stores.approvals.park(context.user_id, context.run_id, epoch):
            self._left_behind()

    def _mind(self, stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
        stack.callback(self._means.group.create_task(work).cancel)

    def _left_behind(self) -> None:
        """A dead process's runs wait: here, and wherever else there is room."""
        self.runner.look()
        self._tell_left()

    def _tell_left(self) -> None:
        if self._relay is not None:
            self._relay.tell(Left(self._executor))

    def _tell_steer(self, run_id: str) -> None:
        if self._relay is not None:
            self._relay.tell(Steer(run_id))

    def _tell_cancel(self, run: Run, by: str) -> None:
        if self._relay is not None:
            self._relay.tell(Cancel(run.run_id, by))
