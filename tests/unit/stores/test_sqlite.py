"""One writer, one reader, one file: order, group commit, cancels, and what another process does to it."""

import asyncio
import contextlib
import random
import sqlite3
import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run, until
from tests.support.stores import opened

from netra_apex.errors import HomeInUse, Invalid, NetraError, StoreError
from netra_apex.stores.sqlite import CHECKPOINT_COMMITS, ExecutorLock, SQLiteFile, _use_wal, connect, migrate, prepare
from netra_apex.stores.statements import migrations, statements

Job = Callable[[sqlite3.Connection], Any]


def with_database(folder: Path, main: Callable[[SQLiteFile], Any]) -> Any:
    """Runs `main` on a fresh database with a table `t (n integer primary key)`."""

    async def bounded() -> Any:
        prepare(folder / "netra.db")
        database = SQLiteFile(folder / "netra.db")
        try:
            await database.write(lambda c: c.execute("create table t (n integer primary key)"))
            return await main(database)
        finally:
            await database.close()

    return run(bounded())


def insert(number: int) -> Job:
    def job(connection: sqlite3.Connection) -> int:
        connection.execute("insert into t values (?)", (number,))
        return number

    return job


def numbers(connection: sqlite3.Connection) -> list[int]:
    return [row[0] for row in connection.execute("select n from t order by n")]


def test_a_job_answers_and_what_it_wrote_can_be_read_at_once(tmp_path: Path) -> None:
    async def main(database: SQLiteFile) -> None:
        assert await database.write(insert(1)) == 1
        assert await database.read(numbers) == [1]

    with_database(tmp_path, main)


def test_jobs_run_in_the_order_in_which_they_were_asked(tmp_path: Path) -> None:
    async def main(database: SQLiteFile) -> None:
        ran: list[int] = []
        asked = [
            database.write(lambda _, number=number: ran.append(number), linger=bool(number % 3)) for number in range(50)
        ]
        await asyncio.gather(*asked)
        assert ran == list(range(50))

    with_database(tmp_path, main)


def test_what_is_asked_in_one_moment_shares_one_commit(tmp_path: Path) -> None:
    async def main(database: SQLiteFile) -> None:
        begun: list[str] = []
        await database.write(lambda c: c.set_trace_callback(begun.append))
        begun.clear()
        await asyncio.gather(*(database.write(insert(number)) for number in range(100)))
        assert len([line for line in begun if line.lower().startswith("commit")]) == 1
        assert await database.read(numbers) == list(range(100))

    with_database(tmp_path, main)


def test_one_failing_job_among_many_fails_alone(tmp_path: Path) -> None:
    async def main(database: SQLiteFile) -> None:
        def bad(connection: sqlite3.Connection) -> None:
            connection.execute("insert into t values (1000)")
            connection.execute("insert into nowhere values (1)")

        def worse(connection: sqlite3.Connection) -> None:
            connection.execute("insert into t values (2000)")
            raise RuntimeError("a bug")

        jobs = [
            *map(insert, range(10)),
            bad,
            *map(insert, range(10, 20)),
            worse,
            insert(5),
            *map(insert, range(20, 30)),
        ]
        answers = await asyncio.gather(*map(database.write, jobs), return_exceptions=True)
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        assert [type(error) for error in failed] == [StoreError, RuntimeError, StoreError]
        assert isinstance(failed[0].__cause__, sqlite3.Error)
        assert "nowhere" in str(failed[0])
        assert [answer for answer in answers if not isinstance(answer, BaseException)] == list(range(30))
        assert await database.read(numbers) == list(range(30))

    with_database(tmp_path, main)


def test_a_refused_job_writes_nothing_and_the_others_are_committed_with_it(tmp_path: Path) -> None:
    async def main(database: SQLiteFile) -> None:
        def refuse(_: sqlite3.Connection) -> None:
            raise Invalid("not this")

        answers = await asyncio.gather(
            database.write(insert(1)), database.write(refuse), database.write(insert(2)), return_exceptions=True
        )
        assert isinstance(answers[1], Invalid)
        assert await database.read(numbers) == [1, 2]

    with_database(tmp_path, main)


def test_a_read_that_fails_is_its_readers_alone(tmp_path: Path) -> None:
    async def main(database: SQLiteFile) -> None:
        answers = await asyncio.gather(
            database.read(lambda c: c.execute("select 1").fetchone()),
            database.read(lambda c: c.execute("select nothing from nowhere")),
            database.read(lambda c: c.execute("select 2").fetchone()),
            return_exceptions=True,
        )
        assert (answers[0], answers[2]) == ((1,), (2,))
        assert isinstance(answers[1], StoreError)

    with_database(tmp_path, main)


