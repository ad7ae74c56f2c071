"""What a user keeps with us, as a run is lent it: `scope.store`, bound to the run's user."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime

from netra_apex.core.administration import UserAdministration
from netra_apex.core.memories import UserMemory


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """A file of a thread. `size` is in bytes; what is in it never changes."""

    file_id: str
    thread_id: str
    name: str
    media_type: str
    size: int
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class NewFile:
    """A file that is about to be stored."""

    file_id: str
    name: str
    media_type: str


class UserFiles(ABC):
    """The files of a run's thread: those that its user uploaded, and those that runs have written.

    User and thread are those of the run's context, and nobody can name others. Using it after the run raises
    `ScopeClosed`.
    """

    @abstractmethod
    async def list(self) -> tuple[StoredFile, ...]:
        """All of them, oldest first; a run that is taken up after a crash sees what it saw before."""

    @abstractmethod
    async def read(self, file_id: str) -> bytes:
        """What is in a file.

        Raises:
            NotFound: this thread has no such file.
        """

    @abstractmethod
    async def save(self, name: str, media_type: str, data: bytes) -> StoredFile:
        """Writes a file into the thread, once: not again when the run is taken up.

        Raises:
            Invalid: it is empty, or its name or type is none; the thread has as many files as it may.
            TooLarge: it is over NETRA_UPLOAD_BYTES, or its user has no room left.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class UserStore:
    """What a run's user keeps; and, where he is one, what he may do as an administrator."""

    files: UserFiles
    memory: UserMemory
    admin: UserAdministration
