"""`Reporter`: a process says to operators how it is, and hears from them whether it is to take no new work."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from netra_apex.core.administration import Processes
from netra_apex.errors import StoreError

REPORT_SECONDS = 1.0

log = structlog.get_logger()


class Reporter:
    """One process's. Where it is `alone` on its database nobody else reads its figures, and none are written."""

    def __init__(
        self,
        processes: Processes,
        executor: str,
        room: Callable[[], int],
        figures: Callable[[], Mapping[str, Any]],
        *,
        alone: bool,
    ) -> None:
        self._processes = processes
        self._executor = executor
        self._room = room
        self._figures = figures
        self._alone = alone
        self._asked = asyncio.Event()
        self.on_drain: Callable[[bool], None] = lambda _: None

    async def enter(self) -> None:
        """Says that it begins.

        Raises:
            StoreError: the database does not answer.
        """
        await self._processes.enter(self._executor, self._room(), self._figures())

    def look(self) -> None:
        """An administrator may have asked for something."""
        self._asked.set()

    async def run(self) -> None:
        """Every second, until it is cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._alone else REPORT_SECONDS):
                    await self._asked.wait()
            self._asked.clear()
            try:
                self.on_drain(await self._said())
            except StoreError as error:
                log.warning("what this process says of itself cannot be stored", error=str(error))
                await asyncio.sleep(REPORT_SECONDS)
                self._asked.set()
            except Exception:
                # A fault in reporting must not end the group that every run is in; the next report comes soon.
                log.exception("a report of this process failed")

    async def leave(self, runs: int) -> None:
        """Says that it ends, and leaves so many runs; where the database is gone, peers find that by themselves."""
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(REPORT_SECONDS):
                await self._processes.leave(self._executor, runs)

    async def _said(self) -> bool:
        if self._alone:
            return await self._processes.is_asked_to_drain(self._executor)
        return await self._processes.report(self._executor, self._room(), self._figures())