def test_nothing_can_be_written_through_a_read(tmp_path: Path) -> None:
    async def main(database: SQLiteFile) -> None:
        with pytest.raises(StoreError, match="readonly"):
            await database.read(insert(1))
        assert await database.read(numbers) == []

    with_database(tmp_path, main)


def test_a_thousand_random_cancels_leave_answers_with_their_questions(tmp_path: Path) -> None:
    async def main(database: SQLiteFile) -> None:
        chance = random.Random(7)
        answered: list[int] = []

        async def ask(number: int) -> None:
            if number % 2:
                answer = await database.write(insert(number))
            else:
                answer = await database.read(lambda c: c.execute("select ?", (number,)).fetchone()[0])
            assert answer == number
            answered.append(number)

        tasks = []
        cancelled = 0
        for number in range(2_000):
            tasks.append(asyncio.create_task(ask(number)))
            if chance.random() < 0.5:
                cancelled += chance.choice(tasks[-20:]).cancel()
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        for task in chance.sample(tasks, 1_000):
            cancelled += task.cancel()
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert cancelled > 500
        assert [end for end in ends if end is not None and not isinstance(end, asyncio.CancelledError)] == []
        assert len(answered) > 100
        # Whoever was told that a row is written finds it; and the store still answers what it is asked.
        assert {number for number in answered if number % 2} <= set(await database.read(numbers))
        assert [await database.read(lambda c, n=n: n) for n in range(5)] == list(range(5))

    with_database(tmp_path, main)


def test_what_was_asked_before_closing_is_done_and_nothing_after(tmp_path: Path) -> None:
    async def main() -> None:
        prepare(tmp_path / "netra.db")
        database = SQLiteFile(tmp_path / "netra.db")
        await database.write(lambda c: c.execute("create table t (n integer primary key)"))
        asked = [database.write(insert(number), linger=True) for number in range(20)]
        await database.close()
        assert [future.result() for future in asked] == list(range(20))
        for ask in (database.write, database.read):
            with pytest.raises(StoreError, match="closed"):
                await ask(numbers)
        with sqlite3.connect(tmp_path / "netra.db") as look:
            assert numbers(look) == list(range(20))
        look.close()

    run(main())


def test_what_was_committed_is_copied_into_the_file_beside_the_writing(tmp_path: Path) -> None:
    file = tmp_path / "netra.db"

    async def main(database: SQLiteFile) -> None:
        empty = file.stat().st_size
        for number in range(CHECKPOINT_COMMITS):
            await database.write(insert(number))
        await until(lambda: file.stat().st_size > empty)  # a table's first page is new in the file
        assert await database.read(numbers) == list(range(CHECKPOINT_COMMITS))

    with_database(tmp_path, main)


def test_the_database_is_whole_and_durable_as_the_contract_needs(tmp_path: Path) -> None:
    async def main(database: SQLiteFile) -> None:
        for name, wanted in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert await database.write(lambda c, n=name: c.execute(f"pragma {n}").fetchone()[0]) == wanted

    with_database(tmp_path, main)


def test_changed_elsewhere_sees_another_process_and_never_itself(tmp_path: Path) -> None:
    async def main(database: SQLiteFile) -> None:
        await database.changed_elsewhere()
        for number in range(5):
            await database.write(insert(number))
            assert not await database.changed_elsewhere()
        other = sqlite3.connect(tmp_path / "netra.db")
        with other:
            other.execute("insert into t values (100)")
        assert await database.changed_elsewhere()
        assert not await database.changed_elsewhere()
        other.close()

    with_database(tmp_path, main)


def test_a_write_waits_for_another_process_that_is_writing(tmp_path: Path) -> None:
    async def main(database: SQLiteFile) -> None:
        other = sqlite3.connect(tmp_path / "netra.db", isolation_level=None, check_same_thread=False)
        other.execute("begin immediate")
        other.execute("insert into t values (1)")
        waiting = database.write(insert(2))
        assert await database.read(numbers) == []
        assert not waiting.done()
        await asyncio.to_thread(other.execute, "commit")
        assert await waiting == 2
        assert await database.read(numbers) == [1, 2]
        other.close()

    with_database(tmp_path, main)


