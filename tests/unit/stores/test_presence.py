"""Who lives, on a real Postgres: a dead process's lock is free and it is silent; a hung one is silent for its lease."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.support.bounded import run
from tests.support.postgres import Database, PostgresServer, sql
from tests.support.stores import accept, context_of

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import Post
from netra_apex.core.runs import Seat
from netra_apex.errors import ConfigurationError
from netra_apex.settings import Settings
from netra_apex.stores import Stores, open_stores
from netra_apex.stores import presence as presences
from netra_apex.stores.postgres import Postgres
from netra_apex.stores.presence import PostgresPresence

NOW, LEASE = 1, 11_000


@pytest.fixture
def own(postgres: PostgresServer) -> Iterator[Database]:
    with postgres.database() as database:
        yield database


@contextlib.asynccontextmanager
async def process(database: Database, tmp_path: object, name: str) -> AsyncIterator[Stores]:
    """A process's stores; its presence is `stores.presence`."""
    async with open_stores(Settings(home=tmp_path, database_url=database.url), executor=name) as stores:  # type: ignore[arg-type]
        yield stores


def presence(stores: Stores) -> PostgresPresence:
    assert stores.presence is not None
    return stores.presence


async def ask(database: Database, statement: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await asyncio.to_thread(sql, database.admin_url, statement)]


async def silence(database: Database, name: str, ms: int) -> None:
    """As if it had been seen so long ago."""
    await ask(database, f"update workers set seen_at = seen_at - {ms} where executor = '{name}'")


async def cut(database: Database, name: str) -> None:
    """Ends the connection that holds its lock, as its death does."""
    await ask(
        database,
        f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'netra {name}'",
    )


def test_a_process_with_another_secret_than_those_who_live_is_refused(own, tmp_path) -> None:
    async def main() -> None:
        settings = Settings(home=tmp_path, database_url=own.url)
        async with (
            open_stores(settings, executor="exe_a", secret="a" * 32) as a,
            open_stores(settings, executor="exe_b", secret="b" * 32) as b,
            open_stores(settings, executor="exe_c", secret="a" * 32) as c,
        ):
            await presence(b).check_secret()
            await presence(a).seen(5)
            await presence(c).check_secret()
            with pytest.raises(ConfigurationError, match="have another NETRA_SECRET_KEY"):
                await presence(b).check_secret()
            await silence(own, "exe_a", 2_000)
            await presence(b).check_secret()  # who is dead may have had the one before

    run(main())


def test_who_only_serves_says_whether_somebody_is_there_to_execute_whatever_its_clock_says(own, tmp_path) -> None:
    async def reason(stores: Stores) -> str | None:
        context = UserExecutionContext.new("ada")
        admitted = await stores.runs.accept(context, Post(content="hi"), agent="helper", seat=Seat(executor=None))
        return None if admitted.queued is None else json.loads(admitted.queued)["reason"]

    async def main() -> None:
        async with process(own, tmp_path, "exe_door") as door, process(own, tmp_path, "exe_worker") as worker:
            await presence(door).seen(0)
            assert await reason(door) == "no process executes runs at present"
            await presence(worker).seen(3)
            assert await reason(door) is None, "of the one run before there is room for two more"
            assert await reason(door) is None
            assert await reason(door) == "the server is busy"
            # The database's clock is another one than ours.
            await ask(own, "update workers set seen_at = seen_at - 3600000")
            assert await reason(door) == "the server is busy"
            await presence(door).seen(0)
            assert await reason(door) == "no process executes runs at present"

    run(main())


def test_a_process_that_lives_is_not_buried_though_it_was_silent_for_a_while(own, tmp_path) -> None:
    async def main() -> None:
        async with process(own, tmp_path, "exe_a") as a, process(own, tmp_path, "exe_b") as b:
            await presence(a).seen(5)
            await presence(b).seen(7)
            assert [name for name, _ in await presence(a).others()] == ["exe_b"]
            await silence(own, "exe_b", 5_000)
            assert await presence(a).bury("exe_b", silent_ms=500, locked=False) is None, "it holds its lock"
            await cut(own, "exe_b")
            await presence(b).seen(7)
            assert await presence(a).bury("exe_b", silent_ms=500, locked=False) is None, "it has come back"
            assert await ask(own, "select executor, room from workers order by 1") == [("exe_a", 5), ("exe_b", 7)]

    run(main())


