"""Several processes of netra on one Postgres database, as an operator runs them: servers, workers, commands."""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.parts import free_port

from netra_apex import Settings
from netra_apex.stores import open_stores
from tests.support.postgres import Database, PostgresServer, sql
from tests.support.server import HASH, NETRA, ORDERS, START_SECONDS, environment
from tests.support.wire_model import WireModel

APP = Path(__file__).with_name("shared_app.py")
READY = ("Model:", "Netra worker executes")


class Process:
    """One of them, which may be started again: a server keeps its port, and its executor's name is new each time."""

    def __init__(self, name: str, arguments: list[str], place: Path, environ: dict[str, str]) -> None:
        self.name = name
        self.url = ""
        self.executor = ""
        self.log_path = place / f"{name}.log"
        self._arguments = arguments
        self._place = place
        self._environ = environ
        self._process: subprocess.Popen[str] | None = None

    def launch(self) -> None:
        """Starts it; `ready` waits for it."""
        with self.log_path.open("a") as log:
            self._process = subprocess.Popen(
                [NETRA, *self._arguments],
                env=self._environ,
                cwd=self._place,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ready(self) -> None:
        """Returns once it serves, or executes runs; fails where it ends instead."""
        assert self._process is not None
        assert self._process.stdout is not None
        watch = threading.Timer(START_SECONDS, self._process.kill)
        watch.start()
        try:
            while line := self._process.stdout.readline():
                if found := re.search(r"is at (http://\S+)", line):
                    self.url = found[1]
                if line.startswith(READY):
                    return
        finally:
            watch.cancel()
        raise AssertionError(f"{self.name} ended with {self.ended()}: {self.log()}")

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """Everything that it has logged."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self, seconds: float = 30) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        if self._process.returncode is None or not self._process.stdout.closed:
            self._process.communicate(timeout=seconds)
        return self._process.returncode

    def kill(self) -> None:
        """kill -9."""
        self.signal(signal.SIGKILL)
        self.ended()

    def stop(self) -> int:
        """Asks it to end, and waits for that."""
        self.signal(signal.SIGTERM)
        return self.ended()


class Cluster:
    """`with Cluster(folder, postgres, wire=wire, people=3) as cluster: cluster.api(); cluster.worker()`.

    Settings go by their names. `person()` hands out accounts that may read orders.
    """

    def __init__(
        self,
        place: Path,
        postgres: PostgresServer,
        *,
        wire: WireModel,
        app: Path = APP,
        people: int = 0,
        **settings: Any,
    ) -> None:
        self.place = place
        self.postgres = postgres
        self.app = shutil.copy(app, place / "app.py")
        model = {"model": "openai:wire", "OPENAI_BASE_URL": wire.url, "OPENAI_API_KEY": "a-key"}
        self._settings: dict[str, Any] = {"home": place / "home", "drain_seconds": 1, "frames_burst": 10_000}
        self._settings |= model | settings
        self._names = [f"person{number:03d}" for number in range(people)]
        self._people = iter(self._names)
        self.processes: list[Process] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.database: Database = self._stack.enter_context(self.postgres.database())
        self._settings["database_url"] = self.database.url
        asyncio.run(self._add_users())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            self.postgres.start()
            for process in self.processes:
                if process.runs:
                    process.signal(signal.SIGCONT)
                    process.signal(signal.SIGTERM)
            for process in self.processes:
                try:
                    process.ended()
                except subprocess.TimeoutExpired:
                    process.kill()
                    if kind is None:
                        raise

    async def _add_users(self) -> None:
        async with open_stores(Settings(home=self._settings["home"], database_url=self.database.url)) as stores:
            users = [(name, HASH, ORDERS) for name in self._names] + [("root", HASH, frozenset({"admin"}))]
            await stores.accounts.add_users(users)

    def person(self) -> str:
        """The name of somebody whom nobody else uses."""
        return next(self._people)

    def api(self, *, execute: bool = False, version: Path | None = None, port: int = 0) -> Process:
        """A server, which leaves runs to others unless it is to `execute` them; its package is where `version` says."""
        name = f"api{len(self.processes)}"
        arguments = ["serve", str(self.app), *([] if execute else ["--no-execute"])]
        environ = self._environment(version, port=port or free_port())
        return self._start(Process(name, arguments, self.place, environ))

    def worker(self, *, version: Path | None = None) -> Process:
        """A worker."""
        name = f"worker{len(self.processes)}"
        return self._start(Process(name, ["worker", str(self.app)], self.place, self._environment(version)))

    def _environment(self, version: Path | None, **more: Any) -> dict[str, str]:
        package = {} if version is None else {"PYTHONPATH": str(version)}
        return environment(**self._settings | more) | package

    def _start(self, process: Process) -> Process:
        self.processes.append(process)
        self.restart(process)
        return process

    def restart(self, process: Process) -> None:
        """Starts a process that has ended, or has not been started yet."""
        known = self._executors()
        process.launch()
        process.ready()
        (process.executor,) = self._executors() - known

    def _executors(self) -> set[str]:
        return {executor for (executor,) in self.rows("select executor from workers")}

    def holder(self, run_id: str) -> Process | None:
        """The process that carries this run out."""
        ((executor,),) = self.rows("select executor from runs where run_id = ?", run_id)
        return next((process for process in self.processes if process.executor == executor), None)

    def log(self) -> str:
        """What all of them have logged."""
        return "\n".join(process.log() for process in self.processes)

    def rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """What a query answers, past the processes and row-level security."""
        for value in values:
            quoted = value.replace("'", "''")
            query = query.replace("?", f"'{quoted}'", 1)
        return [tuple(row) for row in sql(self.database.admin_url, query)]

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """A run's stored events."""
        found = self.rows("select body from events where run_id = ? order by seq", run_id)
        return [json.loads(body) for (body,) in found]

    def notes(self, name: str = "notes.log") -> list[list[str]]:
        """What the application wrote down, word by word."""
        path = self.place / name
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def netra(self, *arguments: str, version: Path | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
        """Runs a command beside them, with these settings instead of theirs."""
        return subprocess.run(
            [NETRA, *arguments],
            env=self._environment(version, **settings),
            cwd=self.place,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    async def until(self, found: Callable[[], Any], seconds: float = 15, what: str = "") -> Any:
        """What `found` gives once that is true; looked at in a thread, as other processes set no event."""
        deadline = time.monotonic() + seconds
        while not (result := await asyncio.to_thread(found)):
            assert time.monotonic() < deadline, what or f"not within {seconds} s\n{self.log()[-4000:]}"
            await asyncio.sleep(0.005)
        return result

    async def carried_out(self, run_id: str, *, but: Iterable[Process] = ()) -> Process:
        """The process that carries a run out, once one does that is none of these."""
        others = set(but)

        def found() -> Process | None:
            holder = self.holder(run_id)
            return None if holder in others else holder

        return await self.until(found, what=f"nobody carries {run_id} out")


@contextmanager
def cluster(place: Path, postgres: PostgresServer, *, log_clean: bool = True, **settings: Any) -> Iterator[Cluster]:
    """A cluster whose processes log no stack trace."""
    with Cluster(place, postgres, **settings) as made:
        yield made
    assert not log_clean or "Traceback" not in made.log(), made.log()[-8000:]
