"""What processes tell one another over a real Postgres: whole, in order, and again after the server was away."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.bounded import run
from tests.support.postgres import Database, PostgresServer, sql
from tests.support.relay import relay

from netra_apex.stores import bus as buses
from netra_apex.stores.bus import PostgresBus
from netra_apex.stores.connecting import Server
from netra_apex.stores.postgres import Postgres


class Ear:
    """What a process has heard, of one topic."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.more = asyncio.Event()

    def __call__(self, text: str) -> None:
        self.heard.append(json.loads(text))
        self.more.set()

    async def until(self, count: int) -> None:
        while len(self.heard) < count:
            self.more.clear()
            await self.more.wait()


class Party:
    """A process on the bus."""

    def __init__(self, database: Postgres, name: str) -> None:
        self.bus = PostgresBus(database, name)
        self.all, self.own = Ear(), Ear()
        self.listening = asyncio.Event()
        self.deaf: list[float] = []
        self.bus.listen("all", self.all)
        self.bus.listen(name, self.own)
        self.bus.on_back(self._back)

    def _back(self, seconds: float) -> None:
        self.deaf.append(seconds)
        self.listening.set()

    def tell(self, topic: str, **word: Any) -> None:
        self.bus.send(topic, json.dumps(word, ensure_ascii=False))


@contextlib.asynccontextmanager
async def party(database: Database, *names: str) -> AsyncIterator[list[Party]]:
    """Processes that listen."""
    async with contextlib.AsyncExitStack() as stack:
        parties: list[Party] = []
        tasks: list[asyncio.Task[None]] = []
        for name in names:
            opened = await Postgres.open(Server(database.url))
            stack.push_async_callback(opened.close)
            parties.append(Party(opened, name))
        tasks = [asyncio.create_task(each.bus.run()) for each in parties]
        try:
            for each in parties:
                await each.listening.wait()
            yield parties
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def own(postgres: PostgresServer) -> Any:
    with postgres.database() as database:
        yield database


def test_what_is_told_to_all_or_to_one_arrives_in_order(own: Database) -> None:
    async def main() -> None:
        async with party(own, "exe_a", "exe_b", "exe_c") as (a, b, c):
            for number in range(500):
                a.tell("all" if number % 2 else "exe_b", number=number)
            await asyncio.gather(a.all.until(250), b.all.until(250), b.own.until(250), c.all.until(250))
            assert [word["number"] for word in b.own.heard] == list(range(0, 500, 2))
            for each in (a, b, c):
                assert [word["number"] for word in each.all.heard] == list(range(1, 500, 2))
            assert (a.own.heard, c.own.heard) == ([], [])

    run(main())


def test_a_long_message_arrives_whole_among_short_ones_whatever_its_letters(own: Database) -> None:
    long = ["x" * 50_000, "é" * 20_000, "\N{GRINNING FACE}" * 9_000, '"\\\n\x01' * 5_000, "[" * 9_000]

    async def main() -> None:
        async with party(own, "exe_a", "exe_b") as (a, b):
            told: list[str] = []
            for text in long:
                told += ["short", text, ""]
            for text in told:
                a.tell("exe_b", text=text)
            await b.own.until(len(told))
            assert [word["text"] for word in b.own.heard] == told
            assert b.bus._parts == {}

    run(main())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=40).map(lambda text: text * 300), max_size=12))
def test_messages_fit_into_payloads_and_come_out_of_them_as_they_were(texts: list[str]) -> None:
    async def main() -> None:
        sender, hearer = PostgresBus(None, "exe_a"), PostgresBus(None, "exe_b")  # type: ignore[arg-type]
        ear = Ear()
        hearer.listen("all", ear)
        payloads = sender._payloads([json.dumps({"text": text}) for text in texts])
        assert all(len(payload.encode()) < 8000 for payload in payloads)
        for payload in payloads:
            hearer._on_notify(None, 0, "netra_all", payload)
        assert [word["text"] for word in ear.heard] == texts

    run(main())


def test_a_word_that_is_not_understood_costs_nobody_the_next_one(own: Database) -> None:
    async def main() -> None:
        async with party(own, "exe_a", "exe_b") as (a, b):
            choosy = Ear()

            def hear(text: str) -> None:
                if "strange" in text:
                    raise ValueError(text)
                choosy(text)

            b.bus._heard["all"] = hear
            a.tell("all", word="strange")
            a.tell("all", word="plain")
            await choosy.until(1)
            assert choosy.heard == [{"word": "plain"}]

    run(main())


