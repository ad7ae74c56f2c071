"""Files on both databases: whole or not there at all, their owner's and their thread's alone, within limits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run
from tests.support.stores import accept, opened, raw

from netra_apex.core.belongings import NewFile, StoredFile
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.ids import new_id
from netra_apex.errors import Invalid, NotFound, TooLarge
from netra_apex.stores import Stores
from netra_apex.stores.files import CHUNK_BYTES, FILES_PER_THREAD

LARGE = bytes(range(256)) * 4 * 1024  # 1 MiB
TIMES = 10


def with_stores(home: Path, main: Callable[[Stores], Awaitable[None]], **settings: Any) -> None:
    async def bounded() -> None:
        async with opened(home, **settings) as stores:
            await main(stores)

    run(bounded(), limit=60)


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece


async def thread(stores: Stores, user: str = "ada") -> str:
    return (await stores.conversations.add_thread(user, new_id("thr"), "a thread")).thread_id


async def add(
    stores: Stores, thread_id: str, data: bytes, *, user: str = "ada", name: str = "a.csv", file_id: str | None = None
) -> StoredFile:
    new = NewFile(file_id=file_id or new_id("fil"), name=name, media_type="text/csv")
    return await stores.files.add_file(user, thread_id, new, pieces(data))


async def content(stores: Stores, thread_id: str, file_id: str, user: str = "ada") -> bytes:
    return b"".join([piece async for piece in stores.files.read_file(user, thread_id, file_id)])


async def names(stores: Stores, thread_id: str, user: str = "ada") -> list[str]:
    page = await stores.files.files(user, thread_id)
    assert page is not None
    return [file.name for file in page.items]


@pytest.mark.parametrize(
    "size", [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 7]
)
def test_a_file_is_read_as_it_was_written_whatever_the_pieces(tmp_path: Path, size: int) -> None:
    async def main(stores: Stores) -> None:
        here = await thread(stores)
        data = (LARGE + LARGE)[:size]
        cut = [data[:10], b"", data[10:1000], data[1000:]]
        new = NewFile(file_id="fil_1", name="a.csv", media_type="text/csv")
        file = await stores.files.add_file("ada", here, new, pieces(*cut))
        assert (file.size, file.name, file.media_type, file.thread_id) == (size, "a.csv", "text/csv", here)
        assert await stores.files.file("ada", here, "fil_1") == file
        assert await content(stores, here, "fil_1") == data

    with_stores(tmp_path, main)


def test_files_are_listed_oldest_first_page_by_page(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        here = await thread(stores)
        for number in range(5):
            await add(stores, here, b"x", name=f"{number}.csv")
        listed: list[str] = []
        cursor = None
        for _ in range(3):
            page = await stores.files.files("ada", here, limit=2, cursor=cursor)
            assert page is not None
            listed += [file.name for file in page.items]
            cursor = page.next_cursor
        assert sorted(listed) == [f"{number}.csv" for number in range(5)]
        assert cursor is None
        with pytest.raises(Invalid, match="cursor"):
            await stores.files.files("ada", here, cursor="none of ours")

    with_stores(tmp_path, main)


def test_nobody_else_and_no_other_thread_has_a_file(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        here, other, bobs = await thread(stores), await thread(stores), await thread(stores, "bob")
        file = await add(stores, here, b"ada's")
        for user, where in (("bob", here), ("bob", bobs), ("ada", other), ("ada", bobs)):
            assert await stores.files.file(user, where, file.file_id) is None
            assert not await stores.files.delete_file(user, where, file.file_id)
            with pytest.raises(NotFound):
                await content(stores, where, file.file_id, user)
        assert await stores.files.files("bob", here) is None
        assert await names(stores, other) == []
        with pytest.raises(NotFound, match="there is no thread"):
            await add(stores, here, b"bob's", user="bob")
        assert await content(stores, here, file.file_id) == b"ada's"

    with_stores(tmp_path, main)


@pytest.mark.parametrize("odd", ["", "a\x00b", "\ud800", "fil_nothing"])
def test_an_id_that_is_none_is_one_that_does_not_exist(tmp_path: Path, odd: str) -> None:
    async def main(stores: Stores) -> None:
        here = await thread(stores)
        assert await stores.files.file("ada", here, odd) is None
        assert await stores.files.files("ada", odd) is None
        assert not await stores.files.delete_file("ada", here, odd)
        with pytest.raises(NotFound):
            await content(stores, here, odd)
        with pytest.raises(NotFound):
            await add(stores, odd, b"x")

    with_stores(tmp_path, main)


def test_a_file_is_seen_once_all_of_it_is_there(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        here = await thread(stores)
        half, rest = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield LARGE
            half.set()
            await rest.wait()
            yield b"the end"

        new = NewFile(file_id="fil_1", name="a.csv", media_type="text/csv")
        adding = asyncio.ensure_future(stores.files.add_file("ada", here, new, slow()))
        await half.wait()
        assert await names(stores, here) == []
        assert await stores.files.file("ada", here, "fil_1") is None
        with pytest.raises(NotFound):
            await content(stores, here, "fil_1")
        rest.set()
        await adding
        assert await content(stores, here, "fil_1") == LARGE + b"the end"

    with_stores(tmp_path, main)


def test_one_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        here = await thread(stores)

        async def broken() -> AsyncIterator[bytes]:
            yield LARGE
            raise ConnectionError("gone")

        new = NewFile(file_id="fil_1", name="a.csv", media_type="text/csv")
        with pytest.raises(ConnectionError):
            await stores.files.add_file("ada", here, new, broken())
        await add(stores, here, b"after it")
        while await raw(stores, "select count(*) from file_chunks") != [(1,)]:  # noqa: ASYNC110 - nobody waits for it
            await asyncio.sleep(0)

    with_stores(tmp_path, main)


def test_what_a_killed_process_left_goes_with_the_next_file(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        here = await thread(stores)
        await raw(
            stores,
            "insert into files (user_id, file_id, thread_id, name, media_type, size, created_at)"
            f" values ('ada', 'fil_old', '{here}', 'a', 'text/csv', 900, 0) returning 1",
        )
        with pytest.raises(TooLarge):
            await add(stores, here, b"x" * 1001)
        await add(stores, here, b"x" * 1000)
        assert await names(stores, here) == ["a.csv"]
        assert await raw(stores, "select count(*) from files") == [(1,)]

    with_stores(tmp_path, main, files_bytes_per_user=1000)


def test_limits_of_a_file_and_of_a_user_are_kept_to_the_byte(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        here, bobs = await thread(stores), await thread(stores, "bob")
        with pytest.raises(TooLarge, match="over 1000 bytes, which is the most"):
            await add(stores, here, b"x" * 1001)
        with pytest.raises(Invalid, match="the file is empty"):
            await add(stores, here, b"")
        first = await add(stores, here, b"x" * 1000)
        await add(stores, here, b"x" * 500)
        with pytest.raises(TooLarge, match="together"):
            await add(stores, here, b"x")
        await add(stores, bobs, b"x" * 1000, user="bob")
        assert await stores.files.delete_file("ada", here, first.file_id)
        await add(stores, here, b"x" * 1000)

    with_stores(tmp_path, main, upload_bytes=1000, files_bytes_per_user=1500)


def test_of_uploads_at_once_no_more_than_fit_are_stored(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        here = await thread(stores)
        meet = asyncio.Barrier(TIMES)

        async def together() -> AsyncIterator[bytes]:
            await meet.wait()
            yield b"x" * 400

        async def one() -> bool:
            new = NewFile(file_id=new_id("fil"), name="a.csv", media_type="text/csv")
            try:
                await stores.files.add_file("ada", here, new, together())
            except TooLarge:
                return False
            return True

        assert sum(await asyncio.gather(*(one() for _ in range(TIMES)))) == 2
        assert len(await names(stores, here)) == 2

    with_stores(tmp_path, main, files_bytes_per_user=1000)


def test_the_same_id_is_stored_once(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        here = await thread(stores)
        first = await add(stores, here, b"first", file_id="fil_1")
        assert await add(stores, here, b"other", file_id="fil_1") == first
        assert await content(stores, here, "fil_1") == b"first"

    with_stores(tmp_path, main)


def test_a_thread_that_is_deleted_takes_its_files_along(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        here, other = await thread(stores), await thread(stores)
        await add(stores, here, LARGE)
        kept = await add(stores, other, b"kept")
        started, rest = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield LARGE
            started.set()
            await rest.wait()
            yield LARGE

        new = NewFile(file_id="fil_late", name="a.csv", media_type="text/csv")
        adding = asyncio.ensure_future(stores.files.add_file("ada", here, new, slow()))
        await started.wait()
        assert await stores.conversations.delete_thread("ada", here)
        rest.set()
        with pytest.raises(NotFound, match="there is no thread"):
            await adding
        assert await raw(stores, "select count(*) from file_chunks") == [(1,)]
        assert await content(stores, other, kept.file_id) == b"kept"

    with_stores(tmp_path, main)


def test_a_file_that_is_deleted_while_it_is_read_is_not_read_as_shorter(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        here = await thread(stores)
        file = await add(stores, here, LARGE)
        reading = stores.files.read_file("ada", here, file.file_id)
        assert await anext(reading) == LARGE[:CHUNK_BYTES]
        assert await stores.files.delete_file("ada", here, file.file_id)
        with pytest.raises(NotFound):
            await anext(reading)

    with_stores(tmp_path, main)


def test_a_thread_has_so_many_files_and_no_more(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        here = await thread(stores)
        await raw(
            stores,
            "with recursive n (i) as (select 1 union all select i + 1 from n"
            f" where i < {FILES_PER_THREAD}) insert into files"
            " (user_id, file_id, thread_id, name, media_type, size, complete, created_at)"
            f" select 'ada', 'fil_' || i, '{here}', 'a', 'text/csv', 1, 1, 1 from n returning 1",
        )
        with pytest.raises(Invalid, match="1000 files, which is the most"):
            await add(stores, here, b"x")

    with_stores(tmp_path, main)


def test_a_message_keeps_the_files_that_came_with_it_also_where_it_steers(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        here, other = await thread(stores), await thread(stores)
        first, second = await add(stores, here, b"1", name="1.csv"), await add(stores, here, b"2", name="2.csv")
        accepted = await accept(stores, content="look", thread_id=here, files=(first.file_id,))
        await accept(stores, content="and", thread_id=here, files=(second.file_id,), if_busy="steer")
        page = await stores.conversations.messages("ada", here)
        assert page is not None
        assert [[file.name for file in each.files] for each in page.items] == [["1.csv"], ["2.csv"]]
        assert [said.content.count("2.csv") for _, said in await stores.runs.steering("ada", accepted.run_id, 0)] == [1]
        # Whoever takes the run up is told the same; and so is the run after it.
        assert await stores.turns.leave_all_of("exe_tests") == 1
        claim = await stores.turns.claim("ada", accepted.run_id, "exe_tests")
        assert claim is not None
        assert [file.file_id for file in claim.files] == [first.file_id]
        context = UserExecutionContext.new("ada", thread_id=here)
        said = await stores.runs.begin(context, "helper", "next")
        assert [("1.csv" in each.content, "2.csv" in each.content) for each in said] == [(True, False), (False, True)]
        for user, where, wrong in (("ada", other, first.file_id), ("bob", await thread(stores, "bob"), first.file_id)):
            with pytest.raises(NotFound, match="there is no file"):
                await accept(stores, user, thread_id=where, files=(wrong,))

    with_stores(tmp_path, main)
