"""How soon a process that ends gives up on a Postgres server that is gone, or says nothing."""

import asyncio
import time

import pytest
from tests.support.bounded import passed, run
from tests.support.postgres import PostgresServer

from netra_apex.errors import StoreError
from netra_apex.stores.connecting import Connection, Server
from netra_apex.stores.database import Transaction
from netra_apex.stores.patience import EACH_LAST_SECONDS, LAST_SECONDS
from netra_apex.stores.postgres import Postgres

MARGIN_SECONDS = 2.0  # for two cores that others use
USERS = ["ada", None]  # in a lane, and in a transaction by itself


async def ask(tx: Transaction) -> None:
    await tx.one("select 1", {})


async def refused(database: Postgres, user: str | None) -> float:
    """How long it took until a write was given up."""
    began = time.monotonic()
    with pytest.raises(StoreError, match="cannot be reached"):
        await database.write(ask, user=user, repeatable=True)
    return time.monotonic() - began


@pytest.mark.parametrize("user", USERS)
def test_a_process_that_ends_waits_briefly_for_a_server_that_is_gone(
    postgres: PostgresServer, user: str | None
) -> None:
    async def main() -> None:
        with postgres.database() as own:
            database = await Postgres.open(Server(own.url))
            await asyncio.to_thread(postgres.stop)
            riding = asyncio.create_task(refused(database, user))
            await passed(0.2)
            assert not riding.done()
            began = time.monotonic()
            database.give_up_soon()
            await riding
            assert time.monotonic() - began < LAST_SECONDS + MARGIN_SECONDS
            assert await refused(database, user) < EACH_LAST_SECONDS + MARGIN_SECONDS
            await database.close()

    run(main())


@pytest.mark.parametrize("user", USERS)
def test_a_process_that_ends_gives_up_on_a_server_that_says_nothing(postgres: PostgresServer, user: str | None) -> None:
    async def main() -> None:
        with postgres.database() as own:
            database = await Postgres.open(Server(own.url))
            holder: Connection = await Server(own.url).connect()
            await holder.execute("select pg_advisory_lock(4711)")
            asked = asyncio.Event()

            async def hang(tx: Transaction) -> None:
                asked.set()
                await tx.one("select pg_advisory_xact_lock(4711)", {})

            hanging = asyncio.ensure_future(database.write(hang, user=user, repeatable=True))
            await asked.wait()
            began = time.monotonic()
            database.give_up_soon()
            with pytest.raises(StoreError, match="does not answer in time"):
                await hanging
            await database.close()
            assert time.monotonic() - began < LAST_SECONDS + MARGIN_SECONDS
            await holder.close()

    run(main())


def test_a_process_that_ends_rides_out_a_short_outage_still(postgres: PostgresServer) -> None:
    async def main() -> None:
        with postgres.database() as own:
            database = await Postgres.open(Server(own.url))
            await database.write(ask, user="ada")
            database.give_up_soon()
            await asyncio.to_thread(postgres.restart)
            await database.write(ask, user="ada")
            await database.close()

    run(main())
