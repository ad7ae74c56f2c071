"""Writing to Postgres in lanes, and what becomes of it when the server or a connection goes away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any
from zlib import crc32

import pytest
from tests.support.bounded import run, turns, until
from tests.support.postgres import Database, PostgresServer, sql
from tests.support.relay import Relay, relay
from tests.support.stores import HERE, accept, context_of, stamped

from netra_apex.core.events import AgentStarted, AgentThinking
from netra_apex.errors import Invalid, StoreError
from netra_apex.settings import Settings
from netra_apex.stores import Stores, open_stores
from netra_apex.stores import postgres as module
from netra_apex.stores.connecting import Connection, Server
from netra_apex.stores.database import Transaction
from netra_apex.stores.postgres import LANES, Postgres

TABLE = (
    "create table notes (at bigserial primary key, user_id text not null, n bigint not null)",
    "alter table notes enable row level security",
    "alter table notes force row level security",
    "create policy owner on notes using (user_id = current_setting('app.user_id', true))",
)
ADD = "insert into notes (user_id, n) values (:user, :n) returning pg_current_xact_id()::text"
ENDS_ITSELF = "select pg_terminate_backend(pg_backend_pid())"


# Where what must not be done twice leaves its mark: the schema's own.
MARKS = "create table commits (token text primary key, committed_at bigint not null)"


@pytest.fixture
def place(postgres: PostgresServer) -> Iterator[Database]:
    """A database with a table of notes, which row-level security guards."""
    with postgres.database() as database:
        sql(database.url, *TABLE, MARKS)
        yield database


@contextlib.asynccontextmanager
async def opened(url: str, **how: Any) -> AsyncIterator[Postgres]:
    database = await Postgres.open(Server(url), **how)
    try:
        yield database
    finally:
        await database.close()


class Note:
    """A job that notes a number down, and gives its transaction's id; it counts how often it was run."""

    def __init__(self, user: str, n: int, *then: str) -> None:
        self.user = user
        self.n = n
        self.runs = 0
        self._then = then

    async def __call__(self, tx: Transaction) -> str:
        self.runs += 1
        row = await tx.one(ADD, {"user": self.user, "n": self.n})
        if self.runs == 1:
            for statement in self._then:
                await tx.all(statement, {})
        assert row is not None
        return row[0]


def noted(place: Database) -> list[tuple[str, int]]:
    """Everybody's notes, in order."""
    return [tuple(row) for row in sql(place.admin_url, "select user_id, n from notes order by at")]


def neighbours(count: int) -> list[str]:
    """Users who share a lane."""
    named = (f"u{number}" for number in range(1000))
    return [name for name in named if crc32(name.encode()) % LANES == 0][:count]


@contextlib.asynccontextmanager
async def held(url: str) -> AsyncIterator[asyncio.Event]:
    """Holds a lock that `WAIT` waits for, until the event is set."""
    connection: Connection = await Server(url).connect()
    await connection.execute("select pg_advisory_lock(4711)")
    free = asyncio.Event()

    async def until_free() -> None:
        await free.wait()
        await connection.execute("select pg_advisory_unlock(4711)")

    task = asyncio.create_task(until_free())
    try:
        yield free
    finally:
        free.set()
        await task
        await connection.close()


WAIT = "select pg_advisory_xact_lock(4711)"
WAITING = "select 1 from pg_locks where locktype = 'advisory' and not granted and objid = 4711"


async def waited_for(url: str) -> None:
    """Returns once somebody waits for the lock."""
    connection = await Server(url).connect()
    while await connection.fetchval(WAITING) is None:
        pass
    await connection.close()


# Lanes


def test_what_a_user_asks_for_is_done_in_its_order(place: Database) -> None:
    async def main() -> None:
        async with opened(place.url) as database:
            asked = [database.write(Note("ada", n), user="ada", linger=n % 3 > 0) for n in range(60)]
            await asyncio.gather(*asked)

    run(main())
    assert noted(place) == [("ada", n) for n in range(60)]


def test_what_lingers_shares_a_commit_and_goes_when_somebody_is_in_a_hurry(
    place: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 3600)

    async def main() -> None:
        async with opened(place.url) as database:
            asked = [database.write(Note("ada", n), user="ada", linger=True) for n in range(3)]
            await turns()
            assert not any(each.done() for each in asked)
            database.hurry()
            assert len(set(await asyncio.gather(*asked))) == 1
            lingering = database.write(Note("ada", 3), user="ada", linger=True)
            at_once = database.write(Note("ada", 4), user="ada")
            assert await lingering == await at_once

    run(main())


