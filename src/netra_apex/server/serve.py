"""`serve`: the server as a process of its own, from the port it takes to the exit code it ends with."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Coroutine
from importlib.metadata import version
from types import FrameType
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp

from netra_apex import logs
from netra_apex.agents import AgentRegistry
from netra_apex.core.redaction import Redactor
from netra_apex.core.voices import Model
from netra_apex.errors import ConfigurationError, StoreError
from netra_apex.server import heartbeat
from netra_apex.server.app import create_app
from netra_apex.server.lifecycle import Lifecycle
from netra_apex.server.setup import new_setup_token
from netra_apex.settings import Settings
from netra_apex.stores.reaching import reach
from netra_apex.stream.telemetry import exporting, log_processor

log = structlog.get_logger("netra_apex.server")

WRONG_USAGE = 2
FRAMES_BEFORE_1009 = 16  # a frame over the limit is answered with 4413 up to here; uvicorn closes beyond
LAST_ANSWERS_SECONDS = 5  # after the drain, how long answers that are under way may take
GC_THRESHOLD = 10_000  # objects that may be made before the collector looks at the youngest; Python's is 700
GOODBYE_SECONDS = 2.0  # after the drain, how long clients may take to answer the close of their sockets
GOODBYE_LOOK_SECONDS = 0.02
LEFT_BEHIND_SECONDS = 2  # after all is closed, how long tasks and threads that agents left behind may take


def serve(registry: AgentRegistry, settings: Settings, *, model: Model | None = None, execute: bool = True) -> int:
    """Serves until it is told to stop, and returns the exit code: 0 after an orderly end, 2 where it cannot start.

    Runs are executed here too, unless `execute` is False.

    The first SIGTERM or SIGINT drains: `/readyz` is 503, new messages are refused, and runs that are under way have
    NETRA_DRAIN_SECONDS to end. A second one ends the process at once. The process is to end with the return: where an
    agent left a task or a thread that doesn't, it is ended.
    """
    try:
        logs.configure(
            Redactor((*settings.own_secrets(), settings.prepare_home())).text, adding=log_processor(settings)
        )
        listening = _listen(settings)
        with contextlib.closing(listening), exporting(settings):
            app = create_app(registry, settings, model=model, execute=execute)
            server = DrainingServer(_config(app, settings), app.state.lifecycle)
            spare_the_collector()
            with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
                run_to_the_end(runner.get_loop(), server.serve(sockets=[listening]))
                end_process_soon()
    except (ConfigurationError, StoreError) as error:
        sys.stderr.write(f"{error}\n")
        return WRONG_USAGE
    except OSError as error:
        sys.stderr.write(f"the server cannot start: {error}\n")
        return WRONG_USAGE
    return 0


def run_to_the_end(loop: asyncio.AbstractEventLoop, serving: Coroutine[Any, Any, None]) -> None:
    """Runs the loop until the server has ended, whatever else wants to end it.

    asyncio lets a `SystemExit` or `KeyboardInterrupt` rise from any task through the loop. An agent's own is contained
    by the engine, but an agent may have tasks of its own, and one user's `exit()` must not end everybody's server.
    """
    task = loop.create_task(serving)
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt):
            if task.done():
                raise
            log.exception("a task of an agent or a tool asked the process to exit; the server goes on")
    task.result()


class DrainingServer(uvicorn.Server):
    """uvicorn's server, which first lets runs end and only then closes connections."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._asked = False
        self._reaching: asyncio.Task[None] | None = None
        self._drain: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by the first signal and the second. Not uvicorn's, which after its end dies of the first signal."""
        del frame
        if self._asked:
            # At once: as if nobody had handled it. What was told is stored (G1), so nothing is lost.
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self._asked = True
        if self._reaching is not None:
            # Nothing has begun that would have to end first. From a signal, which does not wake the loop by itself.
            self._reaching.get_loop().call_soon_threadsafe(self._reaching.cancel)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the runtime before uvicorn does by the lifespan, which would turn its sentence into a stack trace.

        Once its database is there: of machines that start together, that of the database may be the last.
        """
        if not await self._reached():
            self.should_exit = True
            return
        await self._lifecycle.services()
        if sockets:
            await self._announce(sockets[0].getsockname()[1])
        await super().startup(sockets)

    async def _reached(self) -> bool:
        """Waits for the database; False where a signal came first."""
        self._reaching = asyncio.create_task(reach(self._lifecycle.settings), name="netra-reaching")
        await asyncio.wait({self._reaching})
        task, self._reaching = self._reaching, None
        if self._asked:
            log.info("stopped")
            return False
        task.result()
        return True

    async def on_tick(self, counter: int) -> bool:
        """uvicorn's ten looks a second, which also see that a signal has come."""
        if self._asked and self._drain is None:
            self._drain = asyncio.create_task(self._end_runs(), name="netra-drain")
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's, once the runs have ended."""
        if self._drain is not None:
            # Raises nothing: whatever went wrong in it, the sockets and the lifespan must be closed.
            await asyncio.wait({self._drain})
            if (error := self._drain.exception()) is not None:
                log.error("the drain broke", exc_info=error)
        await super().shutdown(sockets)
        log.info("stopped")

    async def _end_runs(self) -> None:
        try:
            services = await self._lifecycle.services()
            services.start_draining()
            log.info("draining")
            await services.runtime.drain()
            await self._goodbyes()
        finally:
            self.should_exit = True

    async def _goodbyes(self) -> None:
        """Gives clients a moment to answer their close frame (RFC 6455, 7.1.1).

        uvicorn's shutdown hangs up at once, and a client whose answer then fails takes 1001 for a broken connection.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                # uvicorn has no event for it.
                while self._sockets_open():  # noqa: ASYNC110
                    await asyncio.sleep(GOODBYE_LOOK_SECONDS)

    def _sockets_open(self) -> bool:
        return any(isinstance(each, heartbeat.HeartbeatProtocol) for each in self.server_state.connections)

    async def _announce(self, port: int) -> None:
        services = await self._lifecycle.services()
        settings = self._lifecycle.settings
        model = services.runtime.models.get(None).name
        token = await new_setup_token(services.runtime.stores.accounts)
        here = f"http://{_in_url(settings.host)}:{port}"
        if not sys.stderr.isatty():
            # On a terminal the lines below say it.
            log.info("serving", address=here, model=model, version=version("netra-apex"))
        lines = [f"Netra Apex is at {here}"]
        if self._lifecycle.answers_offline:
            lines.append(f"Model: {model}, the offline demo; set NETRA_MODEL to use another")
        else:
            lines.append(f"Model: {model}")
        if token is not None:
            public = (settings.allowed_origins or (here,))[0] + settings.root_path
            lines.append(f"Make the first administrator: {public}/setup#{token}")
            lines.append("This link works once, and for one hour.")
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


def _config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        ws=heartbeat.protocol(settings),
        ws_max_size=FRAMES_BEFORE_1009 * settings.frame_bytes,
        ws_ping_interval=settings.heartbeat_seconds,
        ws_ping_timeout=settings.heartbeat_seconds,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # Nobody's X-Forwarded-* is believed unless it is set: uvicorn alone would trust FORWARDED_ALLOW_IPS.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=LAST_ANSWERS_SECONDS,
    )


def _listen(settings: Settings) -> socket.socket:
    """The listening socket, taken before anything else starts.

    Raises:
        ConfigurationError: the address cannot be had, and why.
    """
    host, port = settings.host.strip("[]"), settings.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name that has both kinds of address (localhost) is taken at its IPv4 one, which every client tries.
        family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(f"{host} is no address of this machine: {error.strerror}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        # Now, not later: of two processes that bind together only one can listen.
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise ConfigurationError(
            f"cannot listen on {_in_url(host)}:{port}: {error.strerror}; choose another port with --port or NETRA_PORT"
        ) from error
    listening.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return listening


def spare_the_collector() -> None:
    """Lets the collector pass over what is there now, and look less often: most is freed without it.

    It was a fifteenth of a run's CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def end_process_soon() -> None:
    """Ends the process though somebody's code ignores its cancellation: asyncio and Python would wait for it for ever.

    Nothing is lost by it: the runtime is closed, and what was told is stored (G1).
    """
    last = threading.Timer(LEFT_BEHIND_SECONDS, _leave)
    last.daemon = True  # It does not keep the process itself.
    last.start()


def _leave() -> None:
    log.warning("something that an agent or a tool left behind does not end; the process ends without it")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
