"""`scope.store`, and `RunFiles` in it: the files of a run's thread, as its agents and tools have them."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator

import msgspec

from netra_apex.core.belongings import NewFile, StoredFile, UserFiles, UserStore
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.files import check_type, file_name
from netra_apex.core.ids import derived_id
from netra_apex.core.journal import digest_of, note
from netra_apex.engine.branches import Branches
from netra_apex.engine.keeping import Kept, Opened, RunAdministration, RunMemory
from netra_apex.errors import NotFound

LISTED = 1_000  # as many as a thread may have
PIECE_BYTES = 256 * 1024


def store_of(context: UserExecutionContext, opened: Opened, branches: Branches) -> UserStore:
    """What the run's user keeps."""
    kept = Kept(opened, branches)
    return UserStore(
        files=RunFiles(context, opened, branches),
        memory=RunMemory(context, kept),
        admin=RunAdministration(context, kept),
    )


class RunFiles(UserFiles):
    """See `core.belongings.UserFiles`. What is listed and written is in the journal, as a run may be played again."""

    def __init__(self, context: UserExecutionContext, opened: Opened, branches: Branches) -> None:
        self._user = context.user_id
        self._thread = context.thread_id
        self._run = context.run_id
        self._opened = opened
        self._branches = branches

    async def list(self) -> tuple[StoredFile, ...]:
        """See `UserFiles.list`."""
        lent = await self._opened()
        key = self._branches.step("think", "list_files")
        known = lent.journal.take(key, "think", "list_files", "")
        if known is not None:
            return msgspec.convert(known.result, tuple[StoredFile, ...])
        page = await lent.belongings.files.files(self._user, self._thread, limit=LISTED, cursor=None)
        found = () if page is None else page.items
        await self._opened()
        lent.voice.emit(steps=(note(key, "list_files", msgspec.to_builtins(found)),))
        return found

    async def read(self, file_id: str) -> bytes:
        """See `UserFiles.read`."""
        lent = await self._opened()
        if not isinstance(file_id, str):  # pyright: ignore[reportUnnecessaryIsInstance] - an agent's code need not be typed
            raise NotFound("file", repr(file_id))
        # Not in the journal: what is in a file never changes.
        data = b"".join([piece async for piece in lent.belongings.files.read_file(self._user, self._thread, file_id)])
        await self._opened()
        return data

    async def save(self, name: str, media_type: str, data: bytes) -> StoredFile:
        """See `UserFiles.save`."""
        await self._opened()
        name, media_type = file_name(name), check_type(media_type)
        # In a thread, which lets go of the interpreter meanwhile: all of 50 MiB takes long for a loop that all share.
        hashed = await asyncio.to_thread(hashlib.sha256, data) if len(data) > PIECE_BYTES else hashlib.sha256(data)
        digest = digest_of(name, media_type, hashed.hexdigest())
        lent = await self._opened()
        key = self._branches.step("think", "save_file", digest)
        known = lent.journal.take(key, "think", "save_file", digest)
        if known is not None:
            return msgspec.convert(known.result, StoredFile)
        # The id is of the step, so that a crash between file and journal leaves no second one.
        new = NewFile(file_id=derived_id("fil", self._run, key), name=name, media_type=media_type)
        file = await lent.belongings.files.add_file(self._user, self._thread, new, _pieces(data))
        await self._opened()
        await lent.voice.emit(steps=(note(key, "save_file", msgspec.to_builtins(file), digest=digest),))
        return file


async def _pieces(data: bytes) -> AsyncGenerator[bytes]:
    for start in range(0, len(data), PIECE_BYTES):
        yield bytes(data[start : start + PIECE_BYTES])
