"""The checks of `netra doctor`. None of them changes anything: a server may be at work on the same files."""

import asyncio
import contextlib
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from netra_apex.cli.finding import Check
from netra_apex.cli.postgres import check_postgres
from netra_apex.errors import ConfigurationError, ModelFailed
from netra_apex.settings import Settings, is_loopback

LEAST_FREE = 100 * 1024 * 1024
MODEL_SECONDS = 10.0
RECEIVER_SECONDS = 3.0
_LOCKS = Path("/proc/locks")


async def check_all(settings: Settings) -> list[Check]:
    """Every check, in the order in which one would look."""
    return [
        *check_home(settings),
        *([each async for each in check_postgres(settings)] if settings.on_postgres else check_file(settings)),
        *check_origins(settings),
        await check_model(settings),
        *check_price(settings),
        *[each async for each in check_telemetry(settings)],
    ]


def check_file(settings: Settings) -> Iterator[Check]:
    """What is to be known of a SQLite file."""
    yield from check_database(settings)
    yield check_executor(settings)


def check_home(settings: Settings) -> Iterator[Check]:
    """Whether others on this machine can read the database or the secret."""
    if not settings.home.exists():
        yield Check("home", "ok", f"{settings.home} is made at the first start")
        return
    database = () if settings.on_postgres else (settings.database_path,)
    open_to_others = [
        path
        for path in (settings.home, settings.home / "secret", *database)
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    for path in open_to_others:
        yield Check("home", "wrong", f"{path} is open to others: chmod {'700' if path.is_dir() else '600'} {path}")
    if not open_to_others:
        yield Check("home", "ok", f"{settings.home} is closed to others")


def check_database(settings: Settings) -> Iterator[Check]:
    """Whether the file can be opened, which schema it has, and how much room it has left to grow."""
    path = settings.database_path
    yield _schema(path) if path.exists() else Check("database", "ok", f"{path} is made at the first start")
    folder = next(parent for parent in path.resolve().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    enough = free >= LEAST_FREE
    yield Check("disk", "ok" if enough else "wrong", f"{free // 1024**2:,} MiB free in {folder}")


def check_executor(settings: Settings) -> Check:
    """Which process executes runs here, if one does."""
    lock = settings.database_path.with_name(settings.database_path.name + ".lock")
    holder = _holder(lock) if lock.exists() else None
    if holder is None:
        return Check("executor", "ok", "no process executes runs here now")
    return Check("executor", "ok", f"process {holder} executes runs here ({_command(holder)})")


def check_origins(settings: Settings) -> Iterator[Check]:
    """Which web pages may use the server."""
    for origin in settings.allowed_origins:
        host = origin.partition("://")[2].rpartition(":")[0] or origin.partition("://")[2]
        if origin.startswith("http://") and not is_loopback(host):
            yield Check("origins", "warning", f"{origin} is not https: its cookies can be read on the way")
    if settings.allowed_origins:
        yield Check("origins", "ok", f"pages of {', '.join(settings.allowed_origins)} are allowed")
    elif settings.trusted_proxies or settings.root_path:
        yield Check("origins", "warning", "behind a proxy, pages need NETRA_ALLOWED_ORIGINS")
    else:
        yield Check("origins", "ok", "only this server's own pages, on this machine, are allowed")


async def check_model(settings: Settings) -> Check:
    """Whether the model answers; the demo model says that it is one."""
    from netra_apex.providers import open_model

    key = settings.openai_api_key
    try:
        model = open_model(
            settings.model,
            openai_api_key=None if key is None else key.get_secret_value(),
            openai_base_url=settings.openai_base_url,
        )
    except ConfigurationError as error:
        return Check("model", "wrong", str(error))
    try:
        async with asyncio.timeout(MODEL_SECONDS):
            reason = await model.check()
    except TimeoutError:
        reason = f"{model.name} does not answer within {MODEL_SECONDS:g} s"
    except ModelFailed as error:
        reason = str(error)
    finally:
        await model.aclose()
    if reason is not None:
        return Check("model", "wrong", reason)
    if settings.model is None:
        return Check("model", "warning", "NETRA_MODEL is not set: the offline demo model answers")
    return Check("model", "ok", f"{model.name} answers")


def check_price(settings: Settings) -> Iterator[Check]:
    """Whether the model has a price, where a budget of money needs one."""
    from netra_apex.providers.prices import DEMO, Prices

    if not settings.costs_are_limited:
        return
    name = settings.model or DEMO
    if Prices(settings.own_prices, base_url=settings.openai_base_url).of(name) is not None:
        yield Check("price", "ok", f"what {name} costs is known")
        return
    why = "there is a budget of money, so it is not asked"
    yield Check("price", "wrong", f"what {name} costs is not known, and {why}: set NETRA_MODEL_PRICES={name}=IN/OUT")


async def check_telemetry(settings: Settings) -> AsyncIterator[Check]:
    """Whether telemetry has its packages, and somebody who takes it in."""
    from netra_apex.stream.telemetry import missing, receiver

    if settings.telemetry == "off":
        return
    if (lacking := missing(settings)) is not None:
        yield Check("telemetry", "wrong", lacking)
        return
    url = receiver()
    try:
        place = urlsplit(url)
        port = place.port or (443 if place.scheme == "https" else 80)
        async with asyncio.timeout(RECEIVER_SECONDS):
            _, writer = await asyncio.open_connection(place.hostname, port)
        writer.close()
    except (OSError, ValueError):  # a time-out too
        yield Check("telemetry", "warning", f"nobody answers at {url}: set OTEL_EXPORTER_OTLP_ENDPOINT")
        return
    yield Check("telemetry", "ok", f"traces and measures go to {url}")


def _schema(path: Path) -> Check:
    from netra_apex.stores.statements import migrations

    latest = max(each.version for each in migrations())
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2)) as connection:
            version = int(connection.execute("pragma user_version").fetchone()[0])
            connection.execute("select count(*) from sqlite_master").fetchone()
    except sqlite3.Error as error:
        return Check("database", "wrong", f"{path} cannot be opened: {error}")
    if version > latest:
        return Check("database", "wrong", f"{path} has schema {version}, of a newer version; this one knows {latest}")
    if version < latest:
        return Check("database", "warning", f"{path} has schema {version}; the next start makes it {latest}")
    return Check("database", "ok", f"{path} opens, schema {version}")


def _holder(lock: Path) -> int | None:
    """The process that holds the lock, from the kernel's own list; trying to take it would keep a server from it."""
    try:
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return None
    inode = f":{lock.stat().st_ino}"
    for line in lines:
        fields = line.split()
        if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5].endswith(inode):
            return int(fields[4])
    return None


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "of somebody else"
    return " ".join(word.decode(errors="replace") for word in words if word)
