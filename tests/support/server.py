"""`netra serve` in a process of its own, with an application in a folder of its own: as its operator sees it."""

import asyncio
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from argon2 import PasswordHasher

from netra_apex import Settings
from netra_apex.stores import open_stores
from tests.support.wire_model import WireModel

NETRA = Path(sys.executable).with_name("netra")
APP = Path(__file__).with_name("served_app.py")
START_SECONDS = 30
PASSWORD = "correct horse battery staple"
# As weak as argon2 allows: a login of a test costs a millisecond and not twenty.
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
ORDERS = frozenset({"orders:read"})


def environment(**settings: Any) -> dict[str, str]:
    """This process's environment with these settings."""
    named = {
        name if name.startswith(("OPENAI_", "OTEL_")) else f"NETRA_{name}".upper(): str(value)
        for name, value in settings.items()
    }
    return os.environ | named


def add_users(home: Path, users: Mapping[str, Iterable[str]]) -> None:
    """Makes accounts, name: permissions, all with `PASSWORD`."""

    async def main() -> None:
        async with open_stores(Settings(home=home)) as stores:
            await asyncio.gather(
                *(stores.accounts.add_user(name, HASH, frozenset(held)) for name, held in users.items())
            )

    asyncio.run(main())


class Server:
    """`with Server(folder, wire=wire, drain_seconds=1) as server`: settings by their names; `users` are its accounts.

    It has as many accounts that may read orders as `people`, which `person()` hands out one after another, so that
    tests that share a server share no user.
    """

    def __init__(
        self,
        place: Path,
        *,
        app: Path | str | None = APP,
        wire: WireModel | None = None,
        people: int = 0,
        users: Mapping[str, Iterable[str]] | None = None,
        **settings: Any,
    ) -> None:
        self.place = place
        self.home = place / "home"
        self.log_path = place / "server.log"
        self.app = shutil.copy(app, place / "app.py") if isinstance(app, Path) else app
        model = {"model": "openai:wire", "OPENAI_BASE_URL": wire.url, "OPENAI_API_KEY": "a-key"} if wire else {}
        self.settings = {"home": self.home, "port": 0, "drain_seconds": 1} | model | settings
        names = [f"person{number:03d}" for number in range(people)]
        self._people = iter(names)
        add_users(self.home, dict.fromkeys(names, ORDERS) | {"root": {"admin"}} if users is None else users)
        self.process: subprocess.Popen[str] | None = None
        self.printed: list[str] = []
        self.url = ""

    def start(self) -> Self:
        """Starts it, and returns once it is at its address; a test fails where it ends instead."""
        with self.log_path.open("a") as log:
            self.process = subprocess.Popen(
                [NETRA, "serve", *([self.app] if self.app else [])],
                env=environment(**self.settings),
                cwd=self.place,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        watch = threading.Timer(START_SECONDS, self.process.kill)
        watch.start()
        try:
            while line := self.process.stdout.readline():
                self.printed.append(line.rstrip("\n"))
                if found := re.search(r"is at (http://\S+)", line):
                    self.url = found[1]
                if line.startswith("Model:"):
                    return self
        finally:
            watch.cancel()
        raise AssertionError(f"netra serve ended with {self.process.wait()}: {self.log()}")

    def person(self) -> str:
        """The name of somebody whom no other test uses."""
        return next(self._people)

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process is not None
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def log(self) -> str:
        """Everything that it has logged."""
        return self.log_path.read_text(errors="replace")

    def tool_lines(self) -> list[str]:
        """What the application's tools wrote down when they ran."""
        path = self.place / "tool.log"
        return path.read_text().splitlines() if path.exists() else []

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a query answers on the database, beside the server."""
        connection = sqlite3.connect(f"file:{self.home / 'netra.db'}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """A run's stored events."""
        found = self.rows("select body from events where run_id = ? order by seq", run_id)
        return [json.loads(body) for (body,) in found]

    def netra(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a command beside it."""
        return subprocess.run(
            [NETRA, *arguments],
            input=stdin,
            env=environment(**self.settings),
            cwd=self.place,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def memory_mb(self) -> float:
        """Its resident memory."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def ended(self, seconds: float = 20) -> int:
        """Its exit code, once it has ended."""
        assert self.process is not None
        self.process.communicate(timeout=seconds)
        return self.process.returncode

    def kill(self) -> None:
        """As the machine's worst night does it."""
        self.signal(signal.SIGKILL)
        self.ended()

    def stop(self) -> int:
        """Asks it to end; its exit code."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is None or self.process.returncode is not None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            if kind is None:
                raise


def refused_start(place: Path, *arguments: str, **settings: Any) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a `netra serve` that is not to start."""
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [NETRA, "serve", *arguments],
        env=environment(**({"home": place / "home", "port": 0} | settings)),
        cwd=place,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
