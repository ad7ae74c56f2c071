"""`work`: a process that executes runs and serves nothing, from its start to the exit code it ends with."""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack

import structlog
import uvloop

from netra_apex import logs
from netra_apex.agents import AgentRegistry
from netra_apex.core.redaction import Redactor
from netra_apex.core.voices import Model
from netra_apex.errors import ConfigurationError, StoreError
from netra_apex.runtime import Runtime
from netra_apex.server.serve import WRONG_USAGE, end_process_soon, run_to_the_end, spare_the_collector
from netra_apex.settings import Settings
from netra_apex.stores.reaching import reach
from netra_apex.stream.telemetry import exporting, log_processor

log = structlog.get_logger("netra_apex.worker")


def work(registry: AgentRegistry, settings: Settings, *, model: Model | None = None) -> int:
    """Executes runs until it is told to stop; the exit code: 0 after an orderly end, 2 where it cannot start.

    The first SIGTERM or SIGINT drains: runs that are under way have NETRA_DRAIN_SECONDS to end, and what is left then
    goes on in other processes. A second one ends the process at once.
    """
    try:
        _check_shared(settings)
        logs.configure(
            Redactor((*settings.own_secrets(), settings.prepare_home())).text, adding=log_processor(settings)
        )
        spare_the_collector()
        with exporting(settings), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            run_to_the_end(runner.get_loop(), _work(Runtime(registry, settings, model=model)))
            end_process_soon()
    except (ConfigurationError, StoreError) as error:
        sys.stderr.write(f"{error}\n")
        return WRONG_USAGE
    return 0


def _check_shared(settings: Settings) -> None:
    if not settings.on_postgres:
        raise ConfigurationError(
            "netra worker shares runs with other processes, and needs a Postgres database for that: "
            "set NETRA_DATABASE_URL=postgresql://USER:PASSWORD@HOST/NAME"
        )


async def _work(runtime: Runtime) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, told, number)
    async with AsyncExitStack() as stack:
        starting = asyncio.ensure_future(_start(runtime, stack))
        stopping = asyncio.ensure_future(told.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()  # it was told to stop while it waited for its database
            await asyncio.wait({starting})
            return
        starting.result()
        sys.stdout.write("Netra worker executes runs\n")
        sys.stdout.flush()
        await stopping
        log.info("draining")
    log.info("stopped")


async def _start(runtime: Runtime, stack: AsyncExitStack) -> None:
    await reach(runtime.settings)
    await stack.enter_async_context(runtime)


def _stop(told: asyncio.Event, number: signal.Signals) -> None:
    if told.is_set():
        # At once: as if nobody had handled it. What was told is stored (G1), so nothing is lost.
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    told.set()