def test_what_is_asked_for_during_a_commit_shares_the_next_one(place: Database) -> None:
    async def main() -> None:
        async with opened(place.url) as database, held(place.url) as free:
            first = database.write(Note("ada", 0, WAIT), user="ada")
            await waited_for(place.url)
            others = [database.write(Note("ada", n), user="ada", linger=n == 1) for n in (1, 2, 3)]
            await turns()
            free.set()
            assert len({await first, *await asyncio.gather(*others)}) == 2

    run(main())


@pytest.mark.parametrize("failing", ["raises", "statement", "value"])
def test_a_job_that_fails_takes_nobody_elses_with_it(place: Database, failing: str) -> None:
    users = neighbours(3)
    numbers = {"statement": None, "value": 2**70}

    async def fails(tx: Transaction) -> None:
        await Note(users[1], 1)(tx)
        if failing == "raises":
            raise ZeroDivisionError("a job's own")
        await tx.run("insert into notes (user_id, n) values (:user, :n)", {"user": users[1], "n": numbers[failing]})

    async def main() -> None:
        async with opened(place.url) as database:
            jobs = [Note(users[0], 0), fails, Note(users[2], 2)]
            asked = [database.write(job, user=user, linger=True) for user, job in zip(users, jobs, strict=True)]
            done = await asyncio.gather(*asked, return_exceptions=True)
            assert isinstance(done[1], ZeroDivisionError if failing == "raises" else StoreError)
            assert [isinstance(each, str) for each in done] == [True, False, True]

    # A value that no server takes is not taken for a server that is gone, which would be waited for.
    run(main(), limit=10)
    assert noted(place) == [(users[0], 0), (users[2], 2)]


def test_a_job_that_is_refused_leaves_the_others_in_its_transaction(place: Database) -> None:
    users = neighbours(3)
    others = [Note(users[0], 0), Note(users[2], 2)]

    async def refuses(tx: Transaction) -> None:
        await tx.all("select n from notes", {})
        raise Invalid("not this one")

    async def main() -> None:
        async with opened(place.url) as database:
            first = database.write(others[0], user=users[0], linger=True)
            middle = database.write(refuses, user=users[1], linger=True)
            last = database.write(others[1], user=users[2], linger=True)
            done = await asyncio.gather(first, middle, last, return_exceptions=True)
            assert isinstance(done[1], Invalid)
            assert done[0] == done[2]

    run(main())
    assert [each.runs for each in others] == [1, 1]


def test_users_whose_jobs_share_a_transaction_see_their_own_rows_alone(place: Database) -> None:
    users = neighbours(4)

    def looks(user: str) -> Any:
        async def job(tx: Transaction) -> tuple[Any, list[Any]]:
            number = await Note(user, 1)(tx)
            return number, await tx.all("select distinct user_id from notes", {})

        return job

    async def main() -> None:
        async with opened(place.url) as database:
            asked = [database.write(looks(user), user=user, linger=True) for user in [*users, *reversed(users)]]
            done = await asyncio.gather(*asked)
            assert len({number for number, _ in done}) == 1
            assert [seen for _, seen in done] == [[(user,)] for user in [*users, *reversed(users)]]
            assert await database.read(lambda tx: tx.all("select * from notes", {}), user=None) == []

    run(main())


def test_a_connection_that_is_given_back_acts_for_nobody(place: Database) -> None:
    async def main() -> None:
        async with opened(place.url) as database:
            await database.write(Note("ada", 1), user="ada", alone=True)
            with pytest.raises(ZeroDivisionError):
                await database.write(fails, user="ada", alone=True)
            await asyncio.gather(*(database.read(lambda tx: tx.one("select 1", {}), user="ada") for _ in range(4)))
            taken = [await database.acquire() for _ in range(5)]
            for each in taken:
                assert await each.fetch("select * from notes") == []
                assert not await each.fetchval("select current_setting('app.user_id', true)")
                await database.release(each)

    async def fails(tx: Transaction) -> None:
        raise ZeroDivisionError

    run(main())


