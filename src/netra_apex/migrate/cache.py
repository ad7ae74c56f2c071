"""What was found out before, in one SQLite file: facts by the digest of a file's bytes, digests by its stat.

Nothing in it is believed without its own digest, and a file that is no database is made anew: a broken cache costs
time, never a wrong finding. Other versions of this code or of Python begin an empty one.
"""

import contextlib
import hashlib
import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

FOLDER = ".netra_audit"
_SOURCES = ("extract.py", "shapes.py", "facts.py", "comments.py", "source.py", "unparsed.py")
_RACY_NS = 2_000_000_000  # a file may change again within the grain of its time
_SCHEMA = """
create table if not exists meta (version text not null);
create table if not exists files (path text primary key, stat blob not null, digest blob not null) without rowid;
create table if not exists facts (digest blob primary key, head blob not null, body blob not null, sum blob not null);
create table if not exists reports (key blob primary key, data blob not null, sum blob not null);
"""


class Stored(NamedTuple):
    """The facts of a file, encoded."""

    digest: bytes
    head: bytes
    body: bytes


def digest(*parts: bytes) -> bytes:
    """Sixteen bytes that name a content."""
    made = hashlib.blake2b(digest_size=16)
    for part in parts:
        made.update(len(part).to_bytes(8, "little"))
        made.update(part)
    return made.digest()


def version() -> str:
    """What facts depend on besides a file's bytes: this code, and the Python that parses."""
    here = Path(__file__).parent
    return sys.version + digest(*((here / name).read_bytes() for name in _SOURCES)).hex()


class Cache:
    """The cache of one project; `None` for a folder keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / "cache.sqlite"
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        if self._path is None:
            return self
        with contextlib.suppress(OSError, sqlite3.Error):
            self._path.parent.mkdir(exist_ok=True)
            ignore = self._path.parent / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
        for _ in range(2):
            try:
                self._connection = self._opened(self._path)
                break
            except sqlite3.OperationalError:
                break  # it cannot be written here, or another audit writes: do without
            except sqlite3.DatabaseError:
                self._discard()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.close()

    def _opened(self, path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=2.0)
        try:
            connection.execute("pragma synchronous = off")
            connection.executescript(_SCHEMA)
            row = connection.execute("select version from meta").fetchone()
            if row is None or row[0] != version():
                with connection:
                    for table in ("meta", "files", "facts", "reports"):
                        connection.execute(f"delete from {table}")  # noqa: S608 - names of our own
                    connection.execute("insert into meta values (?)", (version(),))
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection

    def _discard(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._path is not None:
            for suffix in ("", "-journal"):
                with contextlib.suppress(OSError):
                    Path(f"{self._path}{suffix}").unlink()

    def _rows(self, statement: str, *values: object) -> list[tuple[bytes, ...]]:
        if self._connection is None:
            return []
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.DatabaseError:
            self._discard()
            return []

    def digests(self) -> dict[str, tuple[bytes, bytes]]:
        """Path to stat and digest, as they were last time."""
        rows = self._rows("select path, stat, digest from files")
        return {str(path): (stat, known) for path, stat, known in rows if isinstance(path, str)}

    def facts(self) -> dict[bytes, Stored]:
        """All facts that are kept and whole."""
        found: dict[bytes, Stored] = {}
        for known, head, body, total in self._rows("select digest, head, body, sum from facts"):
            if digest(known, head, body) == total:
                found[known] = Stored(known, head, body)
        return found

    def report(self, key: bytes) -> bytes | None:
        """What `keep_report` kept."""
        for data, total in self._rows("select data, sum from reports where key = ?", key):
            if digest(key, data) == total:
                return data
        return None

    def keep(self, files: Mapping[str, tuple[bytes, bytes]], made: Iterable[Stored]) -> None:
        """Keeps stats and digests of all files, and new facts; forgets the facts of no file."""
        if self._connection is None:
            return
        with contextlib.suppress(sqlite3.DatabaseError), self._connection as connection:
            connection.executemany(
                "insert or replace into facts values (?, ?, ?, ?)",
                ((each.digest, each.head, each.body, digest(*each)) for each in made),
            )
            connection.execute("delete from files")
            connection.executemany(
                "insert into files values (?, ?, ?)", ((path, *known) for path, known in files.items())
            )
            connection.execute("delete from facts where digest not in (select digest from files)")

    def keep_report(self, key: bytes, data: bytes) -> None:
        """Keeps the outcome of a whole audit: the last few of them."""
        if self._connection is None:
            return
        with contextlib.suppress(sqlite3.DatabaseError), self._connection as connection:
            connection.execute("insert or replace into reports values (?, ?, ?)", (key, data, digest(key, data)))
            connection.execute("delete from reports where rowid <= (select max(rowid) - 8 from reports)")


def stat_of(path: str) -> bytes | None:
    """What tells without reading whether a file is as it was; None where it is no readable file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - ten thousand times
    except OSError:
        return None
    settled = found.st_mtime_ns if time.time_ns() - found.st_mtime_ns > _RACY_NS else -1
    return b"%d %d %d %d" % (found.st_size, settled, found.st_ino, found.st_ctime_ns)


def settled(stat: bytes) -> bool:
    """Whether a stat may be believed: the file did not change a moment ago."""
    return stat.split(b" ")[1] != b"-1"
