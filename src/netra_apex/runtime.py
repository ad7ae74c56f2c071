"""`Runtime`: what a process has. The one place where the parts are put together."""

from contextlib import AsyncExitStack, aclosing
from types import TracebackType
from typing import Self

from netra_apex.agents import AgentRegistry
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.ids import new_id
from netra_apex.core.redaction import Redactor
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
from netra_apex.providers.prices import Prices
from netra_apex.settings import Settings
from netra_apex.stores import Stores, open_stores
from netra_apex.stream.feed import PACE_SECONDS, Hub
from netra_apex.stream.manager import WebSocketManager
from netra_apex.stream.meter import Meter
from netra_apex.stream.reader import StreamReader
from netra_apex.stream.telemetry import telemetry_of


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
    house: House
    _running: AsyncExitStack

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

    async def __aenter__(self) -> Self:
        use_standard_logging()
        async with AsyncExitStack() as stack:
            await self._start(stack, *await self._open(stack))
            self._running = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.__aexit__(kind, error, trace)

    def start_draining(self) -> None:
        """Takes no new work from now on."""
        self.admission.draining = True

    async def drain(self) -> None:
        """Lets running runs end within NETRA_DRAIN_SECONDS, leaves the rest to others, closes the sockets."""
        self.start_draining()
        await self.house.drain()

    async def _park(self, context: UserExecutionContext, epoch: int) -> None:
        await self.house.park(context, epoch)

    async def _open(self, stack: AsyncExitStack) -> tuple[str, Redactor]:
        """What the process has, whatever it carries out: its name, and what it knows to be secret."""
        settings = self.settings
        secret, executor = settings.prepare_home(), new_id("exe")
        opening = open_stores(settings, executing=True, secret=secret, executor=executor)
        self.stores = await stack.enter_async_context(opening)
        servers = open_servers(self.registry.mcp_servers, settings, self.stores.credentials)
        self.servers = await stack.enter_async_context(aclosing(servers))
        redactor = Redactor((secret, *settings.own_secrets(), *servers.secrets))
        self.models = await stack.enter_async_context(aclosing(Models(settings, self._model)))
        self.hub = Hub(pace=PACE_SECONDS)
        self.reader = StreamReader(self.stores.runs, self.hub)
        self.manager = WebSocketManager(settings.connections_per_user)
        return executor, redactor

    async def _start(self, stack: AsyncExitStack, executor: str, redactor: Redactor) -> None:
        """What carries runs out, in a group that ends before what it works with is closed."""
        settings, stores = self.settings, self.stores
        prices = Prices(settings.own_prices, base_url=settings.openai_base_url)
        if self._execute:
            prices.load(self.models.names(self.registry.models), needed=settings.costs_are_limited)
        kept = Belongings(stores.files, stores.memories, stores.administration, redactor, settings.image_bytes)
        telemetry = telemetry_of(settings, redactor)
        parts = EngineParts(
            model=telemetry.models(self.models.get),
            runs=stores.runs,
            tools=await stack.enter_async_context(aclosing(tool_host(settings, redactor, telemetry))),
            belongings=kept,
            settings=settings,
            servers=self.servers,
            park=self._park,
            budgets=Budgets.of(settings, prices.of, stores.budgets),
            executor=executor,
            telemetry=telemetry,
        )
        means = Means(
            group=await stack.enter_async_context(process_group()),
            agents=self.registry,
            parts=parts,
            slots=Slots(per_user=settings.runs_per_user, per_process=settings.runs_per_process),
            stores=stores,
            hub=self.hub,
            manager=self.manager,
            meter=Meter(),
            redactor=redactor,
            execute=self._execute,
        )
        self.house = house = House(means)
        self.engines = house.engines
        doors = Doors(means.group, redactor, house.seat, house.accepted, telemetry)
        self.admission = Admission(self.registry, stores.runs, stores.conversations, house.runner, doors)
        await house.start(stack)
        stack.push_async_callback(self.drain)