@pytest.mark.parametrize("alone", [False, True])
def test_a_job_whose_asker_was_cancelled_is_done_whole_and_its_neighbours_too(place: Database, alone: bool) -> None:
    users = neighbours(2)
    job = Note(users[0], 1, WAIT, f"insert into notes (user_id, n) values ('{users[0]}', 2)")

    async def main() -> None:
        async with opened(place.url) as database, held(place.url) as free:

            async def ask() -> None:
                await database.write(job, user=users[0], linger=True, alone=alone)

            asker = asyncio.create_task(ask())
            await turns(1)
            neighbour = database.write(Note(users[1], 3), user=users[1], linger=True)
            await waited_for(place.url)
            asker.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asker
            free.set()
            await neighbour

    run(main())
    assert sorted(noted(place)) == sorted([(users[0], 1), (users[0], 2), (users[1], 3)])
    assert job.runs == 1


def test_closing_waits_for_everything_that_was_asked_for(place: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 3600)

    async def main() -> None:
        async with opened(place.url) as database, held(place.url) as free:
            under_way = database.write(Note("ada", 0, WAIT), user="ada")
            await waited_for(place.url)
            lingering = database.write(Note("ada", 1), user="ada", linger=True)
            alone = database.write(Note("ada", 2), user="ada", alone=True)
            read = database.read(lambda tx: tx.all("select 1", {}), user="ada")
            closing = asyncio.create_task(database.close())
            await turns()
            assert not closing.done()
            with pytest.raises(StoreError, match="the database is closed"):
                database.write(Note("ada", 3), user="ada")
            free.set()
            await closing
            assert all(each.done() and each.exception() is None for each in (under_way, lingering, alone, read))

    run(main())
    assert sorted(n for _, n in noted(place)) == [0, 1, 2]


@pytest.mark.parametrize("user", ["o'neil", "back\\slash", "\\'; reset role --", 'ünï "x"', "%s :user $1"])
def test_any_name_is_a_users_own(place: Database, user: str) -> None:
    sql(place.admin_url, f"alter role {place.role} in database {place.name} set standard_conforming_strings = off")

    async def main() -> None:
        async with opened(place.url) as database:
            await database.write(Note(user, 1), user=user)
            await database.write(Note("eve", 1), user="eve", alone=True)
            assert await database.read(lambda tx: tx.all("select user_id from notes", {}), user=user) == [(user,)]

    run(main())


def test_an_error_tells_nothing_of_the_row_that_was_not_taken(place: Database) -> None:
    # Of a table without row-level security: of others the server itself keeps it back.
    sql(place.url, "create table plain (said text check (said <> 'a secret'))")

    async def says(tx: Transaction) -> None:
        await tx.run("insert into plain (said) values (:said)", {"said": "a secret"})

    async def main() -> None:
        async with opened(place.url) as database:
            with pytest.raises(StoreError, match="the database refused: ") as refused:
                await database.write(says, user="ada")
            assert "a secret" in str(refused.value.__cause__)
            assert "a secret" not in str(refused.value)

    run(main())


def test_a_table_that_is_changed_under_a_running_server_stops_nobody(place: Database) -> None:
    async def main() -> None:
        async with opened(place.url) as database:
            everything = "select * from notes"
            for alone in (False, True):
                await database.write(lambda tx: tx.all(everything, {}), user="ada", alone=alone)
                await database.read(lambda tx: tx.all(everything, {}), user="ada")
                await asyncio.to_thread(sql, place.url, f"alter table notes add more_{alone} text")
                await database.read(lambda tx: tx.all(everything, {}), user="ada")
                await database.write(lambda tx: tx.all(everything, {}), user="ada", alone=alone)

    run(main())


# Connections and servers that go away


@pytest.mark.parametrize("alone", [False, True])
def test_a_connection_that_is_killed_in_the_middle_is_replaced_and_the_job_done_once(
    place: Database, alone: bool
) -> None:
    job = Note("ada", 1, ENDS_ITSELF)

    async def main() -> None:
        async with opened(place.url) as database:
            await database.write(job, user="ada", alone=alone)
            reads = 0

            async def read(tx: Transaction) -> list[Any]:
                nonlocal reads
                reads += 1
                return await tx.all(ENDS_ITSELF if reads == 1 else "select n from notes", {})

            assert await database.read(read, user="ada") == [(1,)]

    run(main())
    assert job.runs == 2
    assert noted(place) == [("ada", 1)]


def test_connections_that_are_killed_while_nobody_uses_them_are_replaced(place: Database) -> None:
    async def main() -> None:
        async with opened(place.url) as database:
            for n in range(3):
                await database.write(Note("ada", n), user="ada")
                await asyncio.gather(*(database.read(lambda tx: tx.one("select 1", {}), user=None) for _ in range(5)))
                kill = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
                await asyncio.to_thread(sql, place.admin_url, f"{kill} and pid <> pg_backend_pid()")

    run(main())
    assert noted(place) == [("ada", 0), ("ada", 1), ("ada", 2)]


