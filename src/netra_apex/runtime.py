"""`Runtime`: what a process has. The one place where the parts are put together."""

import contextlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

import structlog

from netra_apex.agents import AgentRegistry
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.ports import Model
from netra_apex.core.redaction import Redactor
from netra_apex.core.runs import RunStream
from netra_apex.engine.admission import Admission
from netra_apex.engine.engine import EngineParts
from netra_apex.engine.factory import ExecutionEngineFactory
from netra_apex.engine.group import process_group
from netra_apex.engine.limits import Slots
from netra_apex.engine.recovery import Recovery
from netra_apex.engine.runner import LocalRunner
from netra_apex.engine.watch import watch
from netra_apex.logs import use_standard_logging
from netra_apex.providers.models import Models
from netra_apex.settings import Settings
from netra_apex.stores import Stores, open_stores
from netra_apex.stream.emitter import UserWebSocketEmitter
from netra_apex.stream.feed import PACE_SECONDS, Hub
from netra_apex.stream.manager import WebSocketManager
from netra_apex.stream.meter import Meter
from netra_apex.stream.protocol import Close
from netra_apex.stream.reader import StreamReader
from netra_apex.tools import ToolHost

log = structlog.get_logger()


class Runtime:
    """Settings in, running parts out: `async with Runtime(registry) as runtime`.

    `model` takes the place of every model that agents name: for tests, with `ScriptedModel`.

    Raises:
        HomeInUse: on entering, if another process executes runs on this home.
        StoreError: on entering, if the database cannot be opened.
        ConfigurationError: if a setting is wrong, or a model that is named cannot be made.
    """

    stores: Stores
    engines: ExecutionEngineFactory
    admission: Admission
    reader: StreamReader
    hub: Hub
    manager: WebSocketManager
    models: Models

    def __init__(
        self, registry: AgentRegistry, settings: Settings | None = None, *, model: Model | None = None
    ) -> None:
        self.registry = registry
        self.settings = Settings.load() if settings is None else settings
        self._model = model
        self._running: AbstractAsyncContextManager[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = self._run()
        await self._running.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._running is not None
        await self._running.__aexit__(kind, error, trace)

    def start_draining(self) -> None:
        """Takes no new work from now on."""
        self.admission.draining = True

    async def drain(self) -> None:
        """Lets running runs end within NETRA_DRAIN_SECONDS, leaves the rest to the next start, closes the sockets."""
        self.start_draining()
        await self._runner.drain(self.settings.drain_seconds)
        self.manager.close_all(Close.COME_BACK)

    def metrics(self) -> Mapping[str, float | Mapping[str, float]]:
        """Gauges by name, and counters by name and label."""
        return {
            "runs_active": self._slots.total,
            "runs_queued": self._runner.queued,
            "connections": len(self.manager),
            "events_total": dict(self._meter.events),
            "runs_total": dict(self._meter.endings),
        }

    @contextlib.asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        settings = self.settings
        use_standard_logging()
        async with contextlib.AsyncExitStack() as stack:
            secret = settings.prepare_home()
            self.stores = await stack.enter_async_context(open_stores(settings, executing=True, secret=secret))
            redactor = Redactor((secret, *settings.own_secrets()))
            self.models = Models(settings, self._model)
            stack.push_async_callback(self.models.aclose)
            tools = ToolHost(
                timeout_seconds=settings.tool_timeout_seconds,
                result_bytes=settings.tool_result_bytes,
                redactor=redactor,
            )
            stack.push_async_callback(tools.aclose)
            self.hub = Hub(pace=PACE_SECONDS)
            self.reader = StreamReader(self.stores.runs, self.hub)
            self.manager = WebSocketManager(settings.connections_per_user)
            self._meter = Meter()
            self._slots = Slots(per_user=settings.runs_per_user, per_process=settings.runs_per_process)

            def emitter_for(context: UserExecutionContext, stream: RunStream | None = None) -> UserWebSocketEmitter:
                return UserWebSocketEmitter(context, self.stores.runs, self.hub, redactor, self._meter, stream)

            parts = EngineParts(self.models.get, self.stores.runs, tools, settings)
            self.engines = ExecutionEngineFactory(self.registry.create, emitter_for, self._slots, parts)
            recovery = Recovery(
                self.stores.runs,
                self.stores.journals,
                self.stores.accounts,
                emitter_for,
                registered=frozenset(self.registry.names).__contains__,
            )
            group = await stack.enter_async_context(process_group())
            self._runner = LocalRunner(
                self.engines, emitter_for, self._slots, group, recovery, queued_per_user=settings.queued_per_user
            )
            runs, conversations = self.stores.runs, self.stores.conversations
            self.admission = Admission(self.registry, runs, conversations, self._runner, group, redactor)
            changed = self.stores.database.changed_elsewhere
            watching = group.create_task(watch(changed, self._close_ended_logins, runs, self._runner, recovery))
            stack.callback(watching.cancel)
            stack.push_async_callback(self.drain)
            if taken_up := await recovery.take_up(self._runner.take_up):
                log.warning("runs of the process before go on", count=taken_up)
            yield

    async def _close_ended_logins(self) -> None:
        for session_id in self.manager.sessions() - await self.stores.accounts.live_sessions():
            self.manager.close_session(session_id)