def test_a_connection_that_was_cut_is_made_again_and_it_is_said_for_how_long_nothing_was_heard(own: Database) -> None:
    async def main() -> None:
        async with party(own, "exe_a", "exe_b") as (a, b):
            b.bus._parts["half"] = {0: "of a message"}
            b.listening.clear()
            cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'netra bus exe_b'"
            await asyncio.to_thread(sql, own.admin_url, cut)
            await b.listening.wait()
            assert b.bus._parts == {}, "its rest will not come"
            assert 0 < b.deaf[-1] < 5
            a.tell("exe_b", word="again")
            await b.own.until(1)

    run(main())


def test_after_a_restart_of_the_server_all_hear_one_another_again(own: Database, postgres: PostgresServer) -> None:
    async def main() -> None:
        async with party(own, "exe_a", "exe_b") as (a, b):
            a.listening.clear()
            b.listening.clear()
            await asyncio.to_thread(postgres.stop)
            a.tell("exe_b", word="lost")
            await asyncio.wait_for(a.bus.flush(), 10)
            await asyncio.to_thread(postgres.start)
            await asyncio.gather(a.listening.wait(), b.listening.wait())
            a.tell("exe_b", word="heard")
            b.tell("exe_a", word="heard too")
            await a.own.until(1)
            # What was told before may be heard as well, if there was somebody to hear it.
            while b.own.heard[-1:] != [{"word": "heard"}]:
                await b.own.until(len(b.own.heard) + 1)
            assert a.own.heard[-1] == {"word": "heard too"}

    run(main())


@contextlib.asynccontextmanager
async def cut_off(own: Database, postgres: PostgresServer) -> AsyncIterator[tuple[Party, Party, asyncio.Event]]:
    """One whose server is gone until the event is set, and one whose connections never break."""
    async with relay(postgres.port) as there, contextlib.AsyncExitStack() as stack:
        gone, back = False, asyncio.Event()
        there.seen = lambda _: "before" if gone else None
        parties: list[Party] = []
        for name, port in (("exe_a", there.port), ("exe_b", postgres.port)):
            opened = await Postgres.open(Server(own.url.replace(f":{postgres.port}/", f":{port}/")))
            stack.push_async_callback(opened.close)
            parties.append(Party(opened, name))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each.bus.run()) for each in parties]
            for each in parties:
                await each.listening.wait()
            gone = True
            await there.close()

            async def comes_back() -> None:
                nonlocal gone
                await back.wait()
                gone = False

            tasks.append(group.create_task(comes_back()))
            yield parties[0], parties[1], back
            for task in tasks:
                task.cancel()


def test_what_a_cut_connection_could_not_tell_is_told_in_order_once_it_is_back(
    own: Database, postgres: PostgresServer
) -> None:
    async def main() -> None:
        async with cut_off(own, postgres) as (a, b, back):
            for number in range(3):
                a.tell("exe_b", number=number)
                await a.bus.flush()
            assert b.own.heard == []
            a.tell("exe_b", number=3)
            back.set()
            await b.own.until(4)
            assert [word["number"] for word in b.own.heard] == [0, 1, 2, 3]
            assert len(b.deaf) == 1, "it has listened all the time"

    run(main())


@pytest.mark.parametrize("limit", ["KEEP_SECONDS", "MAX_WAITING", "MAX_WAITING_LETTERS"])
def test_who_was_not_told_because_it_took_too_long_or_was_too_much_hears_that_something_was_missed(
    own: Database, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    async def main() -> None:
        async with cut_off(own, postgres) as (a, b, back):
            b.listening.clear()
            monkeypatch.setattr(buses, limit, 0)
            a.tell("exe_b", word="lost")
            await a.bus.flush()
            monkeypatch.undo()
            back.set()
            await b.listening.wait()
            a.tell("exe_b", word="heard")
            await b.own.until(1)
            assert b.own.heard == [{"word": "heard"}]
            assert 0 < b.deaf[-1] < 20

    run(main())


def test_for_a_server_that_is_gone_no_more_is_kept_than_is_of_use() -> None:
    async def main() -> None:
        bus = PostgresBus(None, "exe_a")  # type: ignore[arg-type]
        for _ in range(2 * buses.MAX_WAITING):
            bus.send("all", "{}")
        assert len(bus._waiting) == buses.MAX_WAITING

    run(main())


def test_flush_returns_once_everything_is_told(own: Database) -> None:
    async def main() -> None:
        async with party(own, "exe_a", "exe_b") as (a, b):
            a.bus.send("exe_b", '{"word": "last"}', urgent=False)
            await a.bus.flush()
            await b.own.until(1)
            await a.bus.flush()

    run(main())