def test_one_whose_lock_is_free_and_who_is_silent_is_buried_once(own, tmp_path) -> None:
    async def main() -> None:
        async with (
            process(own, tmp_path, "exe_a") as a,
            process(own, tmp_path, "exe_b") as b,
            process(own, tmp_path, "exe_c") as c,
        ):
            for each in (a, b, c):
                await presence(each).seen(1)
            await cut(own, "exe_c")
            assert await presence(a).bury("exe_c", silent_ms=60_000, locked=False) is None, "seen a moment ago"
            await silence(own, "exe_c", 1_000)
            counts = await asyncio.gather(
                *(presence(each).bury("exe_c", silent_ms=500, locked=False) for each in (a, b))
            )
            assert 0 in counts
            assert "exe_c" not in [name for name, _ in await presence(a).others()]
            assert not await presence(c).seen(1), "who was buried cannot judge others"
            assert "exe_c" in [name for name, _ in await presence(a).others()]

    run(main())


def test_one_that_hangs_has_its_lease_and_no_more(own, tmp_path) -> None:
    async def main() -> None:
        async with process(own, tmp_path, "exe_a") as a, process(own, tmp_path, "exe_b") as b:
            await presence(a).seen(1)
            await presence(b).seen(1)
            await silence(own, "exe_b", LEASE - 2_000)
            assert await presence(a).bury("exe_b", silent_ms=LEASE, locked=True) is None
            await silence(own, "exe_b", 3_000)
            assert await presence(a).bury("exe_b", silent_ms=LEASE, locked=True) == 0

    run(main())


def test_a_process_that_lost_its_lock_takes_it_again_also_where_it_was_not_free_at_once(own, tmp_path) -> None:
    async def main() -> None:
        held = "select count(*) from pg_locks where locktype = 'advisory' and granted"
        async with process(own, tmp_path, "exe_a") as a, process(own, tmp_path, "exe_b") as b:
            await presence(a).seen(1)
            assert await ask(own, held) == [(1,)]
            await cut(own, "exe_a")
            # Somebody looks at whether it is free in this very moment.
            async with b.database._pool.acquire() as other:  # type: ignore[attr-defined]
                await other.execute(presences.LOCK.replace("$1", "'exe_a'"))
                assert not await presence(a).seen(1), "seen it is; judge it cannot"
                await other.execute("select pg_advisory_unlock_all()")
            assert not await presence(a).seen(1), "it has it from now on"
            assert await presence(a).seen(1) in (True, False)
            assert await ask(own, held) == [(1,)]

    run(main())


def test_who_was_away_itself_cannot_judge_others(own, tmp_path, monkeypatch) -> None:
    async def main() -> None:
        async with process(own, tmp_path, "exe_a") as a:
            monkeypatch.setattr(presences, "YOUNG_MS", 0)
            assert await presence(a).seen(1)
            assert await presence(a).seen(1)
            await silence(own, "exe_a", 2_000)
            assert not await presence(a).seen(1), "it was stopped, or starved"
            assert await presence(a).seen(1)
            monkeypatch.setattr(presences, "YOUNG_MS", 10**9)
            assert not await presence(a).seen(1), "the server has just started"

    run(main())


def test_a_process_that_ends_in_order_is_forgotten_and_one_whose_database_is_gone_ends_all_the_same(
    own, tmp_path, postgres, monkeypatch
) -> None:
    async def main() -> None:
        async with process(own, tmp_path, "exe_a") as a:
            await presence(a).seen(1)
        assert await ask(own, "select count(*) from workers") == [(0,)]
        monkeypatch.setattr(presences, "GOODBYE_SECONDS", 0.2)
        monkeypatch.setitem(Postgres.open.__func__.__kwdefaults__, "ride_out_seconds", 0.5)
        async with process(own, tmp_path, "exe_b") as b:
            await presence(b).seen(1)
            await asyncio.to_thread(postgres.stop)
        await asyncio.to_thread(postgres.start)
        assert await ask(own, "select executor from workers") == [("exe_b",)]

    run(main())


def test_what_writes_in_lanes_is_served_on_after_a_restart(own, tmp_path, postgres) -> None:
    """A lane keeps its connection, and must notice that it is gone."""

    async def main() -> None:
        async with process(own, tmp_path, "exe_a") as a:
            for act in (lambda: None, postgres.restart):
                await asyncio.to_thread(act)
                for number in range(8):
                    user = f"user{number}"
                    accepted = await accept(a, user)
                    await a.runs.keep_transcript(context_of(accepted, user), [])

    run(main())
