"""`/attach` of `netra chat`: files that go with the next message."""

import stat
from pathlib import Path

from netra_apex.cli.terminal import printable
from netra_apex.cli.transcript import BAD, DIM, Pen
from netra_apex.client import Client, FileInfo, RequestRefused
from netra_apex.core.conversations import MAX_FILES
from netra_apex.errors import Invalid


class Unfit(Exception):
    """What somebody wants to attach cannot be."""


class Attaching:
    """The files that are attached to the next message of a conversation."""

    def __init__(self, client: Client, pen: Pen) -> None:
        self.most_bytes: int | None = None  # of one file, as far as the server says
        self._client = client
        self._pen = pen
        self._files: tuple[FileInfo, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the files that go along."""
        return tuple(file.file_id for file in self._files)

    async def attach(self, said: str, thread_id: str | None) -> tuple[str | None, bool]:
        """Uploads a file to the conversation, or to a new one: (which one, whether the file is there).

        What is wrong with a file is told with its path. A new conversation is kept for the next file also then.

        Raises:
            RequestRefused, ServerUnreachable: the server takes no file now.
        """
        try:
            path = self._path(said)
        except Unfit as error:
            self._pen.line(printable(str(error)), BAD)
            return thread_id, False
        thread_id = thread_id or (await self._client.new_thread()).thread_id
        try:
            file = await self._client.upload(thread_id, path)
        except (OSError, Invalid, RequestRefused) as error:
            if isinstance(error, RequestRefused) and error.code not in ("invalid", "too_large"):
                raise
            self._pen.line(printable(f"{path} cannot be attached: {_reason(error)}"), BAD)
            return thread_id, False
        self._files += (file,)
        self._pen.line(f"attached {_told(file)}; it goes with your next message", DIM)
        return thread_id, True

    def show(self) -> None:
        """Tells what is attached."""
        for file in self._files:
            self._pen.line(_told(file), DIM)
        if not self._files:
            self._pen.line("nothing is attached: /attach PATH", DIM)

    def sent(self) -> None:
        """They have gone with a message."""
        self._files = ()

    def leave(self) -> None:
        """The conversation that they are files of is left."""
        if self._files:
            self._pen.line("what was attached stays in the other conversation, and goes with no message", DIM)
        self._files = ()

    def _path(self, said: str) -> Path:
        """The file that somebody means. Raises: Unfit: it cannot be attached, and why."""
        if len(self._files) >= MAX_FILES:
            raise Unfit(f"{MAX_FILES} files are the most for one message")
        try:
            path = Path(_unquoted(said)).expanduser()
            kind, size = path.stat().st_mode, path.stat().st_size
        except FileNotFoundError as error:
            raise Unfit(f"there is no file {said}") from error
        except (OSError, ValueError, RuntimeError) as error:
            raise Unfit(f"{said} cannot be attached: {_reason(error)}") from error
        if stat.S_ISDIR(kind):
            raise Unfit(f"{path} is a directory, not a file")
        if not stat.S_ISREG(kind):
            raise Unfit(f"{path} is no ordinary file")
        if not size:
            raise Unfit(f"{path} is empty")
        if self.most_bytes is not None and size > self.most_bytes:
            raise Unfit(f"{path} has {size} bytes; {self.most_bytes} is the most here")
        return path


def names_of(files: tuple[FileInfo, ...]) -> str:
    """Files as they stand behind a message."""
    return f" [{', '.join(printable(file.name) for file in files)}]" if files else ""


def _told(file: FileInfo) -> str:
    size = f"{file.size} bytes" if file.size < 10_000 else f"{file.size / 1000:,.0f} kB"
    return f"{printable(file.name)} ({size})"


def _unquoted(said: str) -> str:
    """A path as people paste it: a terminal puts quotes around one with spaces, or a backslash before each."""
    if len(said) > 1 and said[0] == said[-1] and said[0] in "\"'":
        return said[1:-1]
    return said.replace("\\ ", " ")


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