def test_two_that_lock_in_each_others_order_both_pass(place: Database) -> None:
    sql(place.admin_url, f"alter role {place.role} set deadlock_timeout = '20ms'")
    both = asyncio.Barrier(2)
    waits = 0

    def locks(first: str, second: str) -> Any:
        async def job(tx: Transaction) -> None:
            nonlocal waits
            await tx.lock(first)
            waits += 1
            if waits <= 2:
                await both.wait()
            await tx.lock(second)
            await Note(first, 1)(tx)

        return job

    async def main() -> None:
        async with opened(place.url) as database:
            await asyncio.gather(
                database.write(locks("a", "b"), user="a", alone=True),
                database.write(locks("b", "a"), user="b", alone=True),
            )

    run(main())
    assert sorted(noted(place)) == [("a", 1), ("b", 1)]
    assert waits == 3


def test_what_is_asked_for_while_the_server_is_gone_waits_for_it(place: Database, postgres: PostgresServer) -> None:
    async def main() -> None:
        async with opened(place.url) as database:
            await database.write(Note("ada", 0), user="ada")
            await asyncio.to_thread(postgres.stop)
            asked = [database.write(Note("ada", n), user="ada", linger=n == 1, alone=n == 2) for n in (1, 2, 3)]
            read = database.read(lambda tx: tx.all("select n from notes where n = 0", {}), user="ada")
            check = asyncio.create_task(database.check())
            refused: list[str] = []
            while not refused:  # until a new connection was refused, as theirs are
                try:
                    await Server(place.url).connect()
                except OSError as error:
                    refused.append(str(error))
            assert not any(each.done() for each in (*asked, read, check))
            await asyncio.to_thread(postgres.start)
            await asyncio.gather(*asked, check)
            assert await read == [(0,)]

    run(main())
    assert sorted(noted(place)) == [("ada", n) for n in range(4)]


def test_a_server_that_stays_away_is_an_error_and_when_it_comes_back_all_is_well(
    place: Database, postgres: PostgresServer
) -> None:
    async def main() -> None:
        async with opened(place.url, ride_out_seconds=0.3) as database:
            await asyncio.to_thread(postgres.stop)
            asked = [database.write(Note("ada", n), user="ada", linger=n == 1, alone=n == 2) for n in (1, 2, 3)]
            read = database.read(lambda tx: tx.all("select 1", {}), user="ada")
            done = await asyncio.gather(*asked, read, return_exceptions=True)
            assert all(isinstance(each, StoreError) for each in done)
            assert {str(each).partition(": ")[0] for each in done} == {"the database cannot be reached"}
            await asyncio.to_thread(postgres.start)
            await database.write(Note("ada", 4), user="ada")

    run(main())
    assert noted(place) == [("ada", 4)]


# Nothing lost, nothing twice


@pytest.fixture
def empty(postgres: PostgresServer) -> Iterator[Database]:
    """A database in which the stores make their schema."""
    with postgres.database() as database:
        yield database


@contextlib.asynccontextmanager
async def cut(place: Database, postgres: PostgresServer) -> AsyncIterator[tuple[Stores, Relay]]:
    """Stores that are led to the server by a relay."""
    async with relay(postgres.port) as there:
        url = place.url.replace(f":{postgres.port}/", f":{there.port}/")
        async with open_stores(Settings(database_url=url)) as stores:
            yield stores, there


class Cuts:
    """Cuts the next transaction at its commit, once."""

    def __init__(self, when: str) -> None:
        self.when = when
        self.done = False

    def __call__(self, piece: bytes) -> str | None:
        if self.done or b"commit\0" not in piece:
            return None
        self.done = True
        return self.when


