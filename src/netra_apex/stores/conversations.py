"""Threads and messages (port: `core.ports.Conversations`). The owner is in every WHERE."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from netra_apex.core.conversations import Message, Order, Page, Thread
from netra_apex.core.runs import Run
from netra_apex.errors import Busy, Invalid
from netra_apex.stores.database import Database, Row, Transaction
from netra_apex.stores.rows import LATEST, attachments, from_ms, now_ms, page_of, read_cursor, run_of
from netra_apex.stores.statements import statements

SQL = statements("conversations")
# Where the first page of messages begins (as `rows.EARLIEST` and `LATEST`), and what reads it.
_READ_FROM: Mapping[Order, tuple[str, tuple[int, int]]] = MappingProxyType(
    {"asc": ("messages", (-1, -1)), "desc": ("messages_newest_first", (2**62, 0))}
)
_FIRST_LINE, _KEPT = 0, 2  # whose a thread's title is; 1: a model was asked for it


class ConversationStore:
    """See `core.ports.Conversations`, which this is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def threads(
        self, user_id: str, *, limit: int = 50, cursor: str | None = None, query: str | None = None
    ) -> Page[Thread]:
        """A page of the user's threads, the last touched first; `query` looks in titles and messages.

        Raises:
            Invalid: the cursor is none of ours.
        """
        before, before_id = LATEST if cursor is None else read_cursor(cursor)
        values = {
            "user_id": user_id,
            "before": before,
            "before_id": before_id,
            "query": None if query is None else f"%{_literal(query)}%",
            "limit": limit + 1,
        }
        rows = await self._rows(user_id, "threads", values)
        return page_of(rows, limit, _thread, lambda row: (row[4], row[0]))

    async def thread(self, user_id: str, thread_id: str) -> Thread | None:
        """The thread, or None where the user has no such."""
        rows = await self._rows(user_id, "thread", {"user_id": user_id, "thread_id": thread_id})
        return _thread(rows[0]) if rows else None

    async def add_thread(self, user_id: str, thread_id: str, title: str) -> Thread:
        """A new, empty thread."""
        now = now_ms()
        values = {"user_id": user_id, "thread_id": thread_id, "title": title, "now": now}
        values["titled"] = _KEPT if title else _FIRST_LINE
        await self._database.write(lambda tx: tx.run(SQL["add_thread"], values), user=user_id, alone=True)
        at = from_ms(now)
        return Thread(thread_id=thread_id, user_id=user_id, title=title, created_at=at, updated_at=at)

    async def rename_thread(self, user_id: str, thread_id: str, title: str) -> Thread | None:
        """The renamed thread, or None where the user has no such."""
        values = {"user_id": user_id, "thread_id": thread_id, "title": title}

        async def job(tx: Transaction) -> Row | None:
            await tx.run(SQL["rename_thread"], values)
            return await tx.one(SQL["thread"], values)

        row = await self._database.write(job, user=user_id)
        return None if row is None else _thread(row)

    async def claim_title(self, user_id: str, thread_id: str, run_id: str) -> tuple[str, str] | None:
        """What the user asked in this run and what he was answered, for whoever is to give its thread a title, once.

        None where the thread has one already, of a person or of a model, or somebody was told this before.
        """
        values = {"user_id": user_id, "thread_id": thread_id, "run_id": run_id}

        async def job(tx: Transaction) -> tuple[str, str] | None:
            if not await tx.run(SQL["claim_title"], values):
                return None
            said = await tx.all(SQL["said_in_run"], values)
            asked = next((content for role, content in said if role == "user"), "")
            return asked, next((content for role, content in reversed(said) if role == "assistant"), "")

        return await self._database.write(job, user=user_id)

    async def put_title(self, user_id: str, thread_id: str, title: str) -> bool:
        """Gives a thread the title that was asked for; False where a person has named it meanwhile, or it is gone."""
        values = {"user_id": user_id, "thread_id": thread_id, "title": title}
        return await self._database.write(lambda tx: tx.run(SQL["put_title"], values), user=user_id) > 0

    async def delete_thread(self, user_id: str, thread_id: str) -> bool:
        """Deletes it with its messages, runs and events; False where the user has no such.

        Raises:
            Busy: it has an unfinished run.
        """
        values = {"user_id": user_id, "thread_id": thread_id}

        async def job(tx: Transaction) -> bool:
            await tx.lock(user_id)
            if await tx.one(SQL["unfinished"], values) is not None:
                raise Busy("the thread has a run under way: cancel it first")
            return await tx.run(SQL["delete_thread"], values) > 0

        return await self._database.write(job, user=user_id, alone=True)

    async def delete_run(self, user_id: str, run_id: str) -> bool:
        """Deletes a run with what was said in it, and its thread where nothing is left there; False: there is none.

        Raises:
            Busy: it has not ended.
        """
        values = {"user_id": user_id, "run_id": run_id}

        async def job(tx: Transaction) -> bool:
            await tx.lock(user_id)
            run = await tx.one(SQL["thread_of"], values)
            if run is None:
                return False
            if run[1] is None:
                raise Busy("the run is under way: cancel it first")
            await tx.run(SQL["delete_run"], values)
            await tx.run(SQL["delete_empty"], values | {"thread_id": run[0]})
            return True

        return await self._database.write(job, user=user_id, alone=True)

    async def messages(
        self, user_id: str, thread_id: str, *, limit: int = 50, cursor: str | None = None, order: Order = "asc"
    ) -> Page[Message] | None:
        """A page of a thread's messages, oldest first or (`desc`) newest first; None where the user has no such thread.

        Raises:
            Invalid: the cursor is none of ours.
        """
        if await self.thread(user_id, thread_id) is None:
            return None
        query, begin = _READ_FROM[order]
        position, ordinal = begin if cursor is None else _message_cursor(cursor)
        values = {
            "user_id": user_id,
            "thread_id": thread_id,
            "position": position,
            "ordinal": ordinal,
            "limit": limit + 1,
        }
        rows = await self._rows(user_id, query, values)
        return page_of(rows, limit, _message, lambda row: (row[6], str(row[7])))

    async def unfinished(self, user_id: str, thread_id: str) -> tuple[Run, ...]:
        """The thread's runs that have not ended, in their order."""
        rows = await self._rows(user_id, "unfinished", {"user_id": user_id, "thread_id": thread_id})
        return tuple(run_of(row) for row in rows)

    async def _rows(self, user_id: str, name: str, values: Mapping[str, Any]) -> list[Row]:
        return await self._database.read(lambda tx: tx.all(SQL[name], values), user=user_id)


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _message_cursor(cursor: str) -> tuple[int, int]:
    position, ordinal = read_cursor(cursor)
    if not ordinal.isascii() or not ordinal.isdigit() or len(ordinal) > 15:
        raise Invalid("cursor is none of ours: use next_cursor of the page before")
    return position, int(ordinal)


def _message(row: Row) -> Message:
    message_id, run_id, role, content, created_at, files, *_ = row
    return Message(
        message_id=message_id,
        run_id=run_id,
        role=role,
        content=content,
        created_at=from_ms(created_at),
        files=attachments(files),
    )


def _thread(row: Row) -> Thread:
    thread_id, user_id, title, created_at, updated_at = row
    return Thread(
        thread_id=thread_id,
        user_id=user_id,
        title=title,
        created_at=from_ms(created_at),
        updated_at=from_ms(updated_at),
    )
