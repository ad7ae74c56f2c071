"""A commit whose answer is lost with its connection: what was asked is done once, and who asked hears so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run
from tests.support.postgres import Database, PostgresServer
from tests.support.stores import context_of, raw, stamped

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import Post
from netra_apex.core.events import AgentStarted
from netra_apex.core.runs import Seat
from netra_apex.settings import Settings
from netra_apex.stores import Stores, open_stores
from netra_apex.stores import postgres as lanes

HERE = Seat(executor="exe_here")


@pytest.fixture
def own(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    with postgres.database() as database:
        monkeypatch.setenv("TEST_ADMIN_URL", database.admin_url)
        yield database


class Losing:
    """Loses the answer of the next commit: the transaction is done, and nobody hears of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.next = False
        self.lost = 0
        real = lanes._transaction

        async def transaction(connection: Any, begin: str, batch: Any, *doubt: Any) -> Any:
            outcomes = await real(connection, begin, batch, *doubt)
            if self.next:
                self.next = False
                self.lost += 1
                raise ConnectionResetError("the answer to the commit was lost")
            return outcomes

        monkeypatch.setattr(lanes, "_transaction", transaction)


@contextlib.asynccontextmanager
async def stores_of(database: Database, home: Path) -> AsyncIterator[Stores]:
    async with open_stores(Settings(home=home, database_url=database.url)) as stores:
        yield stores


@pytest.mark.parametrize("key", [None, "the same"])
@pytest.mark.parametrize("seat", [HERE, Seat(executor="exe_here", room=False), Seat()], ids=["here", "full", "door"])
def test_a_message_is_accepted_once_and_its_sender_hears_so(own, tmp_path, monkeypatch, seat, key) -> None:
    async def main() -> None:
        losing = Losing(monkeypatch)
        async with stores_of(own, tmp_path) as stores:
            context = UserExecutionContext.new("ada")
            losing.next = True
            post = Post(content="hi", idempotency_key=key)
            admitted = await stores.runs.accept(context, post, agent="helper", seat=seat)
            assert losing.lost == 1
            assert admitted.accepted.run_id == context.run_id
            assert not admitted.accepted.repeated
            assert admitted.started is (seat == HERE)
            assert (admitted.queued is None) is (seat == HERE)
            assert await raw(stores, "select count(*) from runs") == [(1,)]
            assert await raw(stores, "select count(*) from messages") == [(1,)]

    run(main())


def test_what_a_run_tells_is_stored_once(own, tmp_path, monkeypatch) -> None:
    async def main() -> None:
        losing = Losing(monkeypatch)
        async with stores_of(own, tmp_path) as stores:
            context = UserExecutionContext.new("ada")
            admitted = await stores.runs.accept(context, Post(content="hi"), agent="helper", seat=HERE)
            losing.next = True
            await stores.runs.append(context_of(admitted.accepted), stamped(AgentStarted(task="hi")))
            assert losing.lost == 1
            assert await raw(stores, "select seq from events") == [(1,)]

    run(main())


def test_a_claim_whose_answer_was_lost_is_heard_of_and_stands_where_its_process_finds_it(
    own, tmp_path, monkeypatch
) -> None:
    async def main() -> None:
        losing = Losing(monkeypatch)
        async with stores_of(own, tmp_path) as stores:
            context = UserExecutionContext.new("ada")
            await stores.runs.accept(context, Post(content="hi"), agent="helper", seat=Seat())
            losing.next = True
            claim = await stores.turns.take("ada", "exe_here", per_user=3)
            assert losing.lost == 1
            assert claim is not None
            assert claim.epoch == 2
            ((user_id, run_id, epoch),) = await stores.turns.held("exe_here")
            assert (user_id, run_id) == ("ada", context.run_id)
            await stores.turns.leave(user_id, run_id, epoch, "exe_other")
            assert await stores.turns.held("exe_here"), "it is not another's to leave"
            await asyncio.gather(*(stores.turns.leave(user_id, run_id, epoch, "exe_here") for _ in range(2)))
            assert await stores.turns.take("ada", "exe_here", per_user=3) is not None

    run(main())