def test_home_and_database_are_their_owners_alone(tmp_path: Path) -> None:
    async def main() -> None:
        home = tmp_path / "deep" / "home"
        async with opened(home, executing=True) as stores:
            await stores.accounts.put_setup_token("h", datetime.now(UTC))
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()}
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert modes.keys() >= {"netra.db", "netra.db-wal", "netra.db.lock"}
        assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}

    run(main())


def test_a_database_that_cannot_be_made_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be made"):
        prepare(tmp_path / "file" / "netra.db")
    (tmp_path / "no.db").write_text("this is no database, whatever its name may say" * 50)
    with pytest.raises(StoreError, match="cannot be opened"):
        connect(tmp_path / "no.db")


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    connection = connect(tmp_path / "netra.db")
    latest = migrate(connection)
    assert latest == max(each.version for each in migrations())
    assert migrate(connection) == latest
    connection.execute(f"pragma user_version = {latest + 1}")
    with pytest.raises(StoreError, match=f"schema {latest + 1}, made by a newer version"):
        migrate(connection)
    assert connection.execute("pragma user_version").fetchone()[0] == latest + 1
    connection.close()


class Slow(sqlite3.Connection):
    """Once it has let go of the lock, it lets whoever else migrates look at the version too before it goes on."""

    both_looked: threading.Barrier

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:  # type: ignore[override]
        cursor = super().execute(sql, *values)
        if sql == "commit":
            # Who migrates under one lock need not wait for the other, and does not wait long.
            with contextlib.suppress(threading.BrokenBarrierError):
                self.both_looked.wait(0.5)
        return cursor


def test_of_two_that_migrate_at_once_one_does_it_and_the_other_finds_it_done(tmp_path: Path) -> None:
    Slow.both_looked = threading.Barrier(2)
    ends: list[int | NetraError] = []

    def work() -> None:
        connection = sqlite3.connect(tmp_path / "netra.db", isolation_level=None, factory=Slow)
        connection.execute("pragma busy_timeout = 5000")
        _use_wal(connection)
        try:
            ends.append(migrate(connection))
        except NetraError as error:
            ends.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert ends == [max(each.version for each in migrations())] * 2


def test_a_migration_that_breaks_leaves_the_schema_as_it_was(tmp_path: Path) -> None:
    connection = connect(tmp_path / "netra.db")
    connection.execute("create table messages (x)")  # in the way of the first migration
    with pytest.raises(StoreError, match="brought up to date"):
        migrate(connection)
    assert connection.execute("pragma user_version").fetchone()[0] == 0
    assert [row[0] for row in connection.execute("select name from sqlite_master")] == ["messages"]
    assert not connection.in_transaction
    connection.close()


def test_one_lock_at_a_time_and_it_can_be_taken_again_when_it_is_let_go(tmp_path: Path) -> None:
    lock = ExecutorLock(tmp_path / "netra.db")
    with pytest.raises(HomeInUse, match="already executes runs") as refused:
        ExecutorLock(tmp_path / "netra.db")
    assert refused.value.home == str(tmp_path)
    lock.release()
    ExecutorLock(tmp_path / "netra.db").release()


def test_stores_that_do_not_execute_open_beside_one_that_does(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path, executing=True) as server, opened(tmp_path) as command:
            await command.accounts.add_user("ada", "hash", frozenset())
            assert await server.accounts.user("ada") is not None
            with pytest.raises(HomeInUse):
                async with opened(tmp_path, executing=True):
                    pass
        async with opened(tmp_path, executing=True) as again:
            assert len(await again.accounts.users()) == 1

    run(main())


def test_every_statement_has_a_name_and_is_used() -> None:
    source = Path(__file__).parents[3] / "src" / "netra_apex" / "stores"
    files_of = {"runs": ("runs", "accepting", "telling"), "journal": ("steps",)}
    for room in ("accounts", "conversations", "runs", "journal", "turns"):
        files = files_of.get(room, (room,))
        code = "".join((source / f"{file}.py").read_text() for file in files)
        for name, body in statements(room).items():
            assert body
            assert f'"{name}"' in code, f"{room}.sql has {name}, which nothing uses"


def test_a_link_to_a_database_is_the_same_database(tmp_path: Path) -> None:
    real, other = tmp_path / "netra.db", tmp_path / "other" / "netra.db"
    prepare(real)
    other.parent.mkdir()
    other.symlink_to(real)
    lock = ExecutorLock(real)
    with pytest.raises(HomeInUse):
        ExecutorLock(other)
    lock.release()
    ExecutorLock(other).release()
