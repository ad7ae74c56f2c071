"""What users have remembered of them (port: `core.memories.Memories`). The owner is in every WHERE.

Words are looked up in a table of the user's own, with the same statements on both databases, and weighed here: SQLite's
own full-text index counts in how many of *all* users' rows a word is, and Postgres's ranks without such counts.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

from netra_apex.core.conversations import Page, check_text
from netra_apex.core.ids import new_id
from netra_apex.core.memories import MAX_MEMORY_KEY, Hit, Memory, asked_words, ranked, words_of
from netra_apex.errors import Invalid
from netra_apex.stores.database import Database, Row, Transaction
from netra_apex.stores.rows import LATEST, cursor_of, from_ms, may_be_id, now_ms, page_of, read_cursor
from netra_apex.stores.statements import statements

SQL = statements("memories")
_KEYED = "k"


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """How many one user may have, and how long each may be, in code points."""

    per_user: int
    characters: int


class MemoryStore:
    """See `core.memories.Memories`, which this is."""

    def __init__(self, database: Database, limits: MemoryLimits) -> None:
        self._database = database
        self._limits = limits

    async def remember(self, user_id: str, text: str, key: str | None = None) -> Memory:
        """Keeps a text; in the place of what the key had, if there is a key, else of the same text.

        Raises:
            Invalid: text or key is empty, too long or no text; the user has as many as allowed.
        """
        check_text("text", text, limit=self._limits.characters)
        if key is not None:
            check_text("key", key, limit=MAX_MEMORY_KEY)
        words = Counter(words_of(text))
        slot = "d" + hashlib.sha256(text.encode()).hexdigest() if key is None else _KEYED + key
        new: dict[str, Any] = {"user_id": user_id, "memory_id": new_id("mem"), "slot": slot, "text": text}
        new |= {"length": words.total(), "now": now_ms()}

        async def job(tx: Transaction) -> Memory:
            await tx.lock(user_id)
            old = await tx.one(SQL["in_slot"], new)
            if old is not None and old[2] == text:
                return _memory(old)
            if old is None and (await _size(tx, user_id))[0] >= self._limits.per_user:
                raise Invalid(
                    f"{self._limits.per_user} things are remembered already, which is the most: forget some first"
                )
            row = new if old is None else new | {"memory_id": old[0]}
            if old is not None:
                await tx.run(SQL["forget_words"], row)
            await tx.run(SQL["add" if old is None else "change"], row)
            await tx.run_each(SQL["add_word"], [row | {"word": word, "times": n} for word, n in words.items()])
            return _memory((row["memory_id"], slot, text, new["now"]))

        return await self._database.write(job, user=user_id, alone=True)

    async def page(
        self, user_id: str, *, limit: int = 50, cursor: str | None = None, query: str | None = None
    ) -> Page[Memory]:
        """A page of them: the latest first; with a `query` those that have words of it, the most fitting first.

        Raises:
            Invalid: the cursor is none of ours.
        """
        if query is not None:
            return await self._found(user_id, query, limit, 0 if cursor is None else read_cursor(cursor)[0])
        before, before_id = LATEST if cursor is None else read_cursor(cursor)
        values = {"user_id": user_id, "before": before, "before_id": before_id, "limit": limit + 1}
        rows = await self._database.read(lambda tx: tx.all(SQL["all"], values), user=user_id)
        return page_of(rows, limit, _memory, lambda row: (row[3], row[0]))

    async def forget(self, user_id: str, memory_id: str) -> bool:
        """Forgets one for good; False where the user has no such."""
        if not may_be_id(memory_id):
            return False
        values = {"user_id": user_id, "memory_id": memory_id}
        return await self._database.write(lambda tx: tx.run(SQL["forget"], values), user=user_id, alone=True) > 0

    async def _found(self, user_id: str, query: str, limit: int, skipped: int) -> Page[Memory]:
        words = asked_words(query)

        async def job(tx: Transaction) -> tuple[list[Row], bool]:
            asked = [{"user_id": user_id, "word": word} for word in words]
            found = [[Hit(*row) for row in await tx.all(SQL["with_word"], each)] for each in asked]
            best = ranked(found, *await _size(tx, user_id))
            page = best[skipped : skipped + limit]
            rows = [await tx.one(SQL["memory"], {"user_id": user_id, "memory_id": each}) for each in page]
            return [row for row in rows if row is not None], len(best) > skipped + limit

        rows, more = await self._database.read(job, user=user_id)
        return Page(
            items=tuple(_memory(row) for row in rows), next_cursor=cursor_of(skipped + limit, "") if more else None
        )


async def _size(tx: Transaction, user_id: str) -> tuple[int, int]:
    """How many memories the user has, and how many words are in them."""
    row = await tx.one(SQL["size"], {"user_id": user_id})
    assert row is not None
    return int(row[0]), int(row[1])


def _memory(row: Row) -> Memory:
    memory_id, slot, text, created_at = row
    key = slot.removeprefix(_KEYED) if slot.startswith(_KEYED) else None
    return Memory(memory_id=memory_id, text=text, created_at=from_ms(created_at), key=key)
