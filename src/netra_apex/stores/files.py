"""Files of threads, in chunks (port: `core.ports.Files`). The owner is in every WHERE.

Each chunk is a transaction of its own: nobody else's run waits for more than that, however large a file is.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Any

from netra_apex.core.belongings import NewFile, StoredFile
from netra_apex.core.conversations import Page
from netra_apex.errors import Invalid, NotFound, TooLarge
from netra_apex.stores.database import Database, Row, Transaction
from netra_apex.stores.rows import EARLIEST, from_ms, may_be_id, now_ms, page_of, read_cursor
from netra_apex.stores.statements import statements

SQL = statements("files")
CHUNK_BYTES = 256 * 1024
FILES_PER_THREAD = 1_000
ABANDONED_MS = 60 * 60 * 1000  # one that is not complete by then has nobody who goes on with it


@dataclass(frozen=True, slots=True)
class FileLimits:
    """How many bytes a file may have, and all of a user's together."""

    per_file: int
    per_user: int


class FileStore:
    """See `core.ports.Files`, which this is."""

    def __init__(self, database: Database, limits: FileLimits) -> None:
        self._database = database
        self._limits = limits

    async def files(
        self, user_id: str, thread_id: str, *, limit: int = 50, cursor: str | None = None
    ) -> Page[StoredFile] | None:
        """A page of the thread's files, oldest first; None where the user has no such thread.

        Raises:
            Invalid: the cursor is none of ours.
        """
        after, after_id = EARLIEST if cursor is None else read_cursor(cursor)
        values: dict[str, Any] = {"user_id": user_id, "thread_id": thread_id, "limit": limit + 1}
        values |= {"after": after, "after_id": after_id}

        async def job(tx: Transaction) -> list[Row] | None:
            if await tx.one(SQL["thread"], values) is None:
                return None
            return await tx.all(SQL["files"], values)

        rows = await self._database.read(job, user=user_id) if may_be_id(thread_id) else None
        return None if rows is None else page_of(rows, limit, _file, lambda row: (row[-1], row[0]))

    async def file(self, user_id: str, thread_id: str, file_id: str) -> StoredFile | None:
        """The file, or None where this thread of the user's has no such."""
        values = {"user_id": user_id, "thread_id": thread_id, "file_id": file_id}
        if not may_be_id(thread_id, file_id):
            return None
        row = await self._database.read(lambda tx: tx.one(SQL["file"], values), user=user_id)
        return None if row is None else _file(row)

    async def add_file(self, user_id: str, thread_id: str, new: NewFile, content: AsyncIterable[bytes]) -> StoredFile:
        """Stores what comes, chunk by chunk; the file of an id that is there already is answered as it is.

        Raises:
            NotFound: the user has no such thread, or has it no longer.
            Invalid: nothing came; or the thread has as many files as it may.
            TooLarge: the file is, or its user has no room left.
        """
        known = await self.file(user_id, thread_id, new.file_id)
        if known is not None:
            return known
        values: dict[str, Any] = {"user_id": user_id, "thread_id": thread_id, "file_id": new.file_id}
        await self._begin(values | {"name": new.name, "media_type": new.media_type})
        try:
            ordinal = size = 0
            async for data in _chunks(content):
                size += len(data)
                await self._grow(values | {"ordinal": ordinal, "data": data, "size": size})
                ordinal += 1
            return await self._complete(values | {"size": size, "chunks": ordinal})
        except BaseException:
            # Not awaited: whoever asked may be cancelled, and what is left over goes with the user's next file.
            self._database.write(lambda tx: tx.run(SQL["give_up"], values), user=user_id, repeatable=True)
            raise

    async def read_file(self, user_id: str, thread_id: str, file_id: str) -> AsyncIterator[bytes]:
        """What is in it, chunk by chunk.

        Raises:
            NotFound: this thread of the user's has no such file, or has it no longer.
        """
        file = await self.file(user_id, thread_id, file_id)
        values: dict[str, Any] = {"user_id": user_id, "thread_id": thread_id, "file_id": file_id}
        for ordinal in range(1 if file is None else -(-file.size // CHUNK_BYTES)):
            at = values | {"ordinal": ordinal}
            row = None if file is None else await self._chunk(at)
            if row is None:
                raise NotFound("file", file_id)
            yield row[0]

    async def delete_file(self, user_id: str, thread_id: str, file_id: str) -> bool:
        """Deletes it; False where this thread of the user's has no such."""
        values = {"user_id": user_id, "thread_id": thread_id, "file_id": file_id}
        if not may_be_id(thread_id, file_id):
            return False
        return await self._database.write(lambda tx: tx.run(SQL["delete"], values), user=user_id) > 0

    async def _chunk(self, values: dict[str, Any]) -> Row | None:
        return await self._database.read(lambda tx: tx.one(SQL["chunk"], values), user=values["user_id"])

    async def _begin(self, values: dict[str, Any]) -> None:
        now = now_ms()

        async def job(tx: Transaction) -> None:
            await tx.lock(values["user_id"])
            if await tx.one(SQL["thread"], values) is None:
                raise NotFound("thread", values["thread_id"])
            count = await tx.one(SQL["count"], values)
            if count is not None and count[0] >= FILES_PER_THREAD:
                raise Invalid(f"the thread has {FILES_PER_THREAD} files, which is the most: delete some first")
            await tx.run(SQL["abandoned"], values | {"long_ago": now - ABANDONED_MS})
            await tx.run(SQL["begin"], values | {"now": now})

        if not may_be_id(values["thread_id"]):
            raise NotFound("thread", values["thread_id"])
        await self._database.write(job, user=values["user_id"], alone=True, repeatable=True)

    async def _grow(self, values: dict[str, Any]) -> None:
        """One more chunk, if there is room for it: what counts is decided under the user's lock."""
        if values["size"] > self._limits.per_file:
            raise TooLarge(f"the file is over {self._limits.per_file} bytes, which is the most")

        async def job(tx: Transaction) -> None:
            await tx.lock(values["user_id"])
            others = await tx.one(SQL["total"], values)
            if others is not None and others[0] + values["size"] > self._limits.per_user:
                raise TooLarge(f"your files would be over {self._limits.per_user} bytes together: delete some first")
            if not await tx.run(SQL["grow"], values):
                raise NotFound("thread", values["thread_id"])  # it was deleted meanwhile
            await tx.run(SQL["add_chunk"], values)

        await self._database.write(job, user=values["user_id"], alone=True, repeatable=True)

    async def _complete(self, values: dict[str, Any]) -> StoredFile:
        if not values["size"]:
            raise Invalid("the file is empty")

        async def job(tx: Transaction) -> Row | None:
            await tx.run(SQL["complete"], values | {"now": now_ms()})
            return await tx.one(SQL["file"], values)

        row = await self._database.write(job, user=values["user_id"], alone=True, repeatable=True)
        if row is None:
            raise NotFound("thread", values["thread_id"])
        return _file(row)


async def _chunks(content: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    """The same bytes in chunks of one size, but for the last."""
    pending = bytearray()
    async for piece in content:
        pending += piece
        while len(pending) >= CHUNK_BYTES:
            yield bytes(pending[:CHUNK_BYTES])
            del pending[:CHUNK_BYTES]
    if pending:
        yield bytes(pending)


def _file(row: Row) -> StoredFile:
    file_id, thread_id, name, media_type, size, created_at = row
    return StoredFile(
        file_id=file_id,
        thread_id=thread_id,
        name=name,
        media_type=media_type,
        size=size,
        created_at=from_ms(created_at),
    )