@pytest.mark.parametrize("when", ["before", "after"])
def test_events_are_stored_once_where_the_connection_breaks_at_their_commit(
    empty: Database, postgres: PostgresServer, when: str
) -> None:
    async def main() -> None:
        async with cut(empty, postgres) as (stores, there):
            accepted = await accept(stores)
            told = stamped(AgentStarted(task="hi"), AgentThinking(text="hm", step=1))
            there.seen = cuts = Cuts(when)
            await stores.runs.append(context_of(accepted), told)
            assert cuts.done
            await stores.runs.append(context_of(accepted), stamped(AgentThinking(text="so", step=2), first=3))
            assert [seq for seq, _ in await stores.runs.events("ada", accepted.run_id, 0)] == [1, 2, 3]

    run(main())


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_asked_for_alone_is_done_once_where_the_connection_breaks_at_its_commit(
    empty: Database, postgres: PostgresServer, when: str
) -> None:
    async def main() -> None:
        async with cut(empty, postgres) as (stores, there):
            there.seen = Cuts(when)
            accepted = await accept(stores)
            there.seen = Cuts(when)
            again = await accept(stores, thread_id=accepted.thread_id)
            assert (accepted.repeated, again.repeated) == (False, False)
            there.seen = Cuts(when)
            await stores.accounts.add_user("ada", "hash", frozenset())
            with pytest.raises(Invalid):
                await stores.accounts.add_user("ada", "hash", frozenset())
            there.seen = Cuts(when)
            assert HERE.executor is not None
            await stores.turns.leave_all_of(HERE.executor)
            there.seen = Cuts(when)
            claim = await stores.turns.claim("ada", accepted.run_id)
            assert claim is not None
            assert claim.epoch == 2
            there.seen = Cuts(when)
            thread = await stores.conversations.add_thread("ada", "thr_1", "a title")
            there.seen = Cuts(when)
            assert await stores.conversations.delete_thread("ada", thread.thread_id)
            assert [run.run_id for run in await stores.runs.all_runs()] == [again.run_id, accepted.run_id]

    run(main())
    # Marks about which there is no doubt any more are taken away by those that follow.
    assert sql(empty.url, "select count(*) from commits")[0][0] == 1


def test_after_a_crash_another_transaction_of_the_same_number_is_not_taken_for_ones_own(
    empty: Database, postgres: PostgresServer
) -> None:
    """A server that crashes forgets the numbers that it has not written down, and gives them out again."""

    async def main() -> None:
        async with cut(empty, postgres) as (stores, there):
            await accept(stores)

            def crash(piece: bytes) -> str | None:
                if b"commit\0" not in piece:
                    return None
                there.seen = lambda _: None
                postgres.restart()
                for _ in range(20):  # which take the numbers that were forgotten
                    sql(empty.url, "select pg_current_xact_id()")
                return "before"

            there.seen = crash
            accepted = await accept(stores, "bob")
            assert await stores.runs.run("bob", accepted.run_id) is not None

    run(main(), limit=60)


async def all_go_on(told: dict[str, int]) -> None:
    """Returns once each of them has told more than now."""
    before = dict(told)
    await until(lambda: all(told[user] > before[user] for user in before))


def test_a_server_that_is_restarted_under_load_loses_nothing_and_does_nothing_twice(
    empty: Database, postgres: PostgresServer
) -> None:
    people, restarts = 12, 3

    async def main() -> None:
        async with open_stores(Settings(database_url=empty.url)) as stores:
            stop = asyncio.Event()
            told: dict[str, int] = {}

            async def tells(user: str) -> None:
                accepted = await accept(stores, user)
                told[user] = seq = 0
                while not stop.is_set():
                    event = stamped(AgentThinking(text=f"{user} {seq}", step=seq), first=seq + 1)
                    await stores.runs.append(context_of(accepted, user), event)
                    told[user] = seq = seq + 1
                    if seq % 7 == 0:
                        assert len(await stores.runs.events(user, accepted.run_id, seq - 1)) == 1
                events = await stores.runs.events(user, accepted.run_id, 0, limit=100_000)
                assert [number for number, _ in events] == list(range(1, seq + 1))
                assert all(user in body for _, body in events)

            async def asks(user: str) -> None:
                accepted = [await accept(stores, user)]
                while not stop.is_set():
                    accepted.append(await accept(stores, user, thread_id=accepted[0].thread_id))
                    told[user] = len(accepted)

            async with asyncio.TaskGroup() as group:
                for number in range(people):
                    group.create_task(tells(f"teller{number}"))
                group.create_task(asks("asker"))
                await until(lambda: len(told) > people)
                for _ in range(restarts):
                    await all_go_on(told)
                    await asyncio.to_thread(postgres.restart)
                await all_go_on(told)
                stop.set()
            found = await stores.runs.all_runs(limit=100_000)
            assert len([each for each in found if each.user_id == "asker"]) == told["asker"]
            assert {each.user_id: each.last_seq for each in found if each.user_id != "asker"} == {
                user: seq for user, seq in told.items() if user != "asker"
            }

    run(main(), limit=100)
