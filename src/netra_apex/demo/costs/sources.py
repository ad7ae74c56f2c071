"""What there is to analyse: the usage exports among a thread's files, or the sample; opened once in a run."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from netra_apex.core.scope import RunScope
from netra_apex.demo.costs.prices import Costed, costed
from netra_apex.demo.costs.usage import UsageUnreadable, read_usage
from netra_apex.demo.costs.values import FileSeen, Source
from netra_apex.demo.sample import sample_csv
from netra_apex.errors import CallFailed

R = TypeVar("R")

SAMPLE = Source(file_id="sample", name="the sample", sample=True)
LOOKED_AT = 5  # files, the newest: each is read whole, of which the first rows are looked at
LOOKED_ROWS = 200
_SUFFIXES = (".csv", ".tsv", ".txt")
_TYPES = ("text/csv", "text/tab-separated-values", "application/vnd.ms-excel")


class OpenedUsage:
    """The usage that a run analyses: read when the first tool asks, and kept for the others."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._reading = asyncio.Lock()
        self._data: Costed | None = None

    async def ask(self, scope: RunScope, question: Callable[[Costed], R]) -> R:
        """What a question to the usage gives; it is computed beside the event loop.

        The scope is that of the member who asks: the one who asked first may have ended.

        Raises:
            CallFailed: the file cannot be read as a usage export, and why.
        """
        async with self._reading:
            if self._data is None:
                self._data = await self._read(scope)
        return await asyncio.to_thread(question, self._data)

    async def _read(self, scope: RunScope) -> Costed:
        source = self._source
        data = b"" if source.sample else await scope.store.files.read(source.file_id)
        try:
            return await asyncio.to_thread(_read, data, sample=source.sample)
        except UsageUnreadable as error:
            raise CallFailed("error", f"{source.name} cannot be analysed: {error}") from error


Shelf = dict[str, OpenedUsage]
# What one run has opened, seen by its members and nobody else: reading 100,000 rows costs a third of a second. It is a
# convenience: a run that is taken up again opens the file anew.
_shelf: ContextVar[Shelf | None] = ContextVar("netra_opened_usage", default=None)


@contextmanager
def shelf() -> Generator[None]:
    """What is opened inside, by the members of one run, is opened once."""
    token = _shelf.set({})
    try:
        yield
    finally:
        _shelf.reset(token)


def opened(source: Source) -> OpenedUsage:
    """The usage, which another member of the run may have opened already."""
    usage = OpenedUsage(source)
    held = _shelf.get()
    return usage if held is None else held.setdefault(source.file_id, usage)


async def files_seen(scope: RunScope) -> tuple[FileSeen, ...]:
    """The tables among the thread's files, oldest first, each with what it is; by its first rows."""
    tables = [
        file
        for file in await scope.store.files.list()
        if file.name.lower().endswith(_SUFFIXES) or file.media_type.partition(";")[0] in _TYPES
    ]
    seen: list[FileSeen] = []
    for file in tables[-LOOKED_AT:]:
        data = await scope.store.files.read(file.file_id)
        about = FileSeen(file_id=file.file_id, name=file.name, size=file.size)
        try:
            usage = await asyncio.to_thread(read_usage, data, most=LOOKED_ROWS)
            seen.append(about.model_copy(update={"kind": usage.format.label}))
        except UsageUnreadable as error:
            seen.append(about.model_copy(update={"problem": str(error)}))
    return tuple(seen)


def chosen(files: tuple[FileSeen, ...], asked: str) -> Source | None:
    """The file that the words name, else the newest that can be analysed."""
    usable = [file for file in files if not file.problem]
    named = [file for file in usable if file.name.lower() in asked.lower()]
    for file in reversed(named or usable):
        return Source(file_id=file.file_id, name=file.name)
    return None


def _read(data: bytes, *, sample: bool) -> Costed:
    return costed(read_usage(sample_csv() if sample else data))
