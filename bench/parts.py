"""The processes of a measurement: the server on one core, the model and the driver on the other."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from netra_apex.server.passwords import hash_password
from netra_apex.settings import Settings
from netra_apex.stores import open_stores

ROOT = Path(__file__).resolve().parent.parent
TICK = os.sysconf("SC_CLK_TCK")
SERVER_CPU, DRIVER_CPU = 0, max(os.sched_getaffinity(0))
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
PASSWORD = "correct horse battery bench"


def user_name(number: int) -> str:
    """The name of the n-th user."""
    return f"bench{number:04d}"


async def make_users(home: Path, count: int, database_url: str | None = None) -> None:
    """A home with accounts; one hash serves all, since what is measured is not the making of hashes."""
    hashed = hash_password(PASSWORD)
    async with open_stores(Settings.load(home=home, database_url=database_url)) as stores:
        await stores.accounts.add_users([(user_name(number), hashed, frozenset()) for number in range(count)])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Served:
    """The processes that serve and execute, all on one core, and where they are."""

    processes: list[subprocess.Popen[bytes]]
    url: str

    def cpu_seconds(self) -> float:
        """User and system time of all of them."""
        return sum(cpu_seconds(process.pid) for process in self.processes)

    def rss_mb(self) -> float:
        """Resident memory of all of them."""
        return sum(rss_mb(process.pid) for process in self.processes)


@contextlib.asynccontextmanager
async def serving(
    home: Path,
    model_url: str,
    *,
    floor: bool = False,
    database_url: str | None = None,
    workers: int = 0,
    settings: Mapping[str, str] = NO_SETTINGS,
) -> AsyncGenerator[Served]:
    """`netra serve`, or the floor, on one core; with workers, these execute and the server only serves."""
    port = free_port()
    environment = {
        **os.environ,
        **settings,
        "NETRA_HOME": str(home),
        "OPENAI_BASE_URL": model_url,
        "OPENAI_API_KEY": "bench-key",
        "NETRA_MODEL": "openai:paced-64-100-20",
    }
    if database_url is not None:
        environment["NETRA_DATABASE_URL"] = database_url
    netra, app = Path(sys.prefix) / "bin" / "netra", ROOT / "bench" / "app.py"
    serve = [netra, "serve", app, *(["--no-execute"] if workers else [])]
    relay = [sys.executable, "-m", "bench.floor"]
    pinned = ["taskset", "-c", str(SERVER_CPU)]
    processes = [_start([*pinned, *(relay if floor else serve), "--port", str(port)], environment, home / "server.log")]
    processes += [
        _start([*pinned, netra, "worker", app], environment, home / f"worker{number}.log") for number in range(workers)
    ]
    try:
        await _ready(port, processes[0])
        yield Served(processes, f"http://127.0.0.1:{port}")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            await asyncio.to_thread(process.wait, 30)


def _start(command: list[str | Path], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)


async def _ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise RuntimeError("the server did not start within 30 s")
