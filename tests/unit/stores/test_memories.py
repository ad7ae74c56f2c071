"""What is remembered of users, on both databases: found, forgotten, limited, and each user's own."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.bounded import run
from tests.support.stores import opened, raw

from netra_apex.errors import Invalid
from netra_apex.stores import Stores
from netra_apex.stores.memories import MemoryLimits, MemoryStore

PEOPLE = ("ada", "bob")


def with_stores(home: Path, main: Callable[[Stores], Awaitable[None]], **given: Any) -> None:
    async def bounded() -> None:
        async with opened(home, **given) as stores:
            await main(stores)

    run(bounded(), limit=60)


async def texts(stores: Stores, user: str, query: str | None = None, limit: int = 50) -> list[str]:
    page = await stores.memories.page(user, query=query, limit=limit)
    return [memory.text for memory in page.items]


def test_what_is_remembered_is_found_by_its_words_the_most_fitting_first(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        for text in (
            "The user's favourite colour is green.",
            "The user likes green tea in the morning.",
            "The user lives in Lisbon.",
            "The user is allergic to peanuts.",
        ):
            await stores.memories.remember("ada", text)
        assert await texts(stores, "ada", "GREEN teas") == [
            "The user likes green tea in the morning.",
            "The user's favourite colour is green.",
        ]
        assert await texts(stores, "ada", "what colours does the user like?", 1) == [
            "The user's favourite colour is green."
        ]
        assert await texts(stores, "ada", "peanut") == ["The user is allergic to peanuts."]
        assert await texts(stores, "ada", "submarine") == []

    with_stores(tmp_path, main)


def test_the_latest_come_first_and_pages_are_complete(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        made = [await stores.memories.remember("ada", f"fact number {n}") for n in range(7)]
        for query in (None, "fact"):
            seen, cursor = [], None
            while True:
                page = await stores.memories.page("ada", limit=3, cursor=cursor, query=query)
                seen += page.items
                if (cursor := page.next_cursor) is None:
                    break
            assert {memory.memory_id for memory in seen} == {memory.memory_id for memory in made}
            assert len(seen) == len(made)
        latest = (await stores.memories.page("ada")).items
        assert [memory.created_at for memory in latest] == sorted((each.created_at for each in made), reverse=True)
        with pytest.raises(Invalid):
            await stores.memories.page("ada", cursor="nonsense")
        with pytest.raises(Invalid):
            await stores.memories.page("ada", cursor="nonsense", query="fact")

    with_stores(tmp_path, main)


def test_a_key_has_one_text_and_the_same_text_is_one_memory(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        first = await stores.memories.remember("ada", "lives in Rome", "home")
        second = await stores.memories.remember("ada", "lives in Paris", "home")
        assert (second.memory_id, second.key) == (first.memory_id, "home")
        assert await texts(stores, "ada", "rome") == []
        assert await texts(stores, "ada", "lives in paris") == ["lives in Paris"]
        assert await stores.memories.remember("ada", "lives in Paris", "home") == second
        one = await stores.memories.remember("ada", "likes tea")
        assert await stores.memories.remember("ada", "likes tea") == one
        assert one.key is None
        assert len(await texts(stores, "ada")) == 2
        # Of many who remember the same at once one is kept.
        await asyncio.gather(*(stores.memories.remember("ada", "likes jam", key) for key in ("jam", None) * 10))
        assert len(await texts(stores, "ada", "jam")) == 2

    with_stores(tmp_path, main)


def test_what_is_forgotten_is_gone_with_its_words(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        memory = await stores.memories.remember("ada", "likes tea")
        assert await stores.memories.forget("ada", memory.memory_id)
        assert not await stores.memories.forget("ada", memory.memory_id)
        assert await texts(stores, "ada", "tea") == []
        for table in ("memories", "memory_words"):
            assert await raw(stores, f"select * from {table}") == []
        assert (await stores.memories.remember("ada", "likes tea")).memory_id != memory.memory_id

    with_stores(tmp_path, main)


@pytest.mark.parametrize("forged", ["mem_none", "", "\x00", "\ud800", "' or 1=1 --", "é" * 400])
def test_an_id_that_is_none_forgets_nothing(tmp_path: Path, forged: str) -> None:
    async def main(stores: Stores) -> None:
        await stores.memories.remember("ada", "likes tea")
        assert not await stores.memories.forget("ada", forged)
        assert await texts(stores, "ada") == ["likes tea"]

    with_stores(tmp_path, main)


def test_limits_are_kept_by_many_at_once(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        memories = MemoryStore(stores.database, MemoryLimits(per_user=5, characters=20))
        tried = [memories.remember("ada", f"fact {n}") for n in range(12)]
        came = await asyncio.gather(*tried, return_exceptions=True)
        assert sum(isinstance(each, Invalid) for each in came) == 7
        assert len(await texts(stores, "ada")) == 5
        kept = (await texts(stores, "ada"))[0]
        await memories.remember("ada", kept)  # it is there
        await memories.remember("bob", "bob has room of his own"[:20])
        for text, key in (
            ("x" * 21, None),
            (" ", None),
            ("a\x00b", None),
            ("ok", ""),
            ("ok", "k" * 201),
            ("\ud800", "k"),
        ):
            with pytest.raises(Invalid):
                await memories.remember("bob", text, key)

    with_stores(tmp_path, main)


def test_no_query_breaks_the_search(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        await stores.memories.remember("ada", "C++ & \"quotes\" 'n' 100% NOT AND (near) tea*")
        odd = [
            '"',
            "'",
            "NOT",
            "tea*",
            "a AND",
            "(",
            "NEAR(",
            "col:x",
            "-",
            "&|!<->",
            ":*",
            "\\",
            "%",
            "\x00",
            "\ud800",
        ]
        for query in [*odd, "", " ".join(odd), "x" * 100_000]:
            await texts(stores, "ada", query)
        assert await texts(stores, "ada", "tea*") != []

    with_stores(tmp_path, main)


def test_any_text_is_stored_and_any_query_answered(tmp_path: Path) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.text(min_size=1, max_size=80), st.text(max_size=40)), min_size=1, max_size=5))
    def check(pairs: list[tuple[str, str]]) -> None:
        gathered.extend(pairs)

    gathered: list[tuple[str, str]] = []
    check()

    async def main(stores: Stores) -> None:
        for text, query in gathered:
            try:
                await stores.memories.remember("ada", text)
            except Invalid:
                continue
            await texts(stores, "ada", query)
            await texts(stores, "ada", text)

    with_stores(tmp_path, main, memories_per_user=10_000)


def test_two_users_who_remember_at_once_recall_their_own_alone(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        both = asyncio.Barrier(len(PEOPLE))

        async def lives(user: str) -> None:
            for turn in range(10):
                await both.wait()
                await stores.memories.remember(user, f"the secret of {user} is number {turn}", "secret")
                await stores.memories.remember(user, f"the same text for everybody {turn}")
                await both.wait()
                found = await texts(stores, user, "secret same everybody number ada bob")
                assert len(found) == turn + 2
                other = PEOPLE[1 - PEOPLE.index(user)]
                assert not [text for text in found if other in text]

        await asyncio.gather(*map(lives, PEOPLE))
        mine = (await stores.memories.page("ada")).items
        for memory in mine:
            assert not await stores.memories.forget("bob", memory.memory_id)
        assert len((await stores.memories.page("ada")).items) == len(mine)
        assert await texts(stores, "eve", "secret") == []

    with_stores(tmp_path, main)


def test_what_others_have_written_does_not_change_how_ones_own_is_ranked(tmp_path: Path) -> None:
    """A word that is rare for everybody else would show what they write of."""

    async def main(stores: Stores) -> None:
        for text in ("rare word here", "common thing there", "common and more"):
            await stores.memories.remember("ada", text)
        before = await texts(stores, "ada", "rare common")
        for n in range(40):
            await stores.memories.remember("bob", f"rare rare rare {n}")
        assert await texts(stores, "ada", "rare common") == before

    with_stores(tmp_path, main)


def test_both_processes_of_a_database_see_the_same(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        async with opened(tmp_path) as other:
            await stores.memories.remember("ada", "likes tea")
            assert await texts(other, "ada", "tea") == ["likes tea"]

    with_stores(tmp_path, main)
