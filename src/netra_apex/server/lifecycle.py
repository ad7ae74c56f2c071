"""When the runtime of an application starts and ends: with its lifespan, or with its first request."""

import asyncio
import contextvars
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from netra_apex.agents import AgentRegistry
from netra_apex.core.voices import Model
from netra_apex.runtime import Runtime
from netra_apex.server.auth import Authenticator
from netra_apex.server.origins import Origins
from netra_apex.server.passwords import Passwords
from netra_apex.server.readiness import Readiness
from netra_apex.server.services import Services
from netra_apex.server.sessions import Lifetimes, Sessions
from netra_apex.server.tokens import AccessTokens
from netra_apex.settings import Settings

log = structlog.get_logger("netra_apex.server")


class Lifecycle:
    """Holds the runtime in one task of its own, which enters and leaves it, whoever asks first.

    Why a task: an application that is mounted in another gets no lifespan, so that a request must start the runtime,
    and the runtime outlives that request. Where nobody says that it is over, the loop's end cancels the task, and
    the runtime is left in order then.
    """

    def __init__(
        self, registry: AgentRegistry, settings: Settings, model: Model | None, *, execute: bool = True
    ) -> None:
        self.settings = settings
        self._registry = registry
        self._model = model
        self._execute = execute
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[Services]
        self._over: asyncio.Event

    async def services(self) -> Services:
        """The running services; starts them where they are not running.

        Raises:
            HomeInUse, StoreError, ConfigurationError: they cannot start; the next call tries again.
        """
        if self._task is None or self._task.done():
            self._log_unforeseen_end()
            # No await between the question and the answer, so two first requests start one runtime.
            self._ready = asyncio.get_running_loop().create_future()
            self._over = asyncio.Event()
            # Not in the trace of the request that happens to be the first.
            own = contextvars.Context()
            self._task = asyncio.create_task(self._hold(self._ready, self._over), name="netra-runtime", context=own)
        ready, task = self._ready, self._task
        if not ready.done():
            await asyncio.wait({ready, task}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            task.result()
        return ready.result()

    async def stop(self) -> None:
        """Ends the runtime, if it runs."""
        if self._task is None:
            return
        self._over.set()
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()

    @property
    def answers_offline(self) -> bool:
        """Whether the built-in demo model answers, because no other is set."""
        return self._model is None and self.settings.model is None

    @asynccontextmanager
    async def lifespan(self, _: object) -> AsyncGenerator[None]:
        """For the application: runs while it serves."""
        await self.services()
        try:
            yield
        finally:
            await self.stop()

    def _log_unforeseen_end(self) -> None:
        # A runtime that had started and then broke: the next request starts it anew, as a supervisor would the
        # process, but nobody should have to guess why. (One that could not start has told those who asked.)
        if self._task is None or self._task.cancelled() or not self._ready.done():
            return
        if (error := self._task.exception()) is not None:
            log.error("the runtime ended by itself", exc_info=error)

    async def _hold(self, ready: "asyncio.Future[Services]", over: asyncio.Event) -> None:
        async with Runtime(self._registry, self.settings, model=self._model, execute=self._execute) as runtime:
            accounts = runtime.stores.accounts
            tokens = AccessTokens(self.settings.prepare_home())
            passwords = Passwords()
            lifetimes = Lifetimes(
                access=timedelta(seconds=self.settings.access_token_seconds),
                session=timedelta(days=self.settings.session_days),
            )
            async with Readiness(accounts, runtime.stores.database.check, runtime.models.get(None)) as readiness:
                services = Services(
                    runtime=runtime,
                    authenticator=Authenticator(
                        accounts, runtime.stores.keys, tokens, Origins(self.settings.allowed_origins)
                    ),
                    sessions=Sessions(accounts, tokens, passwords, runtime.manager, lifetimes),
                    passwords=passwords,
                    readiness=readiness,
                )
                runtime.house.role, runtime.house.on_drained = "server", services.set_draining
                ready.set_result(services)
                await over.wait()
