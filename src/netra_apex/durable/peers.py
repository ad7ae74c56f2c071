"""`Peers`: the other processes on this database. What a dead one had is put back for whoever has room.

A killed process is noticed within about half a second: its lock is free, and it is seen no more. One that only stopped
(a machine that hangs, SIGSTOP) keeps its lock, and has until the end of its lease; when it comes back, what it writes
into runs that were taken up is refused, and it lets go of them.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from netra_apex.core.ports import Presence
from netra_apex.errors import StoreError

LOOK_SECONDS = 0.2
SILENT_MS = 500  # a living process is seen five times a second
STEADY_SECONDS = 3.0  # after the database was gone: how long others have to come back before they are taken for dead
LEASE_BEYOND_DRAIN_SECONDS = 10.0

log = structlog.get_logger()


class Peers:
    """Says that this process lives, and looks after the others."""

    def __init__(self, presence: Presence, room: int, *, drain_seconds: float, on_left: Callable[[], None]) -> None:
        self._presence = presence
        self._room = room
        self._lease_ms = 1000 * (drain_seconds + LEASE_BEYOND_DRAIN_SECONDS)
        self._on_left = on_left
        self._steady_since = float("-inf")

    async def enter(self) -> None:
        """Says so for the first time.

        Raises:
            StoreError: the database does not answer.
        """
        await self._presence.seen(self._room)

    async def run(self) -> None:
        """Five times a second, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except StoreError as error:
                if self._steady_since != float("inf"):
                    log.warning("the database does not answer", error=str(error))
                self._steady_since = float("inf")
            except Exception:
                # A fault in looking must not end the group that every run is in; the next look comes soon.
                log.exception("a look at the other processes failed")

    async def _look(self) -> None:
        began = time.monotonic()
        anew = await self._presence.seen(self._room)
        if anew or self._steady_since == float("inf") or time.monotonic() - began > LOOK_SECONDS * 2:
            # This process was cut off, or slow, itself: so may the others have been.
            self._steady_since = time.monotonic()
        steady = time.monotonic() - self._steady_since > STEADY_SECONDS
        for executor, silent_ms in await self._presence.others():
            if silent_ms > self._lease_ms or (steady and silent_ms > SILENT_MS):
                await self._bury(executor, whatever=silent_ms > self._lease_ms)

    async def _bury(self, executor: str, *, whatever: bool) -> None:
        count = await self._presence.bury(executor, whatever=whatever)
        if count is None:
            return
        log.warning("a process is gone: its runs go on elsewhere", executor=executor, runs=count)
        if count:
            self._on_left()
