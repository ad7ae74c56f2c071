"""`Runtime`: what a process has. The one place where the parts are put together."""

import contextlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Self

import structlog

from netra_apex.agents import AgentRegistry
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.ids import new_id
from netra_apex.core.redaction import Redactor
from netra_apex.core.runs import RunStream
from netra_apex.core.voices import Model
from netra_apex.durable.house import House, Means
from netra_apex.engine.admission import Admission, Doors
from netra_apex.engine.budgets import Budgets
from netra_apex.engine.factory import ExecutionEngineFactory
from netra_apex.engine.group import process_group
from netra_apex.engine.hosting import tool_host
from netra_apex.engine.lending import EngineParts
from netra_apex.engine.lent import Belongings
from netra_apex.engine.limits import Slots
from netra_apex.errors import ConfigurationError
from netra_apex.logs import use_standard_logging
from netra_apex.providers import open_servers
from netra_apex.providers.models import Models
from netra_apex.providers.prices import DEMO, Prices
from netra_apex.settings import Settings
from netra_apex.stores import Stores, open_stores
from netra_apex.stream.emitter import UserWebSocketEmitter
from netra_apex.stream.feed import PACE_SECONDS, Hub
from netra_apex.stream.manager import WebSocketManager
from netra_apex.stream.meter import Meter
from netra_apex.stream.protocol import Close
from netra_apex.stream.reader import StreamReader

log = structlog.get_logger()


class Runtime:
    """Settings in, running parts out: `async with Runtime(registry) as runtime`.

    `model` takes the place of every model that agents name: for tests, with `ScriptedModel`. A process that does not
    `execute` leaves runs to others, which there may be on Postgres.

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
    prices: Prices
    house: House

    def __init__(
        self,
        registry: AgentRegistry,
        settings: Settings | None = None,
        *,
        model: Model | None = None,
        execute: bool = True,
    ) -> None:
        self.registry = registry
        self.settings = Settings.load() if settings is None else settings
        if not execute and not self.settings.on_postgres:
            raise ConfigurationError("a process that executes no runs needs others on the same Postgres database")
        self._model = model
        self._execute = execute
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
        """Lets running runs end within NETRA_DRAIN_SECONDS, leaves the rest to others, closes the sockets."""
        self.start_draining()
        await self.house.runner.drain(self.settings.drain_seconds, self.stores.database.give_up_soon)
        await self.house.last_words()
        self.manager.close_all(Close.COME_BACK)

    async def _park(self, context: UserExecutionContext, epoch: int) -> None:
        await self.house.park(context, epoch)

    async def metrics(self) -> Mapping[str, float | Mapping[str, float]]:
        """Gauges by name, and counters by name and label."""
        return {
            "runs_active": self._slots.total,
            "runs_queued": await self.stores.turns.waiting_runs(),
            "connections": len(self.manager),
            "events_total": dict(self._meter.events),
            "runs_total": dict(self._meter.endings),
        }

    @contextlib.asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        use_standard_logging()
        async with AsyncExitStack() as stack:
            executor, redactor = await self._open(stack)
            settings, stores, hub, meter = self.settings, self.stores, self.hub, self._meter

            def emitter_for(context: UserExecutionContext, stream: RunStream | None = None) -> UserWebSocketEmitter:
                return UserWebSocketEmitter(context, stores.runs, hub, redactor, meter, stream)

            kept = Belongings(stores.files, stores.memories, stores.administration, redactor, settings.image_bytes)
            budgets = Budgets.of(settings, self.prices.of, stores.budgets)
            parts = EngineParts(
                model=self.models.get,
                runs=stores.runs,
                tools=self._tools,
                belongings=kept,
                settings=settings,
                servers=self.servers,
                park=self._park,
                budgets=budgets,
                executor=executor,
            )
            self.engines = ExecutionEngineFactory(self.registry.create, emitter_for, self._slots, parts)
            group = await stack.enter_async_context(process_group())
            means = Means(
                group=group,
                engines=self.engines,
                emitter_for=emitter_for,
                slots=self._slots,
                stores=stores,
                settings=settings,
                hub=hub,
                meter=meter,
                redactor=redactor,
                executor=executor,
                execute=self._execute,
                model=self.models.get,
            )
            self.house = House(means, self.registry)
            doors = Doors(group=group, redactor=redactor, seat=self.house.seat, accepted=self.house.accepted)
            self.admission = Admission(self.registry, stores.runs, stores.conversations, self.house.runner, doors)
            await self.house.start(stack, self.manager)
            stack.push_async_callback(self.drain)
            yield

    def _look_up_prices(self) -> None:
        """Now, and not in somebody's first run: the list of prices takes a moment to load."""
        names = {name or self.settings.model or DEMO for name in self.registry.models}
        for name in sorted(names if self._model is None else {self._model.name}):
            if self.prices.of(name) is None and self.settings.costs_are_limited:
                log.warning("a model has no price, and is not asked: set NETRA_MODEL_PRICES", model=name)

    async def _open(self, stack: AsyncExitStack) -> tuple[str, Redactor]:
        """What the process has, whatever it carries out: its name, and what it knows to be secret."""
        settings = self.settings
        secret, executor = settings.prepare_home(), new_id("exe")
        opening = open_stores(settings, executing=True, secret=secret, executor=executor)
        self.stores = await stack.enter_async_context(opening)
        self.servers = open_servers(self.registry.mcp_servers, settings, self.stores.credentials)
        stack.push_async_callback(self.servers.aclose)
        redactor = Redactor((secret, *settings.own_secrets(), *self.servers.secrets))
        self.models = Models(settings, self._model)
        self.prices = Prices(settings.own_prices, base_url=settings.openai_base_url)
        if self._execute:
            self._look_up_prices()
        stack.push_async_callback(self.models.aclose)
        self._tools = tool_host(settings, redactor)
        stack.push_async_callback(self._tools.aclose)
        self.hub = Hub(pace=PACE_SECONDS)
        self.reader = StreamReader(self.stores.runs, self.hub)
        self.manager = WebSocketManager(settings.connections_per_user)
        self._meter = Meter()
        self._slots = Slots(per_user=settings.runs_per_user, per_process=settings.runs_per_process)
        return executor, redactor
