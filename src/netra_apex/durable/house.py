"""`House`: what carries runs out in a process, together with what it hears of others and tells them."""

import asyncio
from collections.abc import Collection, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import structlog

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import Admitted
from netra_apex.core.events import decode
from netra_apex.core.ports import EmitterFor
from netra_apex.core.runs import Run, Seat
from netra_apex.durable.peers import Peers
from netra_apex.durable.recovery import Recovery
from netra_apex.durable.runner import Desk, LocalRunner
from netra_apex.durable.watch import watch
from netra_apex.engine.factory import ExecutionEngineFactory
from netra_apex.engine.limits import Slots
from netra_apex.settings import Settings
from netra_apex.stores import Stores
from netra_apex.stream.feed import Hub
from netra_apex.stream.manager import WebSocketManager
from netra_apex.stream.meter import Meter
from netra_apex.stream.relay import Accepted, Cancel, Relay

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What a process gives its house.

    `executor` is the process's name. One that does not `execute` leaves runs to others.
    """

    group: asyncio.TaskGroup
    engines: ExecutionEngineFactory
    emitter_for: EmitterFor
    slots: Slots
    stores: Stores
    settings: Settings
    hub: Hub
    meter: Meter
    executor: str
    execute: bool


class House:
    """Made and started by the runtime; `runner` is what admission hands runs to."""

    def __init__(self, means: Means, agents: Collection[str]) -> None:
        self._means = means
        stores = means.stores
        self._recovery = Recovery(
            stores.runs,
            stores.journals,
            stores.accounts,
            means.emitter_for,
            registered=frozenset(agents).__contains__,
        )
        self._relay = None if stores.bus is None else Relay(means.hub, stores.bus, means.executor)
        desk = Desk(
            runs=stores.runs,
            turns=stores.turns,
            executor=means.executor,
            per_user=means.settings.runs_per_user,
            executes=means.execute,
            tell_cancel=self._tell_cancel,
            tell_left=self._tell_left,
        )
        self.runner = LocalRunner(means.engines, means.emitter_for, means.slots, means.group, self._recovery, desk)

    @property
    def seat(self) -> Seat:
        """What this process could give a run that it accepts, and the limits of its user."""
        return Seat(
            executor=self._means.executor if self._means.execute else None,
            per_user=self._means.settings.runs_per_user,
            queued_per_user=self._means.settings.queued_per_user,
        )

    async def start(self, stack: AsyncExitStack, manager: WebSocketManager) -> None:
        """Meets the others, takes up what nobody carries out, and minds both until the stack is left.

        Raises:
            StoreError: the database does not answer.
        """
        means, stores = self._means, self._means.stores
        if stores.presence is not None and self._relay is not None and stores.bus is not None:
            self._relay.on_accepted = self._on_accepted
            self._relay.on_cancel = lambda cancel: self.runner.halt(cancel.run, cancel.by)
            room = means.slots.per_process if means.execute else 0
            drain = means.settings.drain_seconds
            peers = Peers(stores.presence, room, drain_seconds=drain, on_left=self._left_behind)
            await peers.enter()
            self._mind(stack, peers.run())
            self._mind(stack, stores.bus.run())
            self._mind(stack, self._relay.run())
        else:
            # Nobody else is on this database: whatever is somebody's is a dead process's.
            for gone in await stores.turns.executors():
                count = await stores.turns.leave_all_of(gone)
                log.warning("runs of the process before go on", count=count)

        async def close_ended_logins() -> None:
            for session_id in manager.sessions() - await stores.accounts.live_sessions():
                manager.close_session(session_id)

        changed = stores.database.changed_elsewhere
        self._mind(stack, watch(changed, close_ended_logins, stores.runs, self.runner, self._recovery))
        self._mind(stack, self.runner.take_turns())
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
            self._relay.tell(Accepted(context.user_id, context.thread_id, run_id, waits=not admitted.started))

    def _mind(self, stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
        stack.callback(self._means.group.create_task(work).cancel)

    def _on_accepted(self, accepted: Accepted) -> None:
        if accepted.waits:
            self.runner.look()

    def _left_behind(self) -> None:
        """A dead process's runs wait: here, and wherever else there is room."""
        self.runner.look()
        self._tell_left()

    def _tell_left(self) -> None:
        if self._relay is not None:
            self._relay.tell(Accepted("", "", "", waits=True))

    def _tell_cancel(self, run: Run, by: str) -> None:
        if self._relay is not None:
            self._relay.tell(Cancel(run.run_id, by))
