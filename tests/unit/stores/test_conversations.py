"""Threads and messages on a real database: their owner's alone, and pages that are complete."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run
from tests.support.stores import accept, context_of, opened, raw, stamped

from netra_apex.core.events import AgentCompleted, AgentStarted, AgentThinking, MessageCompleted
from netra_apex.core.messages import NO_USAGE, UserMessage
from netra_apex.errors import Busy, Invalid, StoreError
from netra_apex.stores import Stores

COMPLETED = (
    AgentStarted(task="hi"),
    AgentThinking(text="hm", step=1),
    MessageCompleted(message_id="", content="hello"),
    AgentCompleted(output="hello", usage=NO_USAGE, duration_ms=1),
)


def with_stores(home: Path, main: Callable[[Stores], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with opened(home) as stores:
            await main(stores)

    run(bounded())


async def finished(stores: Stores, user: str = "ada", content: str = "hi", **post: Any) -> Any:
    """A run that was posted and has completed with one answer."""
    accepted = await accept(stores, user, content, **post)
    events = [
        event
        if not isinstance(event, MessageCompleted)
        else MessageCompleted(message_id=f"{accepted.run_id}a", content="hello")
        for event in COMPLETED
    ]
    await stores.runs.append(context_of(accepted, user), stamped(*events))
    return accepted


def test_a_thread_is_begun_named_renamed_and_deleted_with_all_that_is_in_it(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        threads = stores.conversations
        made = await threads.add_thread("ada", "thr_a", "First")
        assert await threads.thread("ada", "thr_a") == made
        renamed = await threads.rename_thread("ada", "thr_a", "Second")
        assert renamed
        assert renamed.title == "Second"
        accepted = await finished(stores, thread_id="thr_a", idempotency_key="k")
        await stores.runs.keep_transcript(context_of(accepted), [UserMessage("hi")])
        assert await threads.delete_thread("ada", "thr_a")
        assert not await threads.delete_thread("ada", "thr_a")
        for table in ("threads", "runs", "messages", "events", "transcripts", "idempotency"):
            assert await raw(stores, f"select * from {table}") == []

    with_stores(tmp_path, main)


def test_a_thread_with_a_run_under_way_is_not_deleted(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await accept(stores)
        with pytest.raises(Busy, match="cancel it first"):
            await stores.conversations.delete_thread("ada", accepted.thread_id)
        assert await stores.conversations.thread("ada", accepted.thread_id)
        assert len(await stores.conversations.unfinished("ada", accepted.thread_id)) == 1

    with_stores(tmp_path, main)


def test_another_users_threads_are_as_threads_that_do_not_exist(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        threads = stores.conversations
        hers = await finished(stores, "ada", "a secret plan")
        open_run = await accept(stores, "ada", "more", thread_id=hers.thread_id)
        before = await rows(stores)
        for ident in (hers.thread_id, "thr_nowhere"):
            assert await threads.thread("eve", ident) is None
            assert await threads.rename_thread("eve", ident, "mine") is None
            assert await threads.delete_thread("eve", ident) is False
            assert await threads.messages("eve", ident) is None
            assert await threads.unfinished("eve", ident) == ()
        assert (await threads.threads("eve")).items == ()
        assert (await threads.threads("eve", query="secret")).items == ()
        page = await threads.threads("ada", limit=1)
        assert (await threads.threads("eve", cursor=page.next_cursor)).items == ()
        with pytest.raises(StoreError):
            await threads.add_thread("eve", hers.thread_id, "taken over")
        assert await rows(stores) == before
        assert [r.run_id for r in await threads.unfinished("ada", hers.thread_id)] == [open_run.run_id]

    with_stores(tmp_path, main)


async def rows(stores: Stores) -> list[Any]:
    tables = ("threads", "runs", "messages", "events", "transcripts", "idempotency")
    return [await raw(stores, f"select * from {table}") for table in tables]


def test_pages_of_threads_are_complete_and_without_doubles_while_others_are_begun(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        threads = stores.conversations
        await asyncio.gather(*(threads.add_thread("ada", f"thr_{number:03}", f"No {number}") for number in range(53)))
        await asyncio.gather(*(threads.add_thread("eve", f"thr_e{number:03}", "hers") for number in range(20)))
        seen: list[str] = []
        cursor = None
        added = 0
        while True:
            page, *_ = await asyncio.gather(
                threads.threads("ada", limit=7, cursor=cursor),
                *(threads.add_thread("ada", f"thr_late{added + each}", "late") for each in range(5)),
            )
            added += 5
            seen += [thread.thread_id for thread in page.items]
            assert len(page.items) <= 7
            if (cursor := page.next_cursor) is None:
                break
        assert len(seen) == len(set(seen))
        assert {f"thr_{number:03}" for number in range(53)} <= set(seen)
        assert not [ident for ident in seen if ident.startswith("thr_e")]

    with_stores(tmp_path, main)


def test_the_thread_that_was_touched_last_comes_first(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        await raw(
            stores,
            "insert into threads (user_id, thread_id, title, created_at, updated_at) values "
            + ", ".join(f"('ada', 'thr_{n}', 't', {n}, {n})" for n in range(5)),
        )
        await finished(stores, thread_id="thr_2")
        page = await stores.conversations.threads("ada", limit=3)
        assert [thread.thread_id for thread in page.items] == ["thr_2", "thr_4", "thr_3"]
        rest = await stores.conversations.threads("ada", limit=3, cursor=page.next_cursor)
        assert [thread.thread_id for thread in rest.items] == ["thr_1", "thr_0"]
        assert rest.next_cursor is None

    with_stores(tmp_path, main)


def test_a_page_that_is_just_full_has_no_next_one(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        for number in range(3):
            await stores.conversations.add_thread("ada", f"thr_{number}", "t")
        assert (await stores.conversations.threads("ada", limit=3)).next_cursor is None
        assert (await stores.conversations.threads("ada", limit=2)).next_cursor is not None

    with_stores(tmp_path, main)


def test_messages_come_oldest_first_page_by_page_and_only_once(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        first = await finished(stores, content="say 0")
        for number in range(1, 12):
            await finished(stores, content=f"say {number}", thread_id=first.thread_id)
        said: list[str] = []
        cursor = None
        while True:
            page = await stores.conversations.messages("ada", first.thread_id, limit=5, cursor=cursor)
            assert page
            said += [f"{message.role}: {message.content}" for message in page.items]
            if (cursor := page.next_cursor) is None:
                break
            if len(said) == 10:
                await finished(stores, content="late", thread_id=first.thread_id)
        expected = [line for number in range(12) for line in (f"user: say {number}", "assistant: hello")]
        assert said == [*expected, "user: late", "assistant: hello"]

    with_stores(tmp_path, main)


def test_messages_are_read_backwards_from_the_newest_each_once_while_others_are_added(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        first = await finished(stores, content="say 0")
        for number in range(1, 8):
            await finished(stores, content=f"say {number}", thread_id=first.thread_id)
        said: list[str] = []
        cursor = None
        while True:
            page = await stores.conversations.messages("ada", first.thread_id, limit=5, cursor=cursor, order="desc")
            assert page
            said += [f"{message.role}: {message.content}" for message in page.items]
            if (cursor := page.next_cursor) is None:
                break
            await finished(stores, content="late", thread_id=first.thread_id)
        expected = [line for number in range(8) for line in (f"user: say {number}", "assistant: hello")]
        assert said[::-1] == expected
        assert await stores.conversations.messages("eve", first.thread_id, order="desc") is None

    with_stores(tmp_path, main)


def test_a_page_of_messages_leaves_out_what_was_replaced_in_both_orders(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        first = await finished(stores, content="misspelt")
        await finished(stores, content="corrected", thread_id=first.thread_id, replace=first.message_id)
        for order in ("asc", "desc"):
            page = await stores.conversations.messages("ada", first.thread_id, order=order)
            assert page
            assert [message.content for message in page.items if message.role == "user"] == ["corrected"]

    with_stores(tmp_path, main)


GARBAGE = ["", "x", "!!!", "A" * 10_000, "é", "e30", base64.urlsafe_b64encode(b'[1,"x"]').decode(), "\x00"]


def test_a_cursor_that_is_none_of_ours_is_refused_with_a_sentence(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await finished(stores)
        for cursor in GARBAGE:
            with pytest.raises(Invalid, match="next_cursor of the page before"):
                await stores.conversations.messages("ada", accepted.thread_id, cursor=cursor)
        for cursor in GARBAGE:
            if not cursor.startswith("WzEs"):  # a thread's cursor may name any thread; it only moves the page
                with pytest.raises(Invalid, match="next_cursor of the page before"):
                    await stores.conversations.threads("ada", cursor=cursor)

    with_stores(tmp_path, main)


def test_a_search_finds_what_is_said_and_takes_wildcards_at_their_word(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        contents = ["100% sure", "100 percent", "under_score", "underXscore", "back\\slash", "Größe"]
        ids = {content: (await finished(stores, content=content)).thread_id for content in contents}

        async def found(query: str) -> set[str]:
            items = (await stores.conversations.threads("ada", query=query)).items
            return {content for content in contents if ids[content] in {item.thread_id for item in items}}

        assert await found("%") == {"100% sure"}
        assert await found("_") == {"under_score"}
        assert await found("\\") == {"back\\slash"}
        assert await found("UNDER_") == {"under_score"}
        assert await found("100") == {"100% sure", "100 percent"}
        assert await found("größe") == {"Größe"}
        assert await found("hello") == set(contents)  # what was answered, too
        assert await found("'; drop table threads; --") == set()
        assert await found("") == set(contents)

    with_stores(tmp_path, main)


def test_a_message_that_was_replaced_is_neither_shown_nor_found(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        first = await finished(stores, content="keep me")
        second = await finished(stores, content="misspelt", thread_id=first.thread_id)
        await finished(stores, content="after it", thread_id=first.thread_id)
        await finished(stores, content="corrected", thread_id=first.thread_id, replace=second.message_id)
        page = await stores.conversations.messages("ada", first.thread_id)
        assert page
        assert [m.content for m in page.items if m.role == "user"] == ["keep me", "corrected"]
        for gone in ("misspelt", "after it"):
            assert (await stores.conversations.threads("ada", query=gone)).items == ()

    with_stores(tmp_path, main)


def test_of_many_who_would_title_a_thread_one_is_told_what_was_said(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await finished(stores, content="Where is the harbour?")
        async with opened(tmp_path) as other:
            claims = [
                each.conversations.claim_title("ada", accepted.thread_id, accepted.run_id)
                for each in (stores, other) * 10
            ]
            told = [claim for claim in await asyncio.gather(*claims) if claim is not None]
        assert told == [("Where is the harbour?", "hello")]
        assert await stores.conversations.put_title("ada", accepted.thread_id, "The harbour")
        assert not await stores.conversations.put_title("ada", accepted.thread_id, "Another")
        assert (await stores.conversations.thread("ada", accepted.thread_id)).title == "The harbour"  # type: ignore[union-attr]

    with_stores(tmp_path, main)


def test_nobody_titles_anothers_thread(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        accepted = await finished(stores, content="Where is the harbour?")
        threads = stores.conversations
        assert await threads.claim_title("bob", accepted.thread_id, accepted.run_id) is None
        assert await threads.claim_title("ada", accepted.thread_id, accepted.run_id) is not None
        assert not await threads.put_title("bob", accepted.thread_id, "Mine")
        assert (await threads.thread("ada", accepted.thread_id)).title == "Where is the harbour?"  # type: ignore[union-attr]

    with_stores(tmp_path, main)


def test_a_title_does_not_win_against_a_name_given_in_the_same_moment(tmp_path: Path) -> None:
    async def main(stores: Stores) -> None:
        for _ in range(20):
            accepted = await finished(stores, content="Where?")
            await stores.conversations.claim_title("ada", accepted.thread_id, accepted.run_id)
            await asyncio.gather(
                stores.conversations.put_title("ada", accepted.thread_id, "a model's"),
                stores.conversations.rename_thread("ada", accepted.thread_id, "a person's"),
            )
            assert (await stores.conversations.thread("ada", accepted.thread_id)).title == "a person's"  # type: ignore[union-attr]

    with_stores(tmp_path, main)
