"""What a killed process leaves behind: everything that it was told is stored, and no lock (G7)."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netra_apex.errors import HomeInUse
from netra_apex.stores.sqlite import ExecutorLock, connect, prepare

WRITER = """
import asyncio, sys
from pathlib import Path
from netra_apex.stores.sqlite import SQLiteFile, prepare

async def main():
    prepare(Path(sys.argv[1]))
    database = SQLiteFile(Path(sys.argv[1]))
    await database.write(lambda c: c.execute("create table if not exists t (n integer primary key)"))

    async def one(number):
        await database.write(lambda c: c.execute("insert into t values (?)", (number,)), linger=bool(number % 2))
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()

    number = 0
    while True:
        await asyncio.gather(*(one(number + each) for each in range(7)))
        number += 7

asyncio.run(main())
"""

LOCKER = """
import sys, time
from pathlib import Path
from netra_apex.stores.sqlite import ExecutorLock
lock = ExecutorLock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""

OPENER = """
import asyncio, sys
from pathlib import Path
from netra_apex.stores.sqlite import SQLiteFile, prepare

async def main():
    path = Path(sys.argv[1])
    prepare(path)
    print("ready", flush=True)
    sys.stdin.readline()
    database = SQLiteFile(path)
    print(database.schema_version, flush=True)
    await database.close()

asyncio.run(main())
"""


@contextmanager
def process(source: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A Python process that is gone when the block is left."""
    child = subprocess.Popen(
        [sys.executable, "-c", source, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait(20)
        assert child.stdin
        assert child.stdout
        child.stdin.close()
        child.stdout.close()


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "netra.db"
    with process(WRITER, path) as child:
        assert child.stdout
        told = [int(child.stdout.readline()) for _ in range(300)]
        os.kill(child.pid, signal.SIGKILL)
        told += [int(line) for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        assert child.wait(20) == -signal.SIGKILL
    connection = connect(path)
    stored = {row[0] for row in connection.execute("select n from t")}
    assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    connection.close()
    assert len(told) >= 300
    assert set(told) <= stored


def test_a_lock_is_another_processs_until_it_dies_however_it_dies(tmp_path: Path) -> None:
    path = tmp_path / "netra.db"
    prepare(path)
    with process(LOCKER, path) as child:
        assert child.stdout
        assert child.stdout.readline() == "locked\n"
        with pytest.raises(HomeInUse):
            ExecutorLock(path)
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait(20) == -signal.SIGKILL
        ExecutorLock(path).release()


def test_processes_that_start_together_all_find_the_same_schema(tmp_path: Path) -> None:
    path = tmp_path / "netra.db"
    with process(OPENER, path) as one, process(OPENER, path) as two, process(OPENER, path) as three:
        children = (one, two, three)
        for child in children:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin
            child.stdin.write("go\n")
            child.stdin.flush()
        versions = [child.stdout.readline() for child in children if child.stdout]
    look = sqlite3.connect(path)
    assert versions == [f"{look.execute('pragma user_version').fetchone()[0]}\n"] * 3
    look.close()
